//! Why a claim under a limit takes a turn first, by a write, and counts in a statement of its own. Two other ways let two claimers
//! exceed the limit, at the same tables and in the same order; ours does not.
//!
//! And where a claim may do without a lane, it waits for nobody.
//!
//! The claimers are led by hand. That one of them waits for the other is seen by asking the server.

use super::databases::TestDatabase;
use super::recorder::plain;
use super::script::{NODE, card, name, task};
use crate::sql::engine::Operation;
use crate::sql::link::Lease;
use crate::sql::ops::claim_within::TakeWithin;
use crate::sql::tx::Tx;
use crate::*;
use peerwork_core::*;
use std::time::Duration;
use tokio::task::{JoinHandle, yield_now};
use uuid::Uuid;

/// Two tasks of a group of which one may run, and one of another such group.
struct Stage {
    fresh: TestDatabase,
    group: Scope,
    other: Scope,
    version: u64,
}

impl Stage {
    async fn open(database: Database) -> Self {
        let fresh = TestDatabase::fresh(database).await;
        let store = &fresh.store;
        store.register(card(NODE)).await.expect("register");
        let tasks = (1..=3).map(|n| task(TaskId(Uuid::from_u128(n))));
        let mut tasks: Vec<_> = tasks.collect();
        tasks[2].group = name("physics");
        store.create(tasks).await.expect("create");
        let (group, other) = (Scope::Group(name("maths")), Scope::Group(name("physics")));
        let mut version = 0;
        for group in [&group, &other] {
            let limit = vec![SettingChange::MaxRunning(Some(1))];
            version = store.set(group.clone(), limit).await.expect("set").version;
        }
        Self {
            fresh,
            group,
            other,
            version,
        }
    }

    async fn claimer(&self) -> Claimer {
        let lease = self.fresh.store.engine.connections.lease().await;
        let mut claimer = Claimer {
            lease: lease.expect("a connection"),
            store: self.fresh.store.clone(),
            key: self.group.key().0,
            server_id: 0,
        };
        claimer.server_id = claimer
            .ask(match self.fresh.store.database() {
                Database::Postgres => "select pg_backend_pid()::bigint",
                Database::MySql | Database::Sqlite => "select connection_id()",
            })
            .await;
        claimer
    }

    /// A claim of the tasks of these groups by this run, as a node makes it that knows of their limits.
    fn claim(&self, run: u128, groups: &[&Scope]) -> (Claim, Bounds) {
        let lanes = groups.iter().map(|group| (lane(group), group.key()));
        let claim = Claim {
            node: NODE,
            run: RunId(Uuid::from_u128(run)),
            grants: lanes
                .clone()
                .map(|(lane, _)| Grant { lane, tasks: 2 })
                .collect(),
            reaches: Vec::new(),
            kinds: vec![KindKey::new(&name("plain"))],
            version: self.version,
        };
        let bound = |key| Bound {
            key,
            is_shared: true,
            here: None,
        };
        let bounds = Bounds {
            bounds: lanes.clone().map(|(_, key)| bound(key)).collect(),
            lanes: lanes.map(|(lane, key)| (lane, vec![key])).collect(),
            kinds: [].into(),
        };
        (claim, bounds)
    }

    fn take(&self, run: u128, groups: &[&Scope]) -> TakeWithin {
        let (claim, bounds) = self.claim(run, groups);
        TakeWithin::new(claim, bounds)
    }
}

/// Ann's, in this group.
fn lane(group: &Scope) -> LaneId {
    LaneId::new(&group.names().0, &name("ann"))
}

/// Who claims, on a connection of its own.
struct Claimer {
    lease: Lease,
    store: SqlStore,
    key: i64,
    /// What the server calls the connection.
    server_id: i64,
}

impl Claimer {
    fn text(&self, text: &str) -> String {
        let text = text.replace('~', "peerwork_");
        text.replace("KEY", &self.key.to_string())
    }

    async fn run(&mut self, text: &str) {
        let text = self.text(text);
        let done = self.lease.link().run(text.clone()).await;
        done.unwrap_or_else(|fault| panic!("{text}: {fault}"));
    }

    /// The number that a statement answers with.
    async fn ask(&mut self, text: &str) -> i64 {
        let sql = plain(&self.store.engine.dialect, self.text(text));
        let mut rows = self.lease.link().fetch(sql).await.expect("an answer");
        rows.single_int().expect("a number")
    }

    /// How many rows a statement changes.
    async fn change(&mut self, text: &str) -> u64 {
        let sql = plain(&self.store.engine.dialect, self.text(text));
        self.lease.link().execute(sql).await.expect("a change")
    }

    /// Takes a task as the limit is thought to allow.
    async fn put(&mut self, task: u128) {
        let id = |n: u128| match self.store.database() {
            Database::MySql => format!("x'{}'", Uuid::from_u128(n).simple()),
            Database::Postgres | Database::Sqlite => format!("'{}'", Uuid::from_u128(n)),
        };
        let (id, run) = (id(task), id(800));
        let text = format!(
            "insert into ~running (id, run_id, node, lane, kind, priority, status, attempt, failures, crashes, ready_at, \
             started_at, child, lim_group) select id, {run}, {run}, lane, kind, 0, {}, 1, 0, 0, ready_at, ready_at, child, KEY \
             from ~ready where id = {id}",
            Status::Running.code()
        );
        assert_eq!(self.change(&text).await, 1);
        assert_eq!(
            self.change(&format!("delete from ~ready where id = {id}"))
                .await,
            1
        );
        self.run("commit").await;
    }

    /// Whether the statement of another connection waits for a lock.
    async fn sees_waiting(&mut self, server_id: i64) -> bool {
        if self.store.database() == Database::Postgres {
            let text =
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and pid = ";
            return self.ask(&format!("{text}{server_id}")).await > 0;
        }
        let its_own = format!("thread id {server_id},");
        let waiting = self.waiting_in_mariadb().await;
        waiting.iter().any(|text| text.contains(&its_own))
    }

    /// Whether somebody waits for a lock that this connection has; in MariaDB, for a lock on these tables.
    async fn sees_blocking(&mut self, server_id: i64) -> bool {
        if self.store.database() == Database::Postgres {
            let text = "= any(pg_blocking_pids(pid))";
            let text = format!("select count(*) from pg_stat_activity where {server_id} {text}");
            return self.ask(&text).await > 0;
        }
        let sql = plain(&self.store.engine.dialect, "select database()".to_owned());
        let mut rows = self.lease.link().fetch(sql).await.expect("a name");
        let its_own = format!("`{}`", rows.first().expect("a row").text().expect("a text"));
        let waiting = self.waiting_in_mariadb().await;
        waiting.iter().any(|text| text.contains(&its_own))
    }

    /// What it says of the transactions that wait: what information_schema says is as it was at the last look, if that was just now.
    async fn waiting_in_mariadb(&mut self) -> Vec<String> {
        let status = "show engine innodb status".to_owned();
        let sql = plain(&self.store.engine.dialect, status);
        let mut rows = self.lease.link().fetch(sql).await.expect("a status");
        let mut row = rows.first().expect("a row");
        let _ = (row.text(), row.text());
        let status = row.text().expect("a text");
        let transactions = status.split("---TRANSACTION");
        let waiting = transactions.filter(|text| text.contains("LOCK WAIT"));
        waiting.map(str::to_owned).collect()
    }

    async fn running(&mut self) -> i64 {
        self.ask("select count(*) from ~running where lim_group = KEY")
            .await
    }
}

/// Waits until the statement of another claimer waits for a lock.
async fn until_it_waits<T>(observer: &mut Claimer, server_id: i64, statement: &JoinHandle<T>) {
    while !observer.sees_waiting(server_id).await {
        assert!(
            !statement.is_finished(),
            "it did not wait for the other one"
        );
        yield_now().await;
    }
}

async fn a_lock_and_a_count_in_one_statement_exceed_a_limit(database: Database) {
    let lock_and_count = match database {
        // Its optimizer counts last, if it may.
        Database::MySql => {
            "update (select count(*) as n from ~running where lim_group = KEY) c straight_join ~setting s force index (primary) \
             on s.id between KEY and KEY set s.seq = s.seq + 1 where c.n < 1"
        }
        Database::Postgres | Database::Sqlite => {
            "update ~setting set seq = seq + 1 where id = KEY \
             and (select count(*) from ~running where lim_group = KEY) < 1"
        }
    };
    let stage = Stage::open(database).await;
    let (mut a, mut b, mut observer) = (
        stage.claimer().await,
        stage.claimer().await,
        stage.claimer().await,
    );
    a.run("begin").await;
    b.run("begin").await;
    assert_eq!(a.change(lock_and_count).await, 1);
    let server_id = b.server_id;
    let second = tokio::spawn(async move {
        let may = b.change(lock_and_count).await;
        (b, may)
    });
    until_it_waits(&mut observer, server_id, &second).await;
    a.put(1).await;
    let (mut b, may) = second.await.expect("it ends");
    assert_eq!(may, 1, "it has counted what was there before it waited");
    b.put(2).await;
    assert_eq!(observer.running().await, 2, "where one may");
    stage.close([a, b, observer]).await;
}

async fn a_lock_without_a_write_exceeds_a_limit(database: Database) {
    const LOCK: &str = "select id from ~setting where id = KEY for update";
    let stage = Stage::open(database).await;
    let (mut a, mut b, mut observer) = (
        stage.claimer().await,
        stage.claimer().await,
        stage.claimer().await,
    );
    for claimer in [&mut a, &mut b] {
        match database {
            Database::MySql => {
                claimer
                    .run("set transaction isolation level repeatable read")
                    .await;
                claimer
                    .run("start transaction with consistent snapshot")
                    .await;
            }
            Database::Postgres | Database::Sqlite => {
                claimer.run("begin isolation level repeatable read").await;
                claimer.running().await;
            }
        }
    }
    for (claimer, task) in [(&mut a, 1), (&mut b, 2)] {
        claimer.ask(LOCK).await;
        assert_eq!(
            claimer.running().await,
            0,
            "it sees what was there at its beginning"
        );
        claimer.put(task).await;
    }
    assert_eq!(observer.running().await, 2, "where one may");
    stage.close([a, b, observer]).await;
}

async fn a_turn_and_then_a_count_keep_to_a_limit(database: Database) {
    let stage = Stage::open(database).await;
    let (mut a, mut b, mut observer) = (
        stage.claimer().await,
        stage.claimer().await,
        stage.claimer().await,
    );
    let (first, second) = (
        stage.take(801, &[&stage.group]),
        stage.take(802, &[&stage.group]).first(),
    );
    let dialect = stage.fresh.store.engine.dialect.clone();
    let server_id = b.server_id;
    let mut tx = Tx::new(a.lease.link(), dialect.clone(), TakeWithin::NAME);
    tx.begin(true).await.expect("begin");
    let taken = first
        .run(&mut tx)
        .await
        .expect("claim")
        .expect("is current");
    assert_eq!(taken.ids().len(), 1);
    let waits = tokio::spawn(async move {
        let mut tx = Tx::new(b.lease.link(), dialect, TakeWithin::NAME);
        tx.begin(true).await.expect("begin");
        let taken = second
            .run(&mut tx)
            .await
            .expect("claim")
            .expect("is current");
        tx.commit().await.expect("commit");
        (b, taken.ids().len())
    });
    until_it_waits(&mut observer, server_id, &waits).await;
    tx.commit().await.expect("commit");
    let (b, taken) = waits.await.expect("it ends");
    assert_eq!(taken, 0, "it has counted what the first one took");
    assert_eq!(observer.running().await, 1);
    stage.close([a, b, observer]).await;
}

async fn a_lane_in_which_others_claim_is_passed_over(database: Database) {
    let stage = Stage::open(database).await;
    let (mut a, mut b, observer) = (
        stage.claimer().await,
        stage.claimer().await,
        stage.claimer().await,
    );
    let dialect = stage.fresh.store.engine.dialect.clone();
    let mut first = Tx::new(a.lease.link(), dialect.clone(), TakeWithin::NAME);
    first.begin(true).await.expect("begin");
    let take = stage.take(801, &[&stage.group]);
    let taken = take.run(&mut first).await.expect("claim");
    assert_eq!(taken.expect("is current").ids().len(), 1);
    let mut second = Tx::new(b.lease.link(), dialect, TakeWithin::NAME);
    second.begin(true).await.expect("begin");
    let take = stage.take(802, &[&stage.group, &stage.other]);
    let taken = take.run(&mut second).await.expect("claim");
    let taken = taken.expect("is current");
    assert_eq!(taken.ids(), [TaskId(Uuid::from_u128(3))]);
    assert_eq!(taken.unseen(), [lane(&stage.group)].into());
    second.commit().await.expect("commit");
    first.commit().await.expect("commit");
    stage.close([a, b, observer]).await;
}

async fn a_claim_that_is_left_without_a_lane_waits_for_its_first(database: Database) {
    let stage = Stage::open(database).await;
    let (mut a, mut observer) = (stage.claimer().await, stage.claimer().await);
    let dialect = stage.fresh.store.engine.dialect.clone();
    let mut first = Tx::new(a.lease.link(), dialect, TakeWithin::NAME);
    first.begin(true).await.expect("begin");
    let take = stage.take(801, &[&stage.group, &stage.other]);
    let taken = take.run(&mut first).await.expect("claim");
    assert_eq!(taken.expect("is current").ids().len(), 2);
    let server_id = a.server_id;
    let (claim, bounds) = stage.claim(802, &[&stage.group, &stage.other]);
    let store = stage.fresh.store.clone();
    let waits = tokio::spawn(async move { store.claim_within(claim, bounds).await });
    while !observer.sees_blocking(server_id).await {
        assert!(!waits.is_finished(), "it did not wait for the other one");
        yield_now().await;
    }
    first.commit().await.expect("commit");
    let answer = waits.await.expect("it ends").expect("claim");
    assert!(answer.tasks.is_empty() && !answer.is_stale);
    assert_eq!(answer.full, [(stage.group.key(), None)]);
    assert_eq!(answer.unseen, [lane(&stage.other)].into());
    stage.close([a, observer]).await;
}

/// All take the turns of kinds first: where one began with that of a group, and another with the kind's, each would wait for the other.
async fn a_kinds_turn_is_taken_before_all_others(database: Database) {
    let stage = Stage::open(database).await;
    let store = stage.fresh.store.clone();
    let kind = name("plain");
    let scope = Scope::Kind(kind.clone());
    let mut groups = (0..).map(|n| Scope::Group(name(&format!("group {n}"))));
    let before_it = |group: &Scope| group.key() < scope.key();
    let group = groups.find(before_it).expect("keys are hashes");
    let mut version = 0;
    for scope in [&scope, &group] {
        let limit = vec![SettingChange::MaxRunning(Some(1))];
        version = store.set(scope.clone(), limit).await.expect("set").version;
    }
    let (mut a, mut observer) = (stage.claimer().await, stage.claimer().await);
    a.key = scope.key().0;
    observer.key = group.key().0;
    a.run("begin").await;
    let turn = "update ~setting set seq = seq + 1 where id = KEY";
    assert_eq!(a.change(turn).await, 1);
    let (claim, mut bounds) = stage.claim(801, &[&group]);
    bounds.kinds = [(KindKey::new(&kind), scope.key())].into();
    let bound = Bound {
        key: scope.key(),
        ..bounds.bounds[0]
    };
    bounds.bounds.push(bound);
    let these = ClaimThese {
        node: NODE,
        run: claim.run,
        tasks: vec![(TaskId(Uuid::from_u128(1)), lane(&group))],
        kinds: claim.kinds,
        version,
    };
    let server_id = a.server_id;
    let waits = tokio::spawn(async move { store.claim_these(these, bounds).await });
    while !observer.sees_blocking(server_id).await {
        assert!(!waits.is_finished(), "it did not wait for the other one");
        yield_now().await;
    }
    let is_free =
        "select count(*) from (select id from ~setting where id = KEY for update nowait) s";
    assert_eq!(observer.ask(is_free).await, 1);
    a.run("commit").await;
    waits.await.expect("it ends").expect("claim");
    stage.close([a, observer]).await;
}

/// It may have waited while a limit was set and settled.
async fn a_create_that_has_waited_long_claims_nothing(database: Database) {
    let stage = Stage::open(database).await;
    let (mut a, mut observer) = (stage.claimer().await, stage.claimer().await);
    let new = |n| NewTask {
        group: name("arts"),
        ..task(TaskId(Uuid::from_u128(n)))
    };
    a.run("begin").await;
    let id = match database {
        Database::MySql => "x'00000000000000000000000000000015'",
        Database::Postgres | Database::Sqlite => "'00000000-0000-0000-0000-000000000015'",
    };
    let same = format!(
        "insert into ~task (id, lane, created_at, usr, grp, kind, priority, options, input) \
         select {id}, lane, created_at, usr, grp, kind, priority, options, input from ~task limit 1"
    );
    assert_eq!(a.change(&same).await, 1);
    let claim = ClaimNew {
        node: NODE,
        run: RunId(Uuid::from_u128(801)),
        kinds: vec![KindKey::new(&name("plain"))],
        reaches: Vec::new(),
        version: stage.version,
    };
    let (server_id, store) = (a.server_id, stage.fresh.store.clone());
    let (tasks, early) = (vec![new(0x14), new(0x15)], claim.clone());
    let waits = tokio::spawn(async move { store.create_and_claim(tasks, early).await });
    while !observer.sees_blocking(server_id).await {
        assert!(!waits.is_finished(), "it did not wait for the other one");
        yield_now().await;
    }
    tokio::time::sleep(Duration::from_millis(SETTLE_MS * 3 / 4)).await; // fault: another transaction that takes long
    a.run("rollback").await;
    let (created, claimed) = waits.await.expect("it ends").expect("create");
    assert_eq!((created, claimed.len()), (vec![Created::New; 2], 0));
    let run = RunId(Uuid::from_u128(802));
    let claim = ClaimNew { run, ..claim };
    let bobs = NewTask {
        user: name("bob"),
        ..new(0x16)
    };
    let (_, claimed) = stage
        .fresh
        .store
        .create_and_claim(vec![bobs], claim)
        .await
        .expect("create");
    assert_eq!(claimed.len(), 1, "one that has not waited");
    stage.close([a, observer]).await;
}

impl Stage {
    async fn close<const N: usize>(self, claimers: [Claimer; N]) {
        for claimer in claimers {
            claimer.lease.sound();
        }
        self.fresh.remove().await;
    }
}

macro_rules! on {
    ($($name:ident $database:ident { $($test:ident)+ })+) => { $(
        mod $name { $(
            #[tokio::test]
            async fn $test() {
                super::$test(crate::Database::$database).await;
            }
        )+ }
    )+ };
}

on! {
    postgres Postgres {
        a_lock_and_a_count_in_one_statement_exceed_a_limit
        a_lock_without_a_write_exceeds_a_limit
        a_turn_and_then_a_count_keep_to_a_limit
        a_lane_in_which_others_claim_is_passed_over
        a_claim_that_is_left_without_a_lane_waits_for_its_first
        a_kinds_turn_is_taken_before_all_others
        a_create_that_has_waited_long_claims_nothing
    }
    mariadb MySql {
        a_lock_and_a_count_in_one_statement_exceed_a_limit
        a_lock_without_a_write_exceeds_a_limit
        a_turn_and_then_a_count_keep_to_a_limit
        a_lane_in_which_others_claim_is_passed_over
        a_claim_that_is_left_without_a_lane_waits_for_its_first
        a_kinds_turn_is_taken_before_all_others
        a_create_that_has_waited_long_claims_nothing
    }
}
