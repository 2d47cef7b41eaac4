//! A transaction that finishes its run.

use super::teller::{Bank, Ledger, Teller, on_each_bank};
use crate::kit::Place;
use peerwork::{Handler, State, Status, TaskError, Transaction};

on_each_bank!(
    a_run_that_finishes_in_its_transaction_is_over,
    a_finish_obeys_a_deletion_that_came_before,
    a_finish_that_a_pause_has_raced_is_a_finish,
    nothing_is_written_after_the_finish,
    a_task_that_is_to_be_forgotten_is_gone_with_the_finish,
);

async fn a_run_that_finishes_in_its_transaction_is_over<DB: Bank>(place: Place) {
    const TASKS: i64 = 5;
    let ledger = Ledger::<DB>::open(&place).await;
    let node = ledger.node(&place, |run, ledger| {
        Box::pin(async move {
            let n = *run.input();
            let done = run.commit(move |tx: &mut Transaction<'_, DB, Teller<DB>>| {
                Box::pin(async move {
                    ledger.enter(tx).await?;
                    tx.save(&(n * 2))?;
                    tx.finish(&(n * 3))?;
                    Ok(n * 3)
                })
            });
            Ok(done.await?)
        })
    });
    // With one slot, one that was not freed would hold up all others.
    let node = node.slots(1).start().await.unwrap();
    let client = node.client();
    let tasks = client
        .create_many((0..TASKS).map(Teller::<DB>::task))
        .await
        .unwrap();
    for (n, task) in (0..).zip(tasks) {
        assert_eq!(task.result().await.unwrap(), n * 3);
        assert_eq!(task.get().await.unwrap().status(), Status::Finished);
        assert_eq!(task.checkpoint::<i64>().await.unwrap(), Some(n * 2));
    }
    assert_eq!(ledger.entries(&place).await, TASKS);
    crate::kit::until(async || node.holds().is_empty()).await;
    ledger.close(&place, node).await;
}

async fn a_finish_obeys_a_deletion_that_came_before<DB: Bank>(place: Place) {
    let ledger = Ledger::<DB>::open(&place).await;
    let node = ledger.node(&place, |run, ledger| {
        Box::pin(async move {
            assert_eq!(
                run.client().task(run.id()).delete().await?,
                Status::DeletingRun
            );
            let done = run.commit(move |tx: &mut Transaction<'_, DB, Teller<DB>>| {
                Box::pin(async move {
                    ledger.enter(tx).await?;
                    tx.finish(&1)?;
                    Ok(1)
                })
            });
            Ok(done.await?)
        })
    });
    let node = node.start().await.unwrap();
    let task = node.client().create(Teller::<DB>::task(0)).await.unwrap();
    task.until(State::Deleted).await.unwrap();
    assert_eq!(
        ledger.entries(&place).await,
        1,
        "it was committed before the cleanup"
    );
    ledger.close(&place, node).await;
}

async fn a_finish_that_a_pause_has_raced_is_a_finish<DB: Bank>(place: Place) {
    let ledger = Ledger::<DB>::open(&place).await;
    let node = ledger.node(&place, |run, ledger| {
        Box::pin(async move {
            assert_eq!(run.client().task(run.id()).pause().await?, Status::Pausing);
            let done = run.commit(move |tx: &mut Transaction<'_, DB, Teller<DB>>| {
                Box::pin(async move {
                    ledger.enter(tx).await?;
                    tx.finish(&1)?;
                    Ok(1)
                })
            });
            Ok(done.await?)
        })
    });
    let node = node.start().await.unwrap();
    let task = node.client().create(Teller::<DB>::task(0)).await.unwrap();
    assert_eq!(task.result().await.unwrap(), 1);
    ledger.close(&place, node).await;
}

async fn nothing_is_written_after_the_finish<DB: Bank>(place: Place) {
    let ledger = Ledger::<DB>::open(&place).await;
    let node = ledger.node(&place, |run, ledger| {
        Box::pin(async move {
            for output in [1, 2] {
                let ledger = ledger.clone();
                let done = run.commit(move |tx: &mut Transaction<'_, DB, Teller<DB>>| {
                    Box::pin(async move {
                        ledger.enter(tx).await?;
                        tx.finish(&output)?;
                        Ok(())
                    })
                });
                assert_eq!(done.await.is_ok(), output == 1);
            }
            run.save(&7).await.unwrap_err();
            Err(TaskError::permanent("too late to fail"))
        })
    });
    let node = node.start().await.unwrap();
    let task = node.client().create(Teller::<DB>::task(0)).await.unwrap();
    crate::kit::until(async || {
        let finished = task.get().await.unwrap().status() == Status::Finished;
        finished && node.holds().is_empty()
    })
    .await;
    assert_eq!(task.result().await.unwrap(), 1);
    assert_eq!(task.checkpoint::<i64>().await.unwrap(), None);
    assert_eq!(ledger.entries(&place).await, 1);
    assert_eq!(task.get().await.unwrap().error, None);
    ledger.close(&place, node).await;
}

async fn a_task_that_is_to_be_forgotten_is_gone_with_the_finish<DB: Bank>(place: Place) {
    let ledger = Ledger::<DB>::open(&place).await;
    let node = ledger.node(&place, |run, ledger| {
        Box::pin(async move {
            let done = run.commit(move |tx: &mut Transaction<'_, DB, Teller<DB>>| {
                Box::pin(async move {
                    ledger.enter(tx).await?;
                    tx.finish(&1)?;
                    Ok(1)
                })
            });
            Ok(done.await?)
        })
    });
    let node = node.start().await.unwrap();
    let draft = Teller::<DB>::task(0).forget_on_finish();
    let task = node.client().create(draft).await.unwrap();
    task.until(State::Deleted).await.unwrap();
    assert_eq!(ledger.entries(&place).await, 1);
    ledger.close(&place, node).await;
}
