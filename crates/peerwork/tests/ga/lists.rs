//! Lists and filters: bounded, stable, exact for any string, and limited to one user where that is wanted.

use crate::kit::{Ask, Ghost, NAMES, Place, Puppet, task_in};
use peerwork::{Handler, Options, State, Status, TaskHandle, TaskId};
use peerwork_core::Name;
use peerwork_store::NewTask;
use std::collections::BTreeSet;

on_every_database!(
    ga_47_lists_are_bounded_and_stable_while_tasks_are_created,
    ga_48_user_and_group_filters_are_exact_for_any_string,
    ga_49_operations_can_be_limited_to_one_user,
    ga_49_filters_of_one_user_never_reach_another,
);

async fn ga_47_lists_are_bounded_and_stable_while_tasks_are_created(place: Place) {
    const TASKS: usize = 1_100;
    let client = place.client().await;
    let drafts = |count| (0..count).map(|n: usize| Puppet::task(n.to_string()));
    let tasks = client.create_many(drafts(TASKS)).await.unwrap();
    let ids: BTreeSet<TaskId> = tasks.iter().map(|task| task.id()).collect();

    let most = client.tasks().limit(usize::MAX).list().await.unwrap();
    assert_eq!(most.tasks.len(), 1_000);
    assert_eq!(client.tasks().list().await.unwrap().tasks.len(), 100);
    assert_eq!(client.tasks().limit(0).list().await.unwrap().tasks.len(), 1);

    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = client.tasks().limit(150);
        let page = match after {
            Some(after) => page.after(after),
            None => page,
        };
        let page = page.list().await.unwrap();
        assert!(page.tasks.len() <= 150);
        assert!(page.tasks.is_sorted_by(|a, b| a.created_at >= b.created_at));
        seen.extend(page.tasks.iter().map(|task| task.id));
        client.create_many(drafts(20)).await.unwrap();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    // Newest first: what was created meanwhile comes before the first page, and is not shown.
    assert_eq!(seen.len(), TASKS);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), ids);
}

async fn ga_48_user_and_group_filters_are_exact_for_any_string(place: Place) {
    let client = place.client().await;
    let group = |n: usize| NAMES[(n + 7) % NAMES.len()];
    let drafts = NAMES.iter().enumerate().map(|(n, user)| {
        let draft = peerwork::Draft::<peerwork::Untyped>::of_kind(NAMES[(n + 3) % NAMES.len()], &n);
        draft.user(*user).group(group(n))
    });
    for draft in drafts {
        client.create(draft).await.unwrap();
    }
    for (n, user) in NAMES.iter().enumerate() {
        let found = client.tasks().user(user).all().await.unwrap();
        assert_eq!(found.len(), 1, "{user:?}");
        let task = &found[0];
        assert_eq!((task.user.as_str(), task.group.as_str()), (*user, group(n)));
        let input = client.task(task.id).input::<usize>().await.unwrap();
        assert_eq!(input, Some(n), "{user:?}");
        let same = client.tasks().group(group(n)).kind(task.kind.as_str());
        assert_eq!(same.all().await.unwrap()[0].id, task.id, "{user:?}");
        let none = client.tasks().user(user).group(&format!("{} ", group(n)));
        assert!(none.all().await.unwrap().is_empty(), "{user:?}");
        let paused = client.tasks().user(user).pause().await.unwrap();
        assert_eq!(paused.changed, 1, "{user:?}");
    }
    let paused = client.tasks().state(State::Paused).all().await.unwrap();
    assert_eq!(paused.len(), NAMES.len());
}

async fn ga_49_operations_can_be_limited_to_one_user(place: Place) {
    let client = place.client().await;
    let ghost = Ghost::appear(&place).await;
    let ann = client.of_user("ann").unwrap();
    for status in Status::ALL {
        // Theirs is the user with the empty name.
        let theirs = task_in(&client, &ghost, status).await;
        let before = theirs.get().await.unwrap();
        let Err(error) = ann.task_of::<Puppet>(theirs.id()).await else {
            panic!("ann sees a task of others");
        };
        assert!(error.is_not_found());
        let hers = ann.task(theirs.id());
        for ask in Ask::ALL {
            let answer = ask.of(&hers).await;
            assert!(answer.unwrap_err().is_not_found(), "{ask:?} {status}");
        }
        assert!(hers.get().await.unwrap_err().is_not_found());
        assert!(hers.failures().await.unwrap_err().is_not_found());
        assert!(hers.input::<String>().await.unwrap_err().is_not_found());
        assert!(hers.checkpoint::<i64>().await.unwrap_err().is_not_found());
        assert!(hers.result().await.unwrap_err().is_not_found());
        assert!(hers.watch().next().await.unwrap_err().is_not_found());
        let taken = Puppet::task("mine now".into()).id(theirs.id());
        assert!(ann.create(taken).await.unwrap_err().is_not_found());
        let after = theirs.get().await.unwrap();
        assert_eq!((after.task, after.user), (before.task, before.user));
    }
}

async fn ga_49_filters_of_one_user_never_reach_another(place: Place) {
    let client = place.client().await;
    let ann = client.of_user("ann").unwrap();
    let bob = client.of_user("bob").unwrap();
    // What a user's client creates is the user's, whatever the draft says.
    let draft = Puppet::task(String::new()).user("bob").group("g");
    let hers = ann.create(draft).await.unwrap();
    assert_eq!(hers.get().await.unwrap().user.as_str(), "ann");
    let his = bob.create(Puppet::task(String::new()).group("g")).await;
    let his = his.unwrap();

    assert_eq!(ann.tasks().all().await.unwrap()[0].id, hers.id());
    assert_eq!(ann.tasks().group("g").all().await.unwrap().len(), 1);
    assert!(ann.tasks().user("bob").all().await.unwrap().is_empty());
    // Whatever else is asked for, in whatever order.
    place.store().create(vec![child_of(&hers)]).await.unwrap();
    assert_eq!(ann.tasks().parent(hers.id()).all().await.unwrap().len(), 1);
    let both = ann.tasks().user("bob").parent(hers.id());
    assert!(both.all().await.unwrap().is_empty());
    let both = ann.tasks().parent(hers.id()).user("bob");
    assert!(both.all().await.unwrap().is_empty());
    let both = ann.tasks().user("bob").parent(hers.id()).user("ann");
    assert!(both.all().await.unwrap().is_empty());
    for user in crate::kit::NAMES {
        let found = ann.tasks().user(user).all().await.unwrap();
        assert!(found.is_empty(), "{user:?}");
    }
    let before = his.get().await.unwrap();
    let swept = [
        ann.tasks().user("bob").delete().await.unwrap(),
        ann.tasks()
            .user("bob")
            .state(State::Queued)
            .pause()
            .await
            .unwrap(),
        ann.tasks().parent(his.id()).delete().await.unwrap(),
    ];
    for steering in swept {
        assert_eq!(steering, peerwork::Tally::default());
    }
    assert_eq!(ann.tasks().group("g").delete().await.unwrap().changed, 2);
    assert_eq!(his.get().await.unwrap().task, before.task);
}

/// A task of ann's whose parent is `parent`.
fn child_of(parent: &TaskHandle<Puppet>) -> NewTask {
    let name = |text| Name::new("name", text).unwrap();
    NewTask {
        id: parent.id().child("child"),
        kind: name("puppet"),
        user: name("ann"),
        group: name("g"),
        priority: 0,
        start: true,
        due: None,
        input: b"\"\"".to_vec(),
        options: Options::default(),
        parent: Some(parent.id()),
    }
}
