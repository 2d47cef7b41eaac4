//! Kinds, inputs, names and ids that are none.

use crate::kit::{Ask, Place, Puppet, Stage};
use peerwork::*;
use uuid::Uuid;

on_every_database!(
    an_unknown_kind_is_refused_by_check_kind,
    an_input_that_does_not_decode_fails_the_task_with_that_reason,
    a_task_of_another_kind_is_not_taken_for_one_of_this,
    a_payload_over_the_limit_is_refused,
    an_input_that_cannot_be_encoded_is_refused,
    a_name_with_nul_is_refused_everywhere,
    any_other_name_is_kept_to_the_byte,
    an_id_that_does_not_exist_is_not_found,
    a_run_that_is_told_nothing_and_says_stop_has_failed,
);

async fn an_unknown_kind_is_refused_by_check_kind(place: Place) {
    let client = place.client().await;
    let error = client.check_kind("pupet").await.unwrap_err();
    assert!(error.is_unknown_kind());
    assert!(error.to_string().contains("\"pupet\""), "{error}");
    let stage = Stage::new();
    let node = place.node().register(stage.puppet("a"));
    let node = node.start().await.unwrap();
    client.check_kind("puppet").await.unwrap();
    assert!(
        client
            .check_kind("PUPPET")
            .await
            .unwrap_err()
            .is_unknown_kind()
    );
    // A node that had it is enough: it may come again.
    node.drain().await;
    client.check_kind("puppet").await.unwrap();
}

async fn an_input_that_does_not_decode_fails_the_task_with_that_reason(place: Place) {
    let stage = Stage::new();
    let node = place.node().register(stage.puppet("a"));
    let node = node.start().await.unwrap();
    let draft = Draft::<Untyped>::of_kind("puppet", &serde_json::json!({ "text": "hidden" }));
    let task = node.client().create(draft).await.unwrap();
    let error = task.result().await.unwrap_err();
    assert!(error.is_task_failed());
    let text = error.to_string();
    assert!(
        text.contains("cannot decode the input of kind \"puppet\""),
        "{text}"
    );
    assert!(!text.contains("hidden"), "{text}");
    assert!(stage.is_empty().await);
    node.drain().await;
}

async fn a_task_of_another_kind_is_not_taken_for_one_of_this(place: Place) {
    let client = place.client().await;
    let other = Draft::<Untyped>::of_kind("other", &1);
    let id = client.create(other).await.unwrap().id();
    let Err(error) = client.task_of::<Puppet>(id).await else {
        panic!("it is no puppet");
    };
    assert!(error.is_wrong_kind());
    assert!(
        error.to_string().contains("\"other\", not \"puppet\""),
        "{error}"
    );
    let node = place.node().handle("other", |n: i64| async move { Ok(n) });
    let node = node.start().await.unwrap();
    let mistaken = client
        .create(Puppet::task(String::new()).id(id))
        .await
        .unwrap();
    assert!(mistaken.result().await.unwrap_err().is_wrong_kind());
    node.drain().await;
}

async fn a_payload_over_the_limit_is_refused(place: Place) {
    let client = place.client().await;
    let draft = || Puppet::task("x".repeat(8 << 20));
    for error in [
        client.create(draft()).await.unwrap_err(),
        client.create_many([draft()]).await.unwrap_err(),
    ] {
        assert!(error.is_invalid());
        assert!(error.to_string().contains("store it elsewhere"), "{error}");
    }
    assert!(client.tasks().all().await.unwrap().is_empty());
}

async fn an_input_that_cannot_be_encoded_is_refused(place: Place) {
    let client = place.client().await;
    let keys = std::collections::BTreeMap::from([((1, 2), 3)]);
    let draft = Draft::<Untyped>::of_kind("puppet", &keys);
    let error = client.create(draft).await.unwrap_err();
    assert!(error.is_invalid());
    assert!(
        error
            .to_string()
            .contains("encode the input of kind \"puppet\""),
        "{error}"
    );
}

async fn a_name_with_nul_is_refused_everywhere(place: Place) {
    let client = place.client().await;
    let task = client.create(Puppet::task(String::new())).await.unwrap();
    let nul = "a\0b";
    let puppet = || Puppet::task(String::new());
    let errors = [
        client.create(puppet().user(nul)).await.unwrap_err(),
        client.create(puppet().group(nul)).await.unwrap_err(),
        client
            .create(Draft::<Untyped>::of_kind(nul, &1))
            .await
            .unwrap_err(),
        client.of_user(nul).err().unwrap(),
        task.move_to(nul).await.unwrap_err(),
        client.tasks().user(nul).list().await.unwrap_err(),
        client.tasks().group(nul).pause().await.unwrap_err(),
        client.tasks().kind(nul).delete().await.unwrap_err(),
        client.tasks().move_to(nul).await.unwrap_err(),
    ];
    for error in errors {
        assert!(error.is_invalid(), "{error:?}");
        assert!(error.to_string().contains("NUL"), "{error}");
    }
    assert!(client.check_kind(nul).await.unwrap_err().is_unknown_kind());
    let all = client.tasks().all().await.unwrap();
    assert_eq!((all.len(), all[0].status()), (1, Status::Queued));
}

async fn any_other_name_is_kept_to_the_byte(place: Place) {
    let client = place.client().await;
    for name in crate::kit::NAMES {
        let draft = Puppet::task(String::new()).user(name).group(name);
        let task = client.create(draft).await.unwrap();
        let record = task.get().await.unwrap();
        assert_eq!((record.user.as_str(), record.group.as_str()), (name, name));
        task.move_to("elsewhere").await.unwrap();
        task.move_to(name).await.unwrap();
        assert_eq!(task.get().await.unwrap().group.as_str(), name);
    }
}

async fn an_id_that_does_not_exist_is_not_found(place: Place) {
    let client = place.client().await;
    for id in [
        client.new_task_id(),
        TaskId(Uuid::nil()),
        TaskId(Uuid::max()),
    ] {
        let task = client.task(id);
        for ask in Ask::ALL {
            let error = ask.of(&task).await.unwrap_err();
            assert!(error.is_not_found(), "{ask:?} {error:?}");
            assert!(error.to_string().contains(&id.to_string()), "{error}");
        }
        assert!(task.get().await.unwrap_err().is_not_found());
        assert!(task.result().await.unwrap_err().is_not_found());
        assert!(task.until(State::Deleted).await.unwrap_err().is_not_found());
        assert!(task.until_over().await.unwrap_err().is_not_found());
        assert!(task.watch().next().await.unwrap_err().is_not_found());
        assert!(task.failures().await.unwrap_err().is_not_found());
        assert!(task.input::<i32>().await.unwrap_err().is_not_found());
        assert!(task.checkpoint::<i32>().await.unwrap_err().is_not_found());
    }
    assert!("no id".parse::<TaskId>().is_err());
}

async fn a_run_that_is_told_nothing_and_says_stop_has_failed(place: Place) {
    let stage = Stage::new();
    let puppet = stage.puppet("a").with(crate::kit::never_again());
    let node = place.node().register(puppet).start().await.unwrap();
    let client = node.client();
    let task = client.create(Puppet::task(String::new())).await.unwrap();
    let reason = Reason::Pause;
    stage.next().await.fail_with(Stop { reason }.into()).await;
    let error = task.result().await.unwrap_err().to_string();
    assert!(error.contains("nobody told it to"), "{error}");
    let task = client.create(Puppet::task(String::new())).await.unwrap();
    stage.next().await.panic("at the disco").await;
    let error = task.result().await.unwrap_err().to_string();
    assert!(error.contains("panicked: at the disco"), "{error}");
    node.drain().await;
}
