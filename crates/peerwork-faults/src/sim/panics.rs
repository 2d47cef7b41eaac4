//! Panics of a node's own code: the runtime catches them, and the part that panicked ends without a word.
//!
//! *Not here:* the panics of simulated handlers, which resume one without calling the hook.

use std::cell::RefCell;
use std::panic;
use std::sync::Once;

thread_local! {
    /// The panics of the simulation that runs in this thread, if one does.
    static SEEN: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Runs a simulation in this thread; returns where and why its code panicked meanwhile, besides what it returned.
pub(super) fn seen_in<T>(simulation: impl FnOnce() -> T) -> (T, Vec<String>) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            SEEN.with_borrow_mut(|seen| {
                seen.iter_mut()
                    .for_each(|seen| seen.push(panic.to_string()))
            });
            before(panic);
        }));
    });
    SEEN.set(Some(Vec::new()));
    let returned = simulation();
    (returned, SEEN.take().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_that_is_caught_is_seen_and_a_resumed_one_is_not() {
        let ((), seen) = seen_in(|| {
            let caught = panic::catch_unwind(|| panic!("the beat is off"));
            assert!(caught.is_err());
            let resumed = panic::catch_unwind(|| panic::resume_unwind(Box::new("by a handler")));
            assert!(resumed.is_err());
        });
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert!(seen[0].contains("the beat is off"), "{seen:?}");
        assert!(seen_in(|| ()).1.is_empty());
    }
}
