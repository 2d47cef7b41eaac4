//! What happens meanwhile: the task is taken away, paused, handed over; the answer is not waited for.

use super::teller::{Bank, Gate, Ledger, Teller, on_each_bank, on_each_server};
use crate::kit::{Place, TIGHT};
use peerwork::{Handler, Reason, RunId, State, Status, TaskError, TaskId, Transaction};
use peerwork_core::{Event, Rules};
use peerwork_store::{End, Ended, Store};
use std::future::poll_fn;
use std::task::Poll;

on_each_bank!(
    a_superseded_runs_effects_are_rolled_back,
    a_pause_before_the_commit_comes_with_its_answer,
    a_drain_waits_for_a_transaction_under_way,
    a_transaction_whose_answer_is_not_waited_for_is_carried_out_before_the_run_ends,
    a_panic_in_the_work_takes_everything_back,
    a_run_that_is_dropped_with_its_node_commits_nothing,
);
on_each_server!(
    a_run_that_is_superseded_in_the_middle_of_its_transaction_commits_nothing,
    a_connection_that_dies_in_the_transaction_commits_nothing,
);

/// Takes the task from its run behind the back of its node, which gives it to the next run.
async fn take_away(store: &dyn Store, id: TaskId, run: RunId) {
    let end = End {
        id,
        run,
        event: Event::Stopped,
        rules: Rules::default(),
        output: None,
        error: None,
        awaited_children: 0,
    };
    let ended = store.end(vec![end]).await.unwrap();
    assert!(matches!(ended[0], Ended::Recorded(Status::Resuming)));
}

async fn a_superseded_runs_effects_are_rolled_back<DB: Bank>(place: Place) {
    let ledger = Ledger::<DB>::open(&place).await;
    let store = place.store();
    let node = ledger.node(&place, move |run, ledger| {
        let store = store.clone();
        Box::pin(async move {
            let attempt = i64::from(run.attempt());
            if attempt == 1 {
                take_away(&*store, run.id(), run.run_id()).await;
            }
            let done = run.commit(move |tx: &mut Transaction<'_, DB, Teller<DB>>| {
                Box::pin(async move {
                    ledger.enter(tx).await?;
                    tx.save(&attempt)?;
                    Ok(attempt)
                })
            });
            let done = done.await;
            if attempt == 1 {
                let stop = done.as_ref().unwrap_err().stop();
                assert_eq!(stop.map(|stop| stop.reason), Some(Reason::LeaseLost));
                assert_eq!(run.check().unwrap_err().reason, Reason::LeaseLost);
            }
            Ok(done?)
        })
    });
    let node = node.start().await.unwrap();
    let task = node.client().create(Teller::<DB>::task(0)).await.unwrap();
    assert!(task.result().await.unwrap() > 1);
    assert_eq!(
        ledger.entries(&place).await,
        1,
        "only the run that held the task"
    );
    ledger.close(&place, node).await;
}

async fn a_run_that_is_superseded_in_the_middle_of_its_transaction_commits_nothing<DB: Bank>(
    place: Place,
) {
    let ledger = Ledger::<DB>::open(&place).await;
    let store = place.store();
    let node = ledger.node(&place, move |run, ledger| {
        let store = store.clone();
        Box::pin(async move {
            let (id, this, attempt) = (run.id(), run.run_id(), run.attempt());
            let done = run.commit(move |tx: &mut Transaction<'_, DB, Teller<DB>>| {
                Box::pin(async move {
                    ledger.enter(tx).await?;
                    if attempt == 1 {
                        take_away(&*store, id, this).await;
                    }
                    tx.finish(&i64::from(attempt))?;
                    Ok(i64::from(attempt))
                })
            });
            let done = done.await;
            assert_eq!(done.is_err(), attempt == 1);
            Ok(done?)
        })
    });
    let node = node.start().await.unwrap();
    let task = node.client().create(Teller::<DB>::task(0)).await.unwrap();
    assert!(task.result().await.unwrap() > 1);
    assert_eq!(ledger.entries(&place).await, 1);
    ledger.close(&place, node).await;
}

async fn a_connection_that_dies_in_the_transaction_commits_nothing<DB: Bank>(place: Place) {
    let ledger = Ledger::<DB>::open(&place).await;
    let kill = match place.name() {
        "postgres" => "select pg_terminate_backend(pg_backend_pid())",
        _ => "kill connection_id()",
    };
    let node = ledger.node(&place, move |run, ledger| {
        Box::pin(async move {
            for dies in [true, false] {
                let ledger = ledger.clone();
                let done = run.commit(move |tx: &mut Transaction<'_, DB, Teller<DB>>| {
                    Box::pin(async move {
                        ledger.enter(tx).await?;
                        if dies {
                            DB::run(tx, kill).await?;
                        }
                        Ok(())
                    })
                });
                match done.await {
                    Ok(()) => assert!(!dies),
                    Err(error) => assert!(dies && error.is_transient(), "{error:?}"),
                }
            }
            Ok(1)
        })
    });
    let node = node.start().await.unwrap();
    let task = node.client().create(Teller::<DB>::task(0)).await.unwrap();
    assert_eq!(task.result().await.unwrap(), 1);
    assert_eq!(ledger.entries(&place).await, 1);
    ledger.close(&place, node).await;
}

async fn a_pause_before_the_commit_comes_with_its_answer<DB: Bank>(place: Place) {
    let ledger = Ledger::<DB>::open(&place).await;
    let node = ledger.node(&place, |run, ledger| {
        Box::pin(async move {
            if run.checkpoint() == Some(1) {
                return Ok(8);
            }
            assert_eq!(run.client().task(run.id()).pause().await?, Status::Pausing);
            let done = run.commit(move |tx: &mut Transaction<'_, DB, Teller<DB>>| {
                Box::pin(async move {
                    ledger.enter(tx).await?;
                    tx.save(&1)?;
                    Ok(())
                })
            });
            let error = done.await.unwrap_err();
            assert_eq!(error.stop().map(|stop| stop.reason), Some(Reason::Pause));
            Err(error)?
        })
    });
    let node = node.start().await.unwrap();
    let task = node.client().create(Teller::<DB>::task(0)).await.unwrap();
    task.until(State::Paused).await.unwrap();
    assert_eq!(ledger.entries(&place).await, 1);
    assert_eq!(task.checkpoint::<i64>().await.unwrap(), Some(1));
    assert_eq!(task.get().await.unwrap().task.failures, 0);
    task.resume().await.unwrap();
    assert_eq!(task.result().await.unwrap(), 8);
    ledger.close(&place, node).await;
}

async fn a_drain_waits_for_a_transaction_under_way<DB: Bank>(place: Place) {
    let ledger = Ledger::<DB>::open(&place).await;
    let gate = Gate::new();
    let at = gate.clone();
    let node = ledger.node(&place, move |run, ledger| {
        let at = at.clone();
        Box::pin(async move {
            let (token, opener) = (run.token(), at.clone());
            // It ends only after the drain has begun.
            tokio::spawn(async move {
                token.cancelled().await;
                opener.open();
            });
            let done = run.commit(move |tx: &mut Transaction<'_, DB, Teller<DB>>| {
                Box::pin(async move {
                    ledger.enter(tx).await?;
                    tx.save(&1)?;
                    at.pass().await;
                    Ok(())
                })
            });
            done.await?;
            Ok(0)
        })
    });
    let node = node.start().await.unwrap();
    let client = place.client().await;
    let task = client.create(Teller::<DB>::task(0)).await.unwrap();
    gate.reached().await;
    let report = node.drain().await;
    assert_eq!((report.handed_over, report.abandoned), (1, 0));
    assert_eq!(ledger.entries(&place).await, 1);
    assert_eq!(task.checkpoint::<i64>().await.unwrap(), Some(1));
    assert_eq!(task.get().await.unwrap().status(), Status::Resuming);
    let drop_table = ledger.node(&place, |_, _| Box::pin(async { Ok(1) }));
    ledger
        .close(&place, drop_table.start().await.unwrap())
        .await;
}

async fn a_transaction_whose_answer_is_not_waited_for_is_carried_out_before_the_run_ends<
    DB: Bank,
>(
    place: Place,
) {
    let ledger = Ledger::<DB>::open(&place).await;
    let gate = Gate::new();
    let at = gate.clone();
    let node = ledger.node(&place, move |run, ledger| {
        let at = at.clone();
        Box::pin(async move {
            let inner = at.clone();
            let mut done = Box::pin(run.commit(move |tx: &mut Transaction<'_, DB, Teller<DB>>| {
                Box::pin(async move {
                    ledger.enter(tx).await?;
                    inner.pass().await;
                    tx.save(&1)?;
                    Ok(())
                })
            }));
            // Begun, and dropped.
            poll_fn(|context| {
                assert!(done.as_mut().poll(context).is_pending());
                Poll::Ready(())
            })
            .await;
            at.reached().await;
            drop(done);
            at.open();
            Ok(6)
        })
    });
    let node = node.start().await.unwrap();
    let task = node.client().create(Teller::<DB>::task(0)).await.unwrap();
    assert_eq!(task.result().await.unwrap(), 6);
    // Not a moment later: the end was recorded after it.
    assert_eq!(ledger.entries(&place).await, 1);
    assert_eq!(task.checkpoint::<i64>().await.unwrap(), Some(1));
    ledger.close(&place, node).await;
}

async fn a_panic_in_the_work_takes_everything_back<DB: Bank>(place: Place) {
    let ledger = Ledger::<DB>::open(&place).await;
    let node = ledger.node(&place, |run, ledger| {
        Box::pin(async move {
            if run.failures() > 0 {
                return Ok(2);
            }
            let done = run.commit(move |tx: &mut Transaction<'_, DB, Teller<DB>>| {
                Box::pin(async move {
                    ledger.enter(tx).await?;
                    if tx.save(&1).is_ok() {
                        panic!("out of ink");
                    }
                    Ok(())
                })
            });
            done.await?;
            Ok(0)
        })
    });
    let node = node.start().await.unwrap();
    let task = node.client().create(Teller::<DB>::task(0)).await.unwrap();
    assert_eq!(task.result().await.unwrap(), 2);
    assert_eq!(ledger.entries(&place).await, 0);
    let failures = task.failures().await.unwrap();
    assert!(failures[0].error.contains("out of ink"), "{failures:?}");
    ledger.close(&place, node).await;
}

async fn a_run_that_is_dropped_with_its_node_commits_nothing<DB: Bank>(place: Place) {
    let ledger = Ledger::<DB>::open(&place).await;
    let gate = Gate::new();
    let at = gate.clone();
    let node = ledger.node(&place, move |run, ledger| {
        let at = at.clone();
        Box::pin(async move {
            if run.attempt() > 1 {
                return Ok(3);
            }
            // Its transaction is not in the future that is dropped.
            let done = run.commit(move |tx: &mut Transaction<'_, DB, Teller<DB>>| {
                Box::pin(async move {
                    ledger.enter(tx).await?;
                    at.pass().await;
                    std::future::pending::<()>().await;
                    Ok(())
                })
            });
            done.await?;
            Err(TaskError::permanent("it was committed"))
        })
    });
    let node = node.lease(TIGHT).start().await.unwrap();
    let task = place
        .client()
        .await
        .create(Teller::<DB>::task(0))
        .await
        .unwrap();
    gate.reached().await;
    // As a crash: nothing renews the lease any more, and its runs are dropped.
    drop(node);
    let peer = ledger.node(&place, |_, _| Box::pin(async { Ok(3) }));
    let peer = peer.start().await.unwrap();
    assert_eq!(task.result().await.unwrap(), 3);
    assert_eq!(ledger.entries(&place).await, 0);
    ledger.close(&place, peer).await;
}
