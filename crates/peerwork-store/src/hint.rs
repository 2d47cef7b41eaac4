//! Hints: "look now". They carry no truth; losing, doubling or delaying all of them changes latency only.

use tokio::sync::mpsc;

/// What has probably happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hint {
    /// Something became claimable.
    pub ready: bool,
    /// Something was asked of a running task.
    pub wish: bool,
    /// A status changed that somebody may wait for.
    pub change: bool,
}

impl Hint {
    /// Everything may have happened.
    pub const ALL: Self = Self {
        ready: true,
        wish: true,
        change: true,
    };

    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Self {
            ready: self.ready || other.ready,
            wish: self.wish || other.wish,
            change: self.change || other.change,
        }
    }

    /// Its text on a notification channel: one letter for each that holds.
    pub fn to_text(self) -> String {
        let mut text = String::new();
        for (set, letter) in [(self.ready, 'r'), (self.wish, 'w'), (self.change, 'c')] {
            if set {
                text.push(letter);
            }
        }
        text
    }

    /// Reads a text; letters that are not known are passed over.
    pub fn from_text(text: &str) -> Self {
        Self {
            ready: text.contains('r'),
            wish: text.contains('w'),
            change: text.contains('c'),
        }
    }
}

/// A subscription. When it is dropped, the listening ends.
#[derive(Debug)]
pub struct Hints(pub(crate) mpsc::Receiver<Hint>);

impl Hints {
    /// How many hints may be unread; further ones are dropped, since one unread hint says it all.
    pub(crate) const UNREAD_MAX: usize = 16;

    /// A subscription to what comes through `receiver`: for a store of one's own.
    pub fn new(receiver: mpsc::Receiver<Hint>) -> Self {
        Self(receiver)
    }

    /// The next hint, together with all others that are there; none when the store listens no more.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Hint> {
        let mut hint = self.0.recv().await?;
        while let Ok(more) = self.0.try_recv() {
            hint = hint.and(more);
        }
        Some(hint)
    }
}
