//! What must hold of the rows behind the store's back, whatever happened before.

use super::{PLACES, Pool, Tables, TextRow, status, text, uuid};
use peerwork_core::*;
use std::collections::{BTreeMap, BTreeSet};

impl Tables {
    /// What is held in batches: that has no row in any of the four places.
    async fn batched(&self) -> Vec<TextRow> {
        if !matches!(self.pool, Pool::Postgres(_)) {
            return Vec::new();
        }
        let (begin, running) = (&self.begin, Status::Running.code());
        let columns = [
            self.id("m.id"),
            format!("'{running}'"),
            self.id("t.lane"),
            self.int("t.priority"),
            self.int("m.kind"),
        ];
        let members = format!(
            "select {} from {begin}batch b cross join unnest(b.ids, b.kinds) m(id, kind) \
             join {begin}task t on t.id = m.id where m.id not in (select id from {begin}done)",
            columns.join(", ")
        );
        let open = format!(
            "select run_id::text from {begin}batch b where open <= 0 or open <> \
             (select count(*) from unnest(b.ids) m(id) where m.id not in (select id from {begin}done))"
        );
        let miscounted = self.fetch(&open).await;
        assert!(
            miscounted.is_empty(),
            "batches that miscount: {miscounted:?}"
        );
        self.fetch(&members).await
    }

    /// I6: each task is in exactly one place, or in a batch, the place is that of its status, and what the claim path reads of it
    /// is what it is. I15: it is counted in its own lane only.
    pub(crate) async fn audit(&self) {
        let mut places: BTreeMap<String, Vec<(Place, TextRow)>> = BTreeMap::new();
        for row in self.batched().await {
            let rows = places.entry(text(&row, 0).to_owned()).or_default();
            rows.push((Place::Running, row));
        }
        for (name, place) in PLACES {
            let facts = match place {
                Place::Ready => format!(
                    "{}, {}, {}",
                    self.id("lane"),
                    self.int("rank_no"),
                    self.int("kind")
                ),
                Place::Running | Place::Parked => {
                    format!(
                        "{}, {}, {}",
                        self.id("lane"),
                        self.int("priority"),
                        self.int("kind")
                    )
                }
                Place::Done => "null, null, null".to_owned(),
            };
            for row in self
                .rows(
                    name,
                    &format!("{}, {}, {facts}", self.id("id"), self.int("status")),
                )
                .await
            {
                places
                    .entry(text(&row, 0).to_owned())
                    .or_default()
                    .push((place, row));
            }
        }
        let columns = format!(
            "{}, {}, {}, {}, {}, {}",
            self.id("id"),
            self.id("lane"),
            self.int("priority"),
            self.bytes("usr"),
            self.bytes("grp"),
            self.bytes("kind"),
        );
        for task in self.rows("task", &columns).await {
            let rows = places.remove(text(&task, 0)).unwrap_or_default();
            let [(place, row)] = &rows[..] else {
                panic!("I6: {task:?} is in {} places: {rows:?}", rows.len())
            };
            audit_task(&task, *place, row);
        }
        assert!(places.is_empty(), "I6: rows without a task: {places:?}");
        self.audit_counts().await;
        let (begin, deleted) = (&self.begin, Status::Deleted.code());
        let gone = |column: &str| {
            format!(
                "{column} not in (select id from {begin}task) \
                 or {column} in (select id from {begin}done where status = {deleted})"
            )
        };
        for (table, left_over) in [
            ("checkpoint", gone("task_id")),
            ("failure", gone("task_id")),
            // A child may end after its parent is gone: the next wake looks at that row, and removes it.
            (
                "inbox",
                format!("seen = 1 and task_id not in (select id from {begin}task)"),
            ),
        ] {
            let sql = format!(
                "select {} from {begin}{table} where {left_over}",
                self.id("task_id")
            );
            assert_eq!(
                self.fetch(&sql).await,
                Vec::<TextRow>::new(),
                "{table}: what is gone leaves nothing"
            );
        }
        let finished = Status::Finished.code();
        let kept = format!(
            "select {} from {begin}done where output is not null and status <> {finished}",
            self.id("id")
        );
        assert_eq!(
            self.fetch(&kept).await,
            Vec::<TextRow>::new(),
            "only what has finished has an output"
        );
    }

    /// I15: what runs is counted under the settings of its own group, user, lane and kind and no others; and once a limit has settled,
    /// under it.
    async fn audit_counts(&self) {
        let settled = format!(
            "select {} from {}setting where unsettled is null and spec not like '%\"max_running\":null%'",
            self.int("id"),
            self.begin
        );
        let settled: BTreeSet<_> = self.fetch(&settled).await.into_iter().collect();
        let numbers = ["lim_group", "lim_user", "lim_lane", "lim_kind", "r.status"];
        let numbers = numbers.map(|column| self.int(column)).join(", ");
        let names = ["grp", "usr", "t.kind"].map(|column| self.bytes(column));
        let rows = format!(
            "select {numbers}, {} from {begin}running r join {begin}task t on t.id = r.id",
            names.join(", "),
            begin = self.begin
        );
        for row in self.fetch(&rows).await {
            let [group, user, kind] = [5, 6, 7].map(|column| name_of(&row, column));
            let lane = Scope::UserIn {
                group: group.clone(),
                user: user.clone(),
            };
            let scopes = [
                Scope::Group(group),
                Scope::User(user),
                lane,
                Scope::Kind(kind),
            ];
            let is_counted = status(&row, 4).work() == Work::Run;
            for (scope, counted) in scopes.iter().zip(&row) {
                let key = Some(scope.key().0.to_string());
                if counted.is_some() {
                    assert!(is_counted && *counted == key, "I15: {scope} {row:?}");
                } else if is_counted {
                    assert!(
                        !settled.contains(&vec![key]),
                        "not counted: {scope} {row:?}"
                    );
                }
            }
        }
    }
}

/// One task's row and the row of its place must say the same.
fn audit_task(task: &TextRow, place: Place, row: &TextRow) {
    let name = |column| name_of(task, column);
    let status = status(row, 1);
    let lane = LaneId::new(&name(4), &name(3));
    assert_eq!(status.place(), place, "I6: {task:?} {row:?}");
    assert_eq!(uuid(task, 1), lane.0, "I15: {task:?}");
    let priority: i16 = text(task, 2).parse().expect("a priority");
    let (its_lane, order) = match place {
        Place::Ready => (
            lane.of(status.work()),
            Rank::new(status, priority).0.to_string(),
        ),
        Place::Running | Place::Parked => (lane, priority.to_string()),
        Place::Done => return,
    };
    assert_eq!(uuid(row, 2), its_lane.0, "I15: {task:?} {row:?}");
    assert_eq!(text(row, 3), order, "{task:?} {row:?}");
    assert_eq!(
        text(row, 4),
        KindKey::new(&name(5)).0.to_string(),
        "{task:?} {row:?}"
    );
}

/// The name in a column of hexadecimal digits.
fn name_of(row: &TextRow, column: usize) -> Name {
    let digits = text(row, column).as_bytes().chunks(2);
    let bytes = digits.map(|pair| {
        u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("digits")
    });
    crate::name(&String::from_utf8(bytes.collect()).expect("a name is UTF-8"))
}
