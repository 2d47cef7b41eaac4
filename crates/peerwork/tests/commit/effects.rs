//! What is committed together, and what is not committed at all.

use super::teller::{Bank, Gate, Ledger, Teller, on_each_bank, on_each_server};
use crate::kit::{Place, until};
use peerwork::{Handler, Node, Status, TaskError, Transaction};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

on_each_bank!(
    an_effect_and_its_checkpoint_are_there_together,
    an_error_of_the_work_takes_everything_back,
    what_the_work_begins_for_itself_commits_nothing,
    a_statement_that_ends_the_transaction_is_found,
    tasks_are_created_with_the_effect_or_not_at_all,
    another_database_than_the_tasks_is_refused,
);
on_each_server!(
    what_others_were_faster_than_can_be_tried_again,
    the_server_ends_what_it_hears_nothing_of,
    slow_transactions_hold_up_nothing_else,
);
on!([memory] a_store_in_memory_has_nothing_to_commit);
on!([sqlite] a_transaction_on_sqlite_is_not_in_everybodys_way_for_long);

async fn an_effect_and_its_checkpoint_are_there_together<DB: Bank>(place: Place) {
    let ledger = Ledger::<DB>::open(&place).await;
    let gate = Gate::new();
    let at = gate.clone();
    let node = ledger.node(&place, move |run, ledger| {
        let at = at.clone();
        Box::pin(async move {
            for n in run.checkpoint().unwrap_or(0)..3 {
                let ledger = ledger.clone();
                let told = run
                    .commit(move |tx: &mut Transaction<'_, DB, Teller<DB>>| {
                        Box::pin(async move {
                            ledger.enter(tx).await?;
                            tx.save(&(n + 1))?;
                            Ok(n * 10)
                        })
                    })
                    .await?;
                assert_eq!(told, n * 10, "it gives what the work has returned");
                assert_eq!(run.checkpoint(), Some(n + 1));
                at.pass().await;
            }
            Ok(run.checkpoint().unwrap_or_default())
        })
    });
    let node = node.start().await.unwrap();
    let task = node.client().create(Teller::<DB>::task(0)).await.unwrap();
    for n in 1..=3 {
        gate.reached().await;
        assert_eq!(ledger.entries(&place).await, n);
        assert_eq!(task.checkpoint::<i64>().await.unwrap(), Some(n));
        gate.open();
    }
    assert_eq!(task.result().await.unwrap(), 3);
    ledger.close(&place, node).await;
}

#[derive(Debug, thiserror::Error)]
#[error("no cover")]
struct NoCover;

async fn an_error_of_the_work_takes_everything_back<DB: Bank>(place: Place) {
    let ledger = Ledger::<DB>::open(&place).await;
    let node = ledger.node(&place, |run, ledger| {
        Box::pin(async move {
            let done = run.commit(move |tx: &mut Transaction<'_, DB, Teller<DB>>| {
                Box::pin(async move {
                    ledger.enter(tx).await?;
                    tx.save(&9)?;
                    tx.finish(&9)?;
                    tx.create(Teller::<DB>::task(1).hold()).await?;
                    Err::<(), _>(NoCover.into())
                })
            });
            let error = done.await.unwrap_err();
            assert!(error.downcast_ref::<NoCover>().is_some() && !error.is_transient());
            assert_eq!(run.checkpoint(), None);
            Ok(4)
        })
    });
    let node = node.start().await.unwrap();
    let task = node.client().create(Teller::<DB>::task(0)).await.unwrap();
    assert_eq!(task.result().await.unwrap(), 4, "the run went on");
    assert_eq!(ledger.entries(&place).await, 0);
    assert_eq!(task.checkpoint::<i64>().await.unwrap(), None);
    assert_eq!(node.client().tasks().all().await.unwrap().len(), 1);
    ledger.close(&place, node).await;
}

async fn what_the_work_begins_for_itself_commits_nothing<DB: Bank>(place: Place) {
    let ledger = Ledger::<DB>::open(&place).await;
    let node = ledger.node(&place, |run, ledger| {
        Box::pin(async move {
            for comes_to_its_end in [false, true] {
                let ledger = ledger.clone();
                let done = run.commit(move |tx: &mut Transaction<'_, DB, Teller<DB>>| {
                    Box::pin(async move {
                        DB::run_within(tx, &ledger.entry_on(1)).await?;
                        if comes_to_its_end {
                            Ok(())
                        } else {
                            Err(NoCover.into())
                        }
                    })
                });
                assert_eq!(done.await.is_ok(), comes_to_its_end);
            }
            Ok(0)
        })
    });
    let node = node.start().await.unwrap();
    let task = node.client().create(Teller::<DB>::task(0)).await.unwrap();
    task.result().await.unwrap();
    assert_eq!(ledger.entries(&place).await, 1);
    ledger.close(&place, node).await;
}

async fn a_statement_that_ends_the_transaction_is_found<DB: Bank>(place: Place) {
    let ledger = Ledger::<DB>::open(&place).await;
    let node = ledger.node(&place, |run, _| {
        Box::pin(async move {
            for end in ["commit", "rollback"] {
                let done = run.commit(move |tx: &mut Transaction<'_, DB, Teller<DB>>| {
                    Box::pin(async move {
                        DB::run(tx, end).await?;
                        tx.save(&1)?;
                        Ok(())
                    })
                });
                let error = done.await.unwrap_err();
                assert!(
                    !error.is_transient() && error.to_string().contains("over before"),
                    "{error}"
                );
                assert_eq!(run.checkpoint(), None);
            }
            // The connection that it happened on is not used again.
            run.commit(|tx: &mut Transaction<'_, DB, Teller<DB>>| {
                Box::pin(async move { Ok(tx.save(&2)?) })
            })
            .await?;
            Ok(0)
        })
    });
    let node = node.start().await.unwrap();
    let task = node.client().create(Teller::<DB>::task(0)).await.unwrap();
    task.result().await.unwrap();
    assert_eq!(task.checkpoint::<i64>().await.unwrap(), Some(2));
    ledger.close(&place, node).await;
}

async fn tasks_are_created_with_the_effect_or_not_at_all<DB: Bank>(place: Place) {
    let ledger = Ledger::<DB>::open(&place).await;
    let node = ledger.node(&place, |run, ledger| {
        Box::pin(async move {
            if *run.input() == 1 {
                return Ok(11);
            }
            let child = run
                .commit(move |tx: &mut Transaction<'_, DB, Teller<DB>>| {
                    Box::pin(async move {
                        ledger.enter(tx).await?;
                        let task = tx.create(Teller::<DB>::task(1).user("ann")).await?;
                        tx.create(Teller::<DB>::task(2).user("bob").hold()).await?;
                        Ok(task)
                    })
                })
                .await?;
            Ok(child.result().await? + 1)
        })
    });
    let node = node.slots(2).start().await.unwrap();
    let client = node.client();
    let task = client.create(Teller::<DB>::task(0)).await.unwrap();
    assert_eq!(task.result().await.unwrap(), 12);
    assert_eq!(ledger.entries(&place).await, 1);
    let held = client.tasks().user("bob").all().await.unwrap();
    assert_eq!(
        held.iter().map(|task| task.status()).collect::<Vec<_>>(),
        [Status::Created]
    );
    ledger.close(&place, node).await;
}

async fn another_database_than_the_tasks_is_refused<DB: Bank>(place: Place) {
    async fn refused<DB: Bank, Other: Bank>(run: &mut peerwork::Run<Teller<DB>>) {
        let done =
            run.commit(|_: &mut Transaction<'_, Other, Teller<DB>>| Box::pin(async { Ok(()) }));
        let error = done.await.unwrap_err();
        assert!(error.to_string().contains("the tasks are in"), "{error}");
        assert!(!error.is_transient());
    }
    let ledger = Ledger::<DB>::open(&place).await;
    let name = place.name().to_owned();
    let node = ledger.node(&place, move |run, _| {
        let name = name.clone();
        Box::pin(async move {
            if name != "sqlite" {
                refused::<DB, sqlx::Sqlite>(run).await;
            }
            if name != "postgres" {
                refused::<DB, sqlx::Postgres>(run).await;
            }
            if name != "mysql" {
                refused::<DB, sqlx::MySql>(run).await;
            }
            Ok(5)
        })
    });
    let node = node.start().await.unwrap();
    let task = node.client().create(Teller::<DB>::task(0)).await.unwrap();
    assert_eq!(task.result().await.unwrap(), 5);
    ledger.close(&place, node).await;
}

async fn what_others_were_faster_than_can_be_tried_again<DB: Bank>(place: Place) {
    let ledger = Ledger::<DB>::open(&place).await;
    // Both have locked their first account when they ask for the other's: one of them is the victim.
    let (both, victims, through) = (
        Arc::new(tokio::sync::Barrier::new(2)),
        Arc::new(AtomicU32::new(0)),
        Arc::new(tokio::sync::Semaphore::new(0)),
    );
    let seen = victims.clone();
    let node = ledger.node(&place, move |run, ledger| {
        let (both, victims, through) = (both.clone(), victims.clone(), through.clone());
        Box::pin(async move {
            let mut first_time = true;
            loop {
                let order = if *run.input() == 1 { [1, 2] } else { [2, 1] };
                let (ledger, both) = (ledger.clone(), both.clone());
                let done = run.commit(move |tx: &mut Transaction<'_, DB, Teller<DB>>| {
                    Box::pin(async move {
                        DB::run(tx, &ledger.entry_on(order[0])).await?;
                        if first_time {
                            both.wait().await;
                        }
                        DB::run(tx, &ledger.entry_on(order[1])).await?;
                        Ok(())
                    })
                });
                match done.await {
                    Err(error) if error.is_transient() => {
                        first_time = false;
                        // PostgreSQL wakes the one that waits for an account and hands it to whoever comes first: tried again
                        // at once, the victim could lock it before the other has woken up, and they would be where they were.
                        if victims.fetch_add(1, Ordering::SeqCst) == 0 {
                            through.acquire().await.expect("never closed").forget();
                        }
                        run.check()?;
                    }
                    done => {
                        through.add_permits(1);
                        return Ok(done.map(|()| 0)?);
                    }
                }
            }
        })
    });
    let node = node.slots(2).start().await.unwrap();
    let drafts = [1, 2].map(Teller::<DB>::task);
    let tasks = node.client().create_many(drafts).await.unwrap();
    for task in &tasks {
        task.result().await.unwrap();
    }
    assert_eq!(seen.load(Ordering::SeqCst), 1);
    assert_eq!(
        ledger.entries(&place).await,
        4,
        "each has entered twice, once"
    );
    ledger.close(&place, node).await;
}

async fn the_server_ends_what_it_hears_nothing_of<DB: Bank>(place: Place) {
    let ledger = Ledger::<DB>::open(&place).await;
    let (table, name) = (ledger.entry_on(1), place.name().to_owned());
    let node = ledger.node(&place, move |run, _| {
        // The lease is an hour long, less a second; nothing may be left open for longer.
        let limit = match &*name {
            "postgres" => "(select setting::int from pg_settings where name = 'idle_in_transaction_session_timeout') \
             between 3000000 and 3599000",
            _ => "@@idle_transaction_timeout between 3000 and 3599",
        };
        let statement = format!("{table} and {limit}");
        Box::pin(async move {
            let touched = run.commit(move |tx: &mut Transaction<'_, DB, Teller<DB>>| {
                Box::pin(async move { Ok(DB::run(tx, &statement).await?) })
            });
            Ok(touched.await? as i64)
        })
    });
    let node = node.start().await.unwrap();
    let task = node.client().create(Teller::<DB>::task(0)).await.unwrap();
    assert_eq!(task.result().await.unwrap(), 1);
    ledger.close(&place, node).await;
}

async fn slow_transactions_hold_up_nothing_else<DB: Bank>(place: Place) {
    const SLOW: usize = 6;
    let ledger = Ledger::<DB>::open(&place).await;
    let gate = Gate::new();
    let at = gate.clone();
    let node = ledger.node(&place, move |run, _| {
        let at = at.clone();
        Box::pin(async move {
            if *run.input() == 1 {
                run.save(&1).await?;
                return Ok(1);
            }
            run.commit(move |_: &mut Transaction<'_, DB, Teller<DB>>| {
                Box::pin(async move {
                    at.pass().await;
                    Ok(0)
                })
            })
            .await
            .map_err(TaskError::from)
        })
    });
    let node = node.slots(SLOW + 1).start().await.unwrap();
    let drafts = (0..SLOW).map(|_| Teller::<DB>::task(0));
    let slow = node.client().create_many(drafts).await.unwrap();
    for _ in 0..4 {
        gate.reached().await;
    }
    // Four are open, and two wait for a place; the node does everything else meanwhile.
    let quick = node.client().create(Teller::<DB>::task(1)).await.unwrap();
    assert_eq!(quick.result().await.unwrap(), 1);
    for _ in 0..SLOW {
        gate.open();
    }
    for task in &slow {
        assert_eq!(task.result().await.unwrap(), 0);
    }
    ledger.close(&place, node).await;
}

async fn a_store_in_memory_has_nothing_to_commit(place: Place) {
    struct Plain;
    impl Handler for Plain {
        const KIND: &'static str = "plain";
        type Input = ();
        type Checkpoint = ();
        type Output = String;
        async fn run(&self, run: &mut peerwork::Run<Self>) -> Result<String, TaskError> {
            let done = run
                .commit(|_: &mut Transaction<'_, sqlx::Sqlite, Self>| Box::pin(async { Ok(()) }));
            Ok(done.await.unwrap_err().to_string())
        }
    }
    let node = Node::builder(place.database()).register(Plain);
    let node = node.start().await.unwrap();
    let task = node.client().create(Plain::task(())).await.unwrap();
    let told = task.result().await.unwrap();
    assert!(
        told.contains("in memory") && told.contains("use save"),
        "{told}"
    );
    node.drain().await;
}

async fn a_transaction_on_sqlite_is_not_in_everybodys_way_for_long(place: Place) {
    let ledger = Ledger::<sqlx::Sqlite>::open(&place).await;
    let node = ledger.node(&place, |run, ledger| {
        Box::pin(async move {
            let client = run.client();
            let done = run.commit(move |tx: &mut Transaction<'_, sqlx::Sqlite, Teller<_>>| {
                Box::pin(async move {
                    ledger.enter(tx).await?;
                    // It waits for the end of this very transaction.
                    client
                        .create(Teller::<sqlx::Sqlite>::task(1).hold())
                        .await?;
                    Ok(0)
                })
            });
            Ok(done.await?)
        })
    });
    let lease = peerwork::LeaseTimes {
        ttl_ms: 4_000,
        ..crate::kit::TIGHT
    };
    let node = node.lease(lease).start().await.unwrap();
    let id = node.id();
    let task = node
        .client()
        .create(Teller::<sqlx::Sqlite>::task(0))
        .await
        .unwrap();
    until(async || task.get().await.unwrap().error.is_some()).await;
    let error = task.get().await.unwrap().error.unwrap();
    assert!(error.contains("nobody else could write"), "{error}");
    assert_eq!(ledger.entries(&place).await, 0);
    assert_eq!(node.id(), id, "the node has kept its lease");
    ledger.close(&place, node).await;
}
