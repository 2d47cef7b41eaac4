//! Hints on their way from the database to a node: lost, late and doubled.

use super::history::History;
use super::store::Faults;
use peerwork_store::Hints;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;

/// On their way to one node; one unread hint says it all.
const UNREAD_MAX: usize = 16;

pub(super) fn over_the_network(mut hints: Hints, faults: &Arc<Faults>, history: &History) -> Hints {
    let (sender, receiver) = mpsc::channel(UNREAD_MAX);
    let (faults, history) = (faults.clone(), history.clone());
    tokio::spawn(async move {
        while let Some(hint) = hints.next().await {
            let dice = faults.env.random();
            let broken = dice % 1_000 < 4 * faults.per_mille.load(Ordering::Relaxed);
            match (broken, dice / 1_000 % 3) {
                (true, 0) => {
                    history.happened("hint lost", ());
                    continue;
                }
                (true, 1) => {
                    history.happened("hint late", ());
                    let late = Duration::from_millis(u64::from(dice % 3_000));
                    tokio::time::sleep(late).await;
                }
                (true, _) => {
                    history.happened("hint doubled", ());
                    let _ = sender.try_send(hint);
                }
                (false, _) => {}
            }
            let sent = sender.try_send(hint);
            if matches!(sent, Err(mpsc::error::TrySendError::Closed(_))) {
                return;
            }
        }
    });
    Hints::new(receiver)
}
