//! A connection that is lost at each statement of a run's own transaction, before it and after it: the effect is there
//! once, and the answer says so.

use super::teller::{Bank, Ledger, Teller, on_each_bank};
use crate::kit::{Place, STEADY};
use peerwork::{Handler, Node, SqlStore, Status, Transaction};
use peerwork_store::{Failpoints, Fate, Reached};
use std::sync::{Arc, Mutex};

on_each_bank!(
    a_lost_connection_doubles_nothing_and_loses_nothing,
    a_lost_answer_to_the_commit_is_read_back,
);

/// Begin, mark, release, fence, and what is recorded.
const STATEMENTS_MIN: usize = 6;
const STATEMENTS_MAX: usize = 60;

/// The statement that fails next, counted from now on.
#[derive(Clone, Default)]
struct Plan(Arc<Mutex<Option<(usize, Fate)>>>);

impl Plan {
    fn arm(&self, at: usize, fate: Fate) {
        *self.0.lock().unwrap() = Some((at, fate));
    }

    /// Whether the fault has happened.
    fn disarm(&self) -> bool {
        self.0.lock().unwrap().take().is_none()
    }

    fn fate(&self, reached: &Reached<'_>) -> Fate {
        let mut next = self.0.lock().unwrap();
        match &mut *next {
            Some(_) if reached.operation != "commit a run's transaction" => Fate::Pass,
            Some((1, fate)) => {
                let fate = *fate;
                *next = None;
                fate
            }
            Some((at, _)) => {
                *at -= 1;
                Fate::Pass
            }
            None => Fate::Pass,
        }
    }
}

/// A node whose runs enter once, try again what is known not to have happened, and tell how often they were at work.
async fn node<DB: Bank>(place: &Place, ledger: &Ledger<DB>, plan: &Plan) -> Node {
    let (sql, plan) = (place.sql(), plan.clone());
    let failpoints = Failpoints::new(move |reached| plan.fate(&reached));
    let settings = sql.settings.clone().with_failpoints(failpoints);
    let store = SqlStore::connect(&sql.url, settings, 2).await.unwrap();
    let tellers = ledger.teller(|run, ledger| {
        Box::pin(async move {
            let finishes = *run.input() == 1;
            for works in 1.. {
                let ledger = ledger.clone();
                let done = run.commit(move |tx: &mut Transaction<'_, DB, Teller<DB>>| {
                    Box::pin(async move {
                        ledger.enter(tx).await?;
                        tx.save(&works)?;
                        if finishes {
                            tx.finish(&works)?;
                        }
                        Ok(works)
                    })
                });
                match done.await {
                    Err(error) if error.is_transient() => {}
                    done => return Ok(done?),
                }
            }
            unreachable!()
        })
    });
    let node = Node::builder(store).lease(STEADY).register(tellers);
    node.start().await.unwrap()
}

async fn a_lost_connection_doubles_nothing_and_loses_nothing<DB: Bank>(place: Place) {
    let ledger = Ledger::<DB>::open(&place).await;
    let plan = Plan::default();
    let node = node(&place, &ledger, &plan).await;
    let mut entries = 0;
    for input in [0, 1] {
        let mut statements = 0;
        'all: for at in 1..=STATEMENTS_MAX {
            for fate in [Fate::LostBefore, Fate::LostAfter] {
                plan.arm(at, fate);
                let task = node
                    .client()
                    .create(Teller::<DB>::task(input))
                    .await
                    .unwrap();
                let works = task.result().await.unwrap();
                let happened = plan.disarm();
                entries += 1;
                let what = format!("{fate:?} at statement {at}");
                assert_eq!(ledger.entries(&place).await, entries, "{what}");
                assert_eq!(
                    task.checkpoint::<i64>().await.unwrap(),
                    Some(works),
                    "{what}"
                );
                let record = task.get().await.unwrap();
                assert_eq!(
                    (record.status(), record.task.attempt),
                    (Status::Finished, 1),
                    "{what}"
                );
                if !happened {
                    break 'all;
                }
                statements = at;
            }
        }
        assert!(
            (STATEMENTS_MIN..STATEMENTS_MAX).contains(&statements),
            "{statements}"
        );
    }
    ledger.close(&place, node).await;
}

async fn a_lost_answer_to_the_commit_is_read_back<DB: Bank>(place: Place) {
    let ledger = Ledger::<DB>::open(&place).await;
    let lose = Arc::new(Mutex::new(None));
    let planned = lose.clone();
    let failpoints = Failpoints::new(move |reached| {
        let is_commit =
            reached.operation == "commit a run's transaction" && reached.text == "commit";
        let fate = is_commit.then(|| planned.lock().unwrap().take()).flatten();
        fate.unwrap_or(Fate::Pass)
    });
    let sql = place.sql();
    let settings = sql.settings.clone().with_failpoints(failpoints);
    let store = SqlStore::connect(&sql.url, settings, 2).await.unwrap();
    let tellers = ledger.teller(move |run, ledger| {
        let lose = lose.clone();
        Box::pin(async move {
            for (fate, happens) in [(Fate::LostAfter, true), (Fate::LostBefore, false)] {
                *lose.lock().unwrap() = Some(fate);
                let ledger = ledger.clone();
                let done = run.commit(move |tx: &mut Transaction<'_, DB, Teller<DB>>| {
                    Box::pin(async move {
                        ledger.enter(tx).await?;
                        Ok(5)
                    })
                });
                match done.await {
                    Ok(5) => assert!(happens, "{fate:?}"),
                    Ok(other) => panic!("{other}"),
                    Err(error) => assert!(!happens && error.is_transient(), "{fate:?}: {error:?}"),
                }
            }
            Ok(0)
        })
    });
    let node = Node::builder(store)
        .lease(STEADY)
        .register(tellers)
        .start()
        .await
        .unwrap();
    let task = node.client().create(Teller::<DB>::task(0)).await.unwrap();
    task.result().await.unwrap();
    assert_eq!(ledger.entries(&place).await, 1);
    ledger.close(&place, node).await;
}
