//! What is being said on one connection: which protocol it is, and whether the next answer is to be lost.

use super::mysql::MySql;
use super::postgres::Postgres;
use super::swallow::Swallow;

/// As much of a statement as is looked at.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// One connection's conversation. Bytes are shown to it before they are passed on.
pub(super) enum Session {
    /// Nobody has spoken.
    Silent,
    Postgres(Postgres),
    MySql(MySql),
    /// Encrypted, or something else: passed on without being understood.
    Opaque,
}

/// What becomes of bytes of the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// So many go to the client; the others are thrown away.
    pub(super) pass: usize,
    /// The swallowed answer is complete: the connection is to be reset.
    pub(super) swallowed: bool,
}

impl Answer {
    pub(super) fn all(bytes: &[u8]) -> Self {
        Self {
            pass: bytes.len(),
            swallowed: false,
        }
    }
}

/// The bytes are not what a protocol says they are.
#[derive(Debug)]
pub(super) struct Strange;

impl Session {
    pub(super) fn client_says(&mut self, bytes: &[u8], swallow: &Swallow) {
        let understood = match self {
            Self::Silent => {
                // In MariaDB's protocol it is the server that speaks first.
                let mut postgres = Postgres::default();
                let understood = postgres.client_says(bytes, swallow);
                *self = Self::Postgres(postgres);
                understood
            }
            Self::Postgres(postgres) => postgres.client_says(bytes, swallow),
            Self::MySql(mysql) => mysql.client_says(bytes, swallow),
            Self::Opaque => Ok(()),
        };
        if understood.is_err() {
            *self = Self::Opaque;
        }
    }

    pub(super) fn server_says(&mut self, bytes: &[u8]) -> Answer {
        if let Self::Silent = self {
            *self = Self::MySql(MySql::default());
        }
        let understood = match self {
            Self::Postgres(postgres) => postgres.server_says(bytes),
            Self::MySql(mysql) => mysql.server_says(bytes),
            Self::Silent | Self::Opaque => Ok(Answer::all(bytes)),
        };
        understood.unwrap_or_else(|Strange| {
            *self = Self::Opaque;
            Answer::all(bytes)
        })
    }
}

/// Cuts a stream into frames, of which it keeps the beginning.
#[derive(Default)]
pub(super) struct Frames {
    /// The header and the beginning of the payload.
    kept: Vec<u8>,
    /// Bytes of this frame seen so far.
    seen: usize,
}

impl Frames {
    /// Takes the bytes of at most one frame; answers how many, and whether the frame is now complete. `length` tells a
    /// frame's whole length from its first `header` bytes.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        header: usize,
        length: impl Fn(&[u8]) -> Result<usize, Strange>,
    ) -> Result<(usize, bool), Strange> {
        let mut taken = 0;
        if self.seen < header {
            taken = (header - self.seen).min(bytes.len());
            self.keep(&bytes[..taken]);
            if self.seen < header {
                return Ok((taken, false));
            }
        }
        let whole = length(&self.kept[..header])?;
        if whole < header {
            return Err(Strange);
        }
        let more = (whole - self.seen).min(bytes.len() - taken);
        self.keep(&bytes[taken..taken + more]);
        Ok((taken + more, self.seen == whole))
    }

    /// The frame that is complete: its header and the beginning of its payload. The next one begins.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        self.seen = 0;
        std::mem::take(&mut self.kept)
    }

    pub(super) fn is_between(&self) -> bool {
        self.seen == 0
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = TEXT_BYTES_MAX.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.seen += bytes.len();
    }
}
