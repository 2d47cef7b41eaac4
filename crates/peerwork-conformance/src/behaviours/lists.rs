//! Lists: pages that stay stable, and filters that mean what they say.

use crate::population::{GONE, LIVES, Plan, populate};
use crate::*;
use peerwork_core::*;
use peerwork_store::*;

/// Newest first; what was created in the same microsecond by id.
pub async fn a_list_runs_from_the_newest_to_the_oldest(f: &Fixture) {
    let mut wanted = Vec::new();
    for _ in 0..3 {
        let batch: Vec<_> = (0..5).map(|_| task()).collect();
        wanted.extend(batch.iter().map(|task| task.id));
        f.store.create(batch).await.expect("create");
        f.clock.pass_ms(1);
    }
    wanted.reverse();
    for page in [1, 2, 5, 14, 15, 16, PAGE_MAX] {
        assert_eq!(
            f.list(Filter::default(), page).await,
            wanted,
            "pages of {page}"
        );
    }
}

/// The order is by time of creation, not by id.
pub async fn an_older_id_that_is_created_later_is_newer(f: &Fixture) {
    let [first, second] = [task(), task()];
    let (early, late) = (second.id, first.id);
    assert!(late < early);
    f.create(second).await;
    f.clock.pass_ms(1);
    f.create(first).await;
    assert_eq!(f.list(Filter::default(), 1).await, [late, early]);
}

/// Whoever reads page after page sees each task once that was there throughout, whatever else happens.
pub async fn ga_47_pages_are_stable_under_inserts_and_deletions(f: &Fixture) {
    let mut batch: Vec<_> = (0..30).map(|_| task()).collect();
    let lasting: Vec<_> = batch.iter().rev().map(|task| task.id).collect();
    f.store.create(batch.clone()).await.expect("create");
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = f
            .store
            .list(Filter::default(), after, 4)
            .await
            .expect("list");
        seen.extend(page.tasks.iter().map(|task| task.id));
        after = page.next;
        if after.is_none() {
            break;
        }
        f.clock.pass_ms(1);
        batch = (0..3).map(|_| task()).collect();
        f.store.create(batch).await.expect("create");
        // What was read already may change and go: the place of the next page does not depend on it.
        let last = *seen.last().expect("a page is not empty");
        f.must(last, Wish::ForceDelete).await;
        f.must(last, Wish::ForceDelete).await;
    }
    assert_eq!(seen, lasting);
}

/// A cursor is a place: nothing needs to be there.
pub async fn a_page_begins_after_any_place(f: &Fixture) {
    let ids = [f.create(task()).await, f.create(task()).await];
    let now = f.clock.now();
    let after = async |created_at, id| {
        let page = f
            .store
            .list(Filter::default(), Some(Cursor { created_at, id }), 10)
            .await
            .expect("list");
        page.tasks.iter().map(|task| task.id).collect::<Vec<_>>()
    };
    let (lowest, highest) = (TaskId(uuid::Uuid::nil()), TaskId(uuid::Uuid::max()));
    assert_eq!(after(now.plus_ms(1), lowest).await, [ids[1], ids[0]]);
    assert_eq!(after(now, highest).await, [ids[1], ids[0]]);
    assert_eq!(after(now, ids[1]).await, [ids[0]]);
    assert_eq!(after(now, lowest).await, []);
    assert_eq!(after(now.minus_ms(1), highest).await, []);
}

/// A page has a maximum, and at least one task.
pub async fn ga_47_a_page_is_bounded(f: &Fixture) {
    for _ in 0..2 {
        f.store
            .create((0..BATCH_MAX).map(|_| task()).collect())
            .await
            .expect("create");
    }
    let page = f
        .store
        .list(Filter::default(), None, usize::MAX)
        .await
        .expect("list");
    assert_eq!(page.tasks.len(), PAGE_MAX);
    assert!(page.next.is_some());
    let page = f
        .store
        .list(Filter::default(), page.next, PAGE_MAX)
        .await
        .expect("list");
    assert_eq!((page.tasks.len(), page.next), (BATCH_MAX, None));
    let page = f
        .store
        .list(Filter::default(), None, 0)
        .await
        .expect("list");
    assert_eq!(page.tasks.len(), 1);
}

/// Every state is a filter, alone and with others; nothing is ever invisible.
pub async fn every_state_can_be_listed(f: &Fixture) {
    let node = f.node().await;
    let plans: Vec<_> = LIVES.into_iter().chain([GONE]).map(Plan::new).collect();
    let all = populate(f, &plans, &[node]).await;
    let mut records: Vec<_> = f
        .store
        .get(all.iter().map(|one| one.id).collect())
        .await
        .expect("get");
    records.sort_by_key(|record| std::cmp::Reverse(record.as_ref().map(|record| record.id)));
    let wanted = |filter: &Filter| {
        let meant = records
            .iter()
            .flatten()
            .filter(|record| filter.matches(record));
        meant.map(|record| record.id).collect::<Vec<_>>()
    };
    let mut filters: Vec<_> = State::ALL.map(|state| vec![state]).to_vec();
    filters.push(State::ALL.to_vec());
    filters.push(vec![]);
    filters.push(vec![State::Running, State::Deleted, State::Retrying]);
    filters.push(vec![
        State::Scheduled,
        State::Deleting,
        State::Finished,
        State::Finished,
    ]);
    for states in filters {
        let filter = Filter {
            states,
            ..Filter::default()
        };
        let listed = f.list(filter.clone(), 3).await;
        assert_eq!(listed, wanted(&filter), "{:?}", filter.states);
        assert!(
            filter.states.is_empty() || !listed.is_empty(),
            "{:?} is in the population",
            filter.states
        );
    }
}

/// Fields of a filter narrow each other down.
pub async fn filters_combine(f: &Fixture) {
    let mut all = Vec::new();
    for user in ["ann", "bob"] {
        for group in ["maths", "physics"] {
            for kind in ["plain", "other", "third"] {
                for parent in [None, Some(fresh_task())] {
                    let new = NewTask {
                        user: name(user),
                        group: name(group),
                        kind: name(kind),
                        parent,
                        ..task()
                    };
                    all.push(f.create(new).await);
                }
            }
        }
    }
    let records: Vec<_> = f
        .store
        .get(all)
        .await
        .expect("get")
        .into_iter()
        .flatten()
        .collect();
    let parent = records.iter().find_map(|record| record.parent);
    for user in [None, Some(name("ann")), Some(name("nobody"))] {
        for group in [None, Some(name("physics"))] {
            for kinds in [
                vec![],
                vec![name("third")],
                vec![name("plain"), name("third"), name("nothing")],
            ] {
                for parent in [None, parent] {
                    let filter = Filter {
                        user: user.clone(),
                        group: group.clone(),
                        kinds: kinds.clone(),
                        parent,
                        ..Filter::default()
                    };
                    let mut wanted: Vec<_> = records
                        .iter()
                        .filter(|r| filter.matches(r))
                        .map(|r| r.id)
                        .collect();
                    wanted.sort_unstable_by(|a, b| b.cmp(a));
                    assert_eq!(f.list(filter.clone(), 5).await, wanted, "{filter:?}");
                }
            }
        }
    }
}

/// `get` answers for each id in its place, deleted ones too, and nothing for what never was.
pub async fn records_come_in_the_order_of_what_was_asked(f: &Fixture) {
    let a = f.create(task()).await;
    let b = f
        .create(NewTask {
            start: false,
            ..task()
        })
        .await;
    f.must(b, Wish::Delete).await;
    let asked = vec![b, fresh_task(), a, b];
    let found = f.store.get(asked).await.expect("get");
    let ids: Vec<_> = found
        .iter()
        .map(|record| record.as_ref().map(|record| record.id))
        .collect();
    assert_eq!(ids, [Some(b), None, Some(a), Some(b)]);
}

/// A filter that few match is followed to the very end of a long list.
pub async fn ga_47_a_rare_task_is_found_in_a_long_list(f: &Fixture) {
    let rare = f
        .create(NewTask {
            start: false,
            ..task()
        })
        .await;
    for _ in 0..11 {
        f.clock.pass_ms(1);
        f.store
            .create((0..BATCH_MAX).map(|_| task()).collect())
            .await
            .expect("create");
    }
    let filter = Filter {
        states: vec![State::Created],
        ..Filter::default()
    };
    assert_eq!(f.list(filter, 2).await, [rare]);
}
