//! Which answers are to be lost.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub(super) struct Swallow {
    wanted: Mutex<Wanted>,
    done: AtomicU64,
}

#[derive(Debug, Default)]
struct Wanted {
    commits: u32,
    texts: Vec<String>,
}

impl Swallow {
    pub(super) fn add_commits(&self, n: u32) {
        self.with(|wanted| wanted.commits = wanted.commits.saturating_add(n));
    }

    pub(super) fn add_text(&self, text: &str) {
        self.with(|wanted| wanted.texts.push(text.to_owned()));
    }

    pub(super) fn clear(&self) {
        self.with(|wanted| *wanted = Wanted::default());
    }

    /// Whether the answer to this statement is to be lost; it is then taken off the list.
    pub(super) fn takes(&self, statement: &str) -> bool {
        self.with(|wanted| {
            if wanted.commits > 0 && is_commit(statement) {
                wanted.commits -= 1;
                return true;
            }
            let found = wanted
                .texts
                .iter()
                .position(|text| statement.contains(text));
            found.map(|at| wanted.texts.swap_remove(at)).is_some()
        })
    }

    pub(super) fn note_done(&self) {
        self.done.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn count(&self) -> u64 {
        self.done.load(Ordering::SeqCst)
    }

    fn with<T>(&self, change: impl FnOnce(&mut Wanted) -> T) -> T {
        change(&mut self.wanted.lock().expect("no panic under the lock"))
    }
}

fn is_commit(statement: &str) -> bool {
    let mut words = statement.split(|c: char| c.is_whitespace() || c == ';');
    let first = words.find(|word| !word.is_empty()).unwrap_or_default();
    let second = words.find(|word| !word.is_empty()).unwrap_or_default();
    // COMMIT PREPARED ends another session's transaction; `end` is PostgreSQL's other word.
    (first.eq_ignore_ascii_case("commit") && !second.eq_ignore_ascii_case("prepared"))
        || (first.eq_ignore_ascii_case("end") && second.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_known_by_its_first_word() {
        for text in ["commit", "COMMIT;", " commit work", "End"] {
            assert!(is_commit(text), "{text}");
        }
        for text in [
            "select commit",
            "committed",
            "",
            "end if",
            "commit prepared 'x'",
        ] {
            assert!(!is_commit(text), "{text}");
        }
    }

    #[test]
    fn each_wish_is_met_once() {
        let swallow = Swallow::default();
        swallow.add_commits(1);
        swallow.add_text("into t");
        assert!(!swallow.takes("select 1"));
        assert!(swallow.takes("commit") && !swallow.takes("commit"));
        assert!(swallow.takes("insert into t values (1)"));
        assert!(!swallow.takes("insert into t values (1)"));
        swallow.add_commits(3);
        swallow.clear();
        assert!(!swallow.takes("commit"));
    }
}
