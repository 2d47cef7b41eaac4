//! Hints: fast where they arrive, and missed by nobody where they do not.

use crate::*;
use peerwork_store::*;

/// Where a store carries hints at all, each listener hears of each sort.
pub async fn a_hint_reaches_who_listens(f: &Fixture) {
    let Some(mut first) = f.store.listen().await.expect("listen") else {
        return;
    };
    let mut second = f
        .store
        .listen()
        .await
        .expect("listen")
        .expect("as the first");
    for hint in [
        Hint {
            ready: true,
            ..Hint::default()
        },
        Hint {
            wish: true,
            ..Hint::default()
        },
        Hint {
            change: true,
            ..Hint::default()
        },
        Hint::ALL,
    ] {
        f.store.hint(hint).await.expect("hint");
        for hints in [&mut first, &mut second] {
            let mut heard = Hint::default();
            while heard.and(hint) != heard {
                heard = heard.and(hints.next().await.expect("the store listens"));
            }
        }
    }
}

/// A hint that nobody hears is no error.
pub async fn a_hint_that_nobody_hears_is_no_error(f: &Fixture) {
    f.store.hint(Hint::ALL).await.expect("hint");
    drop(f.store.listen().await.expect("listen"));
    for _ in 0..100 {
        f.store.hint(Hint::ALL).await.expect("hint");
    }
}
