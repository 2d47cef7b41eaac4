//! Names of any sort: exact on every database, and never a part of a statement.

use crate::*;
use peerwork_core::*;
use peerwork_store::*;
use std::collections::BTreeSet;

/// Names that something somewhere confuses, cuts, folds, matches or runs.
pub fn tricky_names() -> Vec<Name> {
    let long = "x".repeat(NAME_BYTES_MAX);
    let texts = [
        "",
        " ",
        "a",
        "a ",
        " a",
        "A",
        "á",
        "a\u{301}",
        "ä",
        "ae",
        "ß",
        "ss",
        "ı",
        "i",
        "I",
        "İ",
        "%",
        "_",
        "a%",
        "a_",
        "*",
        "?",
        "[a]",
        "\\",
        "\\\\",
        "\\'",
        "'",
        "''",
        "\"",
        "`",
        "a'b",
        "a''b",
        "$1",
        "?1",
        ":a",
        "@a",
        "{}",
        "{0}",
        "%s",
        "--",
        "/*",
        "*/",
        ";",
        "NULL",
        "null",
        "0",
        "00",
        "1e1",
        "1E1",
        "select",
        "SELECT",
        "group",
        "user",
        "order by 1",
        "' or '1'='1",
        "'; drop table task; --",
        "true",
        "🦀",
        "🦀🦀",
        "👩\u{200d}👧",
        "\u{feff}a",
        "a\u{200b}",
        "\u{202e}a",
        "\u{10ffff}",
        "\u{7f}",
        "\u{1}",
        "\t",
        "\n",
        "a\n",
        "\r\n",
        "日本語",
        "עברית",
        "عربي",
        "Ω",
        "ω",
        "Ω",
        "ſ",
        "s",
        "ﬁ",
        "fi",
        &long,
        &long[1..],
    ];
    let names: BTreeSet<_> = texts
        .into_iter()
        .map(name)
        .chain([name(&format!("{}y", &long[1..]))])
        .collect();
    names.into_iter().collect()
}

/// As users: each sees and steers its own tasks, byte for byte.
pub async fn ga_48_users_are_exact(f: &Fixture) {
    let names = tricky_names();
    let tasks: Vec<_> = names
        .iter()
        .map(|user| NewTask {
            user: user.clone(),
            ..task()
        })
        .collect();
    let ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
    f.store.create(tasks).await.expect("create");
    for (user, id) in names.iter().zip(&ids) {
        assert_eq!(f.record(*id).await.user, *user);
        let filter = Filter {
            user: Some(user.clone()),
            ..Filter::default()
        };
        assert_eq!(f.list(filter.clone(), 10).await, [*id], "{user:?}");
        let steered = f
            .store
            .steer(ids.clone(), filter, Wish::Pause)
            .await
            .expect("steer");
        let changed: Vec<_> = ids
            .iter()
            .zip(steered)
            .filter(|(_, s)| *s != Steered::NotFound)
            .collect();
        assert_eq!(
            changed,
            [(id, Steered::Changed(Status::Paused))],
            "{user:?}"
        );
    }
}

/// As groups: each is a lane of its own.
pub async fn ga_48_groups_are_exact(f: &Fixture) {
    let names = tricky_names();
    let tasks: Vec<_> = names
        .iter()
        .map(|group| NewTask {
            group: group.clone(),
            ..task()
        })
        .collect();
    let ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
    f.store.create(tasks).await.expect("create");
    let node = f.node().await;
    let lanes = f
        .store
        .lanes(vec![KindKey::new(&name(KIND))], LaneLook::first(1_000))
        .await
        .expect("lanes");
    let seen: BTreeSet<_> = lanes.iter().map(|lane| lane.group.clone()).collect();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), names);
    for (group, id) in names.iter().zip(&ids) {
        let filter = Filter {
            group: Some(group.clone()),
            ..Filter::default()
        };
        assert_eq!(f.list(filter, 10).await, [*id], "{group:?}");
        let lane = LaneId::new(group, &name("ann"));
        let claimed = f
            .claim_from(node, &[Grant { lane, tasks: 5 }], &[KIND])
            .await;
        let claimed: Vec<_> = claimed.iter().map(|c| (c.id, &c.group)).collect();
        assert_eq!(claimed, [(*id, group)]);
    }
}

/// As targets of a move.
pub async fn ga_48_a_task_moves_to_any_group(f: &Fixture) {
    let id = f.create(task()).await;
    for group in tricky_names() {
        assert_eq!(
            f.must(id, Wish::MoveTo(group.clone())).await,
            Status::Queued
        );
        assert_eq!(f.record(id).await.group, group);
    }
}

/// As kinds: each has its own rules, and is claimed by whoever names it.
pub async fn ga_48_kinds_are_exact(f: &Fixture) {
    let names = tricky_names();
    let rules = |i: usize| Rules {
        crash_limit: u32::try_from(i + 1).expect("few"),
        ..Rules::default()
    };
    let kinds: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(i, kind)| (kind.clone(), rules(i)))
        .collect();
    f.store
        .publish_kinds(kinds.clone())
        .await
        .expect("publish kinds");
    let mut published: Vec<_> = f
        .store
        .kinds()
        .await
        .expect("kinds")
        .into_iter()
        .map(|row| (row.kind, row.rules))
        .collect();
    published.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(published, kinds);
    let tasks: Vec<_> = names
        .iter()
        .map(|kind| NewTask {
            kind: kind.clone(),
            ..task()
        })
        .collect();
    let ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
    f.store.create(tasks).await.expect("create");
    let node = f.node().await;
    let lane = LaneId::new(&name("maths"), &name("ann"));
    for (kind, id) in names.iter().zip(&ids) {
        let filter = Filter {
            kinds: vec![kind.clone()],
            ..Filter::default()
        };
        assert_eq!(f.list(filter, 10).await, [*id], "{kind:?}");
        let claimed = f
            .claim_from(node, &[Grant { lane, tasks: 99 }], &[kind.as_str()])
            .await;
        assert_eq!(
            claimed.iter().map(|c| (c.id, &c.kind)).collect::<Vec<_>>(),
            [(*id, kind)]
        );
    }
}

/// As labels of nodes, which are for people and bounded by nobody else.
pub async fn ga_48_labels_are_kept_as_they_are(f: &Fixture) {
    for label in tricky_names() {
        let card = NodeCard {
            id: fresh_node(),
            label: label.as_str().to_owned(),
            ttl_ms: 3_000,
            slots: 1,
            kinds: Vec::new(),
        };
        let id = card.id;
        f.store.register(card).await.expect("register");
        let nodes = f.store.nodes().await.expect("nodes");
        assert_eq!(
            nodes.iter().find(|row| row.id == id).expect("there").label,
            label.as_str()
        );
    }
}
