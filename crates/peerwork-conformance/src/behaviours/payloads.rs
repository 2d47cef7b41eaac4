//! Payloads: any bytes, up to the bound, apart from the rest of a task.

use crate::*;
use peerwork_core::*;
use peerwork_store::*;

/// Bytes that a text column, a terminal or a log would not take.
fn samples() -> Vec<Vec<u8>> {
    vec![
        Vec::new(),
        vec![0],
        b"a\0b".to_vec(),
        vec![0; 1_000],
        (0..=255).collect(),
        "🦀 '\"\\%_ \u{10ffff}".as_bytes().to_vec(),
        vec![0xff, 0xfe, 0xc3, 0x28],
        b"\\x00\\000 NULL".to_vec(),
    ]
}

/// Bytes in which a shift or a cut would show.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (i % 251) as u8).collect()
}

/// What goes in comes out, byte for byte.
pub async fn ga_55_any_bytes_are_kept_in_every_payload(f: &Fixture) {
    for bytes in samples() {
        let held = f
            .running(NewTask {
                input: bytes.clone(),
                ..task()
            })
            .await;
        f.save(held.save(&bytes)).await;
        f.end(&held, Event::Stopped).await;
        let claimed = f.claim(held.node, Work::Run, 1).await;
        assert_eq!(
            (&claimed[0].input, claimed[0].checkpoint.as_ref()),
            (&bytes, Some(&bytes))
        );
        let held = Held {
            run: claimed[0].run,
            ..held
        };
        f.end_with(End {
            output: Some(bytes.clone()),
            ..held.end(OK)
        })
        .await;
        for which in [Payload::Input, Payload::Checkpoint, Payload::Output] {
            assert_eq!(
                f.payload(held.id, which).await.as_ref(),
                Some(&bytes),
                "{which:?}"
            );
        }
        assert_eq!(
            f.store.outputs(vec![held.id]).await.expect("outputs"),
            [Some(bytes)]
        );
    }
}

/// The largest payload passes, in each place.
pub async fn ga_55_the_largest_payload_passes(f: &Fixture) {
    let bytes = pattern(PAYLOAD_BYTES_MAX);
    let held = f
        .running(NewTask {
            input: bytes.clone(),
            ..task()
        })
        .await;
    assert_eq!(
        f.save(held.save(&bytes)).await,
        Saved::Kept(Status::Running)
    );
    f.end(&held, Event::Stopped).await;
    let claimed = f.claim(held.node, Work::Run, 1).await;
    assert!(claimed[0].input == bytes && claimed[0].checkpoint.as_ref() == Some(&bytes));
    let held = Held {
        run: claimed[0].run,
        ..held
    };
    let ended = f
        .end_with(End {
            output: Some(bytes.clone()),
            ..held.end(OK)
        })
        .await;
    assert_eq!(ended, Ended::Recorded(Status::Finished));
    for which in [Payload::Input, Payload::Checkpoint, Payload::Output] {
        assert!(
            f.payload(held.id, which).await.as_ref() == Some(&bytes),
            "{which:?}"
        );
    }
}

/// One byte more is refused with an error that says so, and changes nothing.
pub async fn ga_55_a_payload_over_the_bound_is_refused(f: &Fixture) {
    let bytes = vec![7; PAYLOAD_BYTES_MAX + 1];
    let invalid = |error: Error| {
        assert!(error.is_invalid() && !error.is_transient(), "{error:?}");
        assert!(
            error.to_string().contains(&PAYLOAD_BYTES_MAX.to_string()),
            "{error}"
        );
    };
    let new = NewTask {
        input: bytes.clone(),
        ..task()
    };
    let id = new.id;
    invalid(
        f.store
            .create(vec![new])
            .await
            .expect_err("an input over the bound"),
    );
    assert!(f.find(id).await.is_none());
    let held = f.running(task()).await;
    f.save(held.save(b"half")).await;
    invalid(
        f.store
            .save(vec![held.save(&bytes)])
            .await
            .expect_err("a checkpoint over the bound"),
    );
    let end = End {
        output: Some(bytes),
        ..held.end(OK)
    };
    invalid(
        f.store
            .end(vec![end])
            .await
            .expect_err("an output over the bound"),
    );
    assert_eq!(f.status(held.id).await, Status::Running);
    assert_eq!(
        f.payload(held.id, Payload::Checkpoint).await,
        Some(b"half".to_vec())
    );
}

/// A batch may hold more bytes than one statement of any database takes.
pub async fn ga_55_a_batch_of_large_payloads_passes(f: &Fixture) {
    let tasks: Vec<_> = (0..4)
        .map(|_| NewTask {
            input: pattern(PAYLOAD_BYTES_MAX - 1),
            ..task()
        })
        .collect();
    let ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
    assert_eq!(
        f.store.create(tasks).await.expect("create"),
        [Created::New; 4]
    );
    let node = f.node().await;
    let mut claimed = f.claim(node, Work::Run, 4).await;
    assert_eq!(claimed.iter().map(|c| c.id).collect::<Vec<_>>(), ids);
    assert!(
        claimed
            .iter()
            .all(|c| c.input == pattern(PAYLOAD_BYTES_MAX - 1))
    );
    let large = |c: &mut Claimed| Save {
        id: c.id,
        run: c.run,
        checkpoint: Some(std::mem::take(&mut c.input)),
        progress: None,
    };
    let saves = claimed.iter_mut().map(large).collect();
    assert_eq!(
        f.store.save(saves).await.expect("save"),
        [Saved::Kept(Status::Running); 4]
    );
    let end = |c: &Claimed| End {
        output: Some(pattern(PAYLOAD_BYTES_MAX)),
        ..Held {
            id: c.id,
            run: c.run,
            node,
        }
        .end(OK)
    };
    let ended = f
        .store
        .end(claimed.iter().map(end).collect())
        .await
        .expect("end");
    assert_eq!(ended, [Ended::Recorded(Status::Finished); 4]);
    let outputs = f.store.outputs(ids).await.expect("outputs");
    assert!(outputs.iter().all(|output| {
        output
            .as_ref()
            .is_some_and(|o| o.len() == PAYLOAD_BYTES_MAX)
    }));
}

/// A save of progress leaves the checkpoint, and one of a checkpoint the progress.
pub async fn a_save_changes_only_what_it_names(f: &Fixture) {
    let held = f.running(task()).await;
    let progress = Some(Progress { done: 1, total: 2 });
    f.save(Save {
        progress,
        ..held.save(b"one")
    })
    .await;
    f.save(held.save(b"two")).await;
    assert_eq!(f.record(held.id).await.progress, progress);
    let most = Some(Progress {
        done: u64::MAX / 2,
        total: 0,
    });
    f.save(Save {
        id: held.id,
        run: held.run,
        checkpoint: None,
        progress: most,
    })
    .await;
    assert_eq!(
        f.payload(held.id, Payload::Checkpoint).await,
        Some(b"two".to_vec())
    );
    assert_eq!(f.record(held.id).await.progress, most);
    f.save(Save {
        id: held.id,
        run: held.run,
        checkpoint: None,
        progress: None,
    })
    .await;
    assert_eq!(
        f.payload(held.id, Payload::Checkpoint).await,
        Some(b"two".to_vec())
    );
    assert_eq!(f.record(held.id).await.progress, most);
}

/// A checkpoint may shrink and grow; only the last counts.
pub async fn the_last_checkpoint_stands(f: &Fixture) {
    let held = f.running(task()).await;
    for bytes in [100, 1_000_000, 0, 3, 300_000, 2] {
        f.save(held.save(&pattern(bytes))).await;
        assert!(
            f.payload(held.id, Payload::Checkpoint).await == Some(pattern(bytes)),
            "{bytes} bytes"
        );
    }
    f.end(&held, Event::Stopped).await;
    assert_eq!(
        f.claim(held.node, Work::Run, 1).await[0].checkpoint,
        Some(pattern(2))
    );
}

/// The payload of nothing is nothing.
pub async fn what_is_not_there_has_no_payload(f: &Fixture) {
    for which in [Payload::Input, Payload::Checkpoint, Payload::Output] {
        assert_eq!(f.payload(fresh_task(), which).await, None);
    }
    assert_eq!(f.store.failures(fresh_task()).await.expect("failures"), []);
}

/// Every batch has a maximum; over it nothing is done at all.
pub async fn ga_56_a_batch_over_the_bound_is_refused(f: &Fixture) {
    let held = f.running(task()).await;
    let many = BATCH_MAX + 1;
    let ids = || (0..many).map(|_| held.id).collect::<Vec<_>>();
    let news: Vec<_> = (0..many).map(|_| task()).collect();
    let first = news[0].id;
    let kinds = (0..many)
        .map(|i| (name(&format!("kind {i}")), Rules::default()))
        .collect();
    let errors = [
        f.store.create(news).await.expect_err("create"),
        f.store
            .steer(ids(), Filter::default(), Wish::Pause)
            .await
            .expect_err("steer"),
        f.store.get(ids()).await.expect_err("get"),
        f.store.outputs(ids()).await.expect_err("outputs"),
        f.store
            .save((0..many).map(|_| held.save(b"x")).collect())
            .await
            .expect_err("save"),
        f.store
            .end((0..many).map(|_| held.end(OK)).collect())
            .await
            .expect_err("end"),
        f.store
            .verify((0..many).map(|_| (held.id, held.run)).collect())
            .await
            .expect_err("verify"),
        f.store
            .publish_kinds(kinds)
            .await
            .expect_err("publish kinds"),
    ];
    for error in errors {
        assert!(error.is_invalid(), "{error:?}");
        assert!(
            error.to_string().contains(&BATCH_MAX.to_string()),
            "{error}"
        );
    }
    assert!(f.find(first).await.is_none());
    assert_eq!(f.status(held.id).await, Status::Running);
    assert_eq!(f.payload(held.id, Payload::Checkpoint).await, None);
    assert_eq!(f.store.kinds().await.expect("kinds"), []);
}

/// The largest batch of each call passes.
pub async fn ga_56_the_largest_batch_passes(f: &Fixture) {
    let tasks: Vec<_> = (0..BATCH_MAX).map(|_| task()).collect();
    let ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
    assert_eq!(
        f.store.create(tasks).await.expect("create").len(),
        BATCH_MAX
    );
    let node = f.node().await;
    let claimed = f.claim(node, Work::Run, BATCH_MAX).await;
    assert_eq!(claimed.len(), BATCH_MAX);
    let runs: Vec<_> = claimed
        .iter()
        .map(|c| Held {
            id: c.id,
            run: c.run,
            node,
        })
        .collect();
    let saved = f
        .store
        .save(runs.iter().map(|held| held.save(b"x")).collect())
        .await
        .expect("save");
    assert!(
        saved
            .iter()
            .all(|saved| *saved == Saved::Kept(Status::Running))
    );
    let held = f
        .store
        .verify(runs.iter().map(|held| (held.id, held.run)).collect())
        .await
        .expect("verify");
    assert!(held.iter().all(|status| *status == Some(Status::Running)));
    let steered = f
        .store
        .steer(ids.clone(), Filter::default(), Wish::Pause)
        .await
        .expect("steer");
    assert!(
        steered
            .iter()
            .all(|steered| *steered == Steered::Changed(Status::Pausing))
    );
    let ended = f
        .store
        .end(runs.iter().map(|held| held.end(OK)).collect())
        .await
        .expect("end");
    assert!(
        ended
            .iter()
            .all(|ended| *ended == Ended::Recorded(Status::Finished))
    );
    let outputs = f.store.outputs(ids).await.expect("outputs");
    assert!(outputs.iter().all(Option::is_some));
}
