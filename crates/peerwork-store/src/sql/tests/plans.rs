//! No hot statement scans a table of tasks, be the tables empty or full: whatever a plan was made for, it stays good.

use super::databases::TestDatabase;
use super::explain::explain;
use super::script::{Act, ERR, OK, card, end_of, name, play, task};
use crate::sql::SqlStore;
use crate::*;
use peerwork_core::*;
use uuid::Uuid;

const TABLES: [&str; 12] = [
    "queue",
    "task",
    "ready",
    "running",
    "parked",
    "done",
    "checkpoint",
    "failure",
    "inbox",
    "node",
    "kind",
    "setting",
];

/// A step that reads all of something, and is meant to.
struct Meant {
    on: Database,
    /// The operation's title begins so.
    act: &'static str,
    /// The step ends so.
    step: &'static str,
    /// Also where the tables are filled.
    also_filled: bool,
    _why: &'static str,
}

const fn always(on: Database, act: &'static str, step: &'static str, why: &'static str) -> Meant {
    Meant {
        on,
        act,
        step,
        also_filled: true,
        _why: why,
    }
}

/// MariaDB plans a statement each time that it is run, so where it found a table empty it may read it all.
const fn while_empty(act: &'static str, step: &'static str) -> Meant {
    Meant {
        on: MySql,
        act,
        step,
        also_filled: false,
        _why: "it is planned again when there is something in it",
    }
}

use Database::{MySql, Postgres, Sqlite};

const FIRST: &str = "it stops at the first entry of the index";
const NODES_ARE_FEW: &str = "there are only so many nodes";
const NEIGHBOURS: &str = "the few nodes that an index was searched for";
const STEPS: &str = "what is walked through is made step by step, one for each lane or node";
const WINDOW: &str = "a window of the list, which is bounded";
const ALL_OF_IT: &str = "all that it reads is what is asked for";

const SETTINGS_ARE_FEW: &str =
    "there are only so many settings, and they are read or changed once in a while";

const COUNTED: &str = "what is counted of a range, up to a bound";

const LIST: &str = "the list that the statement was handed";

const BATCHES_ARE_FEW: &str = "there are some for each node, and none is older than a moment";

const MEANT: &[Meant] = &[
    always(Postgres, "", "Seq Scan on peerwork_batch", BATCHES_ARE_FEW),
    always(
        Postgres,
        "",
        "Seq Scan on peerwork_batch b",
        BATCHES_ARE_FEW,
    ),
    always(
        Postgres,
        "",
        "using peerwork_batch_pkey on peerwork_batch",
        BATCHES_ARE_FEW,
    ),
    always(
        Postgres,
        "",
        "using peerwork_batch_pkey on peerwork_batch b",
        BATCHES_ARE_FEW,
    ),
    // It compares the costs of stepping from one to the next with those of reading the index, which here is small.
    always(
        MySql,
        "lanes",
        "DERIVED: index of peerwork_ready by PRIMARY",
        STEPS,
    ),
    always(
        MySql,
        "explain",
        "DERIVED: index of peerwork_ready by PRIMARY",
        STEPS,
    ),
    always(
        MySql,
        "sweep",
        "DERIVED: index of peerwork_running by peerwork_running_node",
        STEPS,
    ),
    always(
        Postgres,
        "lanes",
        "Index Only Scan using peerwork_ready_pkey on peerwork_ready",
        FIRST,
    ),
    always(
        Postgres,
        "explain",
        "Index Only Scan using peerwork_ready_pkey on peerwork_ready",
        FIRST,
    ),
    always(
        Postgres,
        "glance",
        "Index Only Scan using peerwork_ready_id on peerwork_ready",
        FIRST,
    ),
    always(
        Postgres,
        "glance",
        "using peerwork_inbox_unseen on peerwork_inbox",
        FIRST,
    ),
    always(
        Postgres,
        "glance",
        "using peerwork_parked_due on peerwork_parked",
        FIRST,
    ),
    always(
        Postgres,
        "sweep",
        "using peerwork_running_node on peerwork_running",
        FIRST,
    ),
    always(
        Postgres,
        "wake",
        "using peerwork_inbox_unseen on peerwork_inbox",
        ALL_OF_IT,
    ),
    always(
        Postgres,
        "list all",
        "using peerwork_task_created on peerwork_task",
        WINDOW,
    ),
    always(Postgres, "", "on peerwork_node", NODES_ARE_FEW),
    always(Postgres, "", "on peerwork_node n", NODES_ARE_FEW),
    Meant {
        on: Postgres,
        act: "end: ok, of a child",
        step: "using peerwork_task_parent on peerwork_task",
        also_filled: false,
        _why: "tasks stay for a day at least: nobody ends one while the table was found empty",
    },
    Meant {
        on: Postgres,
        act: "prune",
        step: "using peerwork_running_node on peerwork_running r",
        also_filled: false,
        _why: "it is asked once in a while, for each node that died a day ago",
    },
    always(Sqlite, "set ", "SCAN peerwork_setting", SETTINGS_ARE_FEW),
    always(
        Sqlite,
        "read what is set",
        "SCAN peerwork_setting",
        SETTINGS_ARE_FEW,
    ),
    always(Postgres, "set ", "on peerwork_setting", SETTINGS_ARE_FEW),
    always(
        Postgres,
        "read what is set",
        "on peerwork_setting",
        SETTINGS_ARE_FEW,
    ),
    always(
        MySql,
        "set ",
        "of peerwork_setting by PRIMARY",
        SETTINGS_ARE_FEW,
    ),
    always(MySql, "set ", "of peerwork_setting by ", SETTINGS_ARE_FEW),
    always(
        MySql,
        "read what is set",
        "of peerwork_setting by PRIMARY",
        SETTINGS_ARE_FEW,
    ),
    always(
        Sqlite,
        "finish",
        "SCAN json_each VIRTUAL TABLE INDEX 1:",
        LIST,
    ),
    always(MySql, "", "ALL of u by ", LIST),
    always(MySql, "", "ALL of v by ", LIST),
    always(Sqlite, "lanes", "SCAN l", STEPS),
    always(Sqlite, "lanes", "SCAN k", STEPS),
    always(
        MySql,
        "running elsewhere",
        "DERIVED: ALL of r by ",
        ALL_OF_IT,
    ),
    always(
        Postgres,
        "running elsewhere",
        "Seq Scan on peerwork_running",
        ALL_OF_IT,
    ),
    always(Sqlite, "running elsewhere", "SCAN r", ALL_OF_IT),
    always(Sqlite, "running elsewhere", "SCAN x", ALL_OF_IT),
    always(Sqlite, "explain", "SCAN k", STEPS),
    always(Sqlite, "explain", "SCAN a", COUNTED),
    always(
        Sqlite,
        "heads",
        "SCAN h",
        "the one row that a range begins with",
    ),
    always(Sqlite, "sweep", "SCAN h", STEPS),
    always(
        Sqlite,
        "claim",
        "SCAN f",
        "the first rows of a lane, no more than are claimed",
    ),
    always(
        Sqlite,
        "glance",
        "USING COVERING INDEX peerwork_ready_id",
        FIRST,
    ),
    always(
        Sqlite,
        "glance",
        "USING COVERING INDEX peerwork_inbox_unseen",
        FIRST,
    ),
    always(
        Sqlite,
        "wake",
        "USING COVERING INDEX peerwork_inbox_unseen",
        ALL_OF_IT,
    ),
    always(
        Sqlite,
        "list all",
        "USING COVERING INDEX peerwork_task_created",
        WINDOW,
    ),
    always(Sqlite, "list", "SCAN t", WINDOW),
    always(Sqlite, "list", "SCAN w", WINDOW),
    always(Sqlite, "glance", "SCAN n_next", NEIGHBOURS),
    always(Sqlite, "glance", "SCAN n_first", NEIGHBOURS),
    always(Sqlite, "", "SCAN n", NODES_ARE_FEW),
    always(Sqlite, "", "SCAN peerwork_node", NODES_ARE_FEW),
    always(
        MySql,
        "glance",
        "of peerwork_ready by peerwork_ready_id",
        FIRST,
    ),
    always(MySql, "glance", "of peerwork_ready by ", FIRST),
    always(MySql, "", "of peerwork_node by ", NODES_ARE_FEW),
    always(MySql, "", "of n by ", NODES_ARE_FEW),
    always(
        MySql,
        "wake",
        "index of peerwork_inbox by PRIMARY",
        ALL_OF_IT,
    ),
    always(
        MySql,
        "list all",
        "DERIVED: ALL of peerwork_task by ",
        "fewer tasks than a window",
    ),
    while_empty(
        "list all",
        "index of peerwork_task by peerwork_task_created",
    ),
    always(Sqlite, "offers", "SCAN r", "the page that was just read"),
    always(
        Sqlite,
        "queue: take the next",
        "SCAN q",
        "the few rows that a lane begins with",
    ),
    always(Sqlite, "queue: read", "SCAN peerwork_queue", WINDOW),
    always(
        Postgres,
        "queue: read",
        "using peerwork_queue_pkey on peerwork_queue",
        WINDOW,
    ),
    always(
        MySql,
        "queue: read",
        "index of peerwork_queue by PRIMARY",
        WINDOW,
    ),
    while_empty("lanes", "ALL of h by "),
    while_empty("running elsewhere", "ALL of t by "),
    while_empty("offers", "ALL of t by "),
    while_empty("heads", "ALL of t by "),
    while_empty("lanes", "index of r by PRIMARY"),
    while_empty("read what was claimed", "ALL of t by "),
    while_empty("list", "ALL of t by "),
    while_empty("list", "index of f by PRIMARY"),
    while_empty("get", "index of f by PRIMARY"),
    while_empty("explain", "index of f by PRIMARY"),
    while_empty("sweep", "index of peerwork_running by PRIMARY"),
];

fn is_meant(on: Database, act: &Act, step: &str, tables: &str) -> bool {
    MEANT.iter().any(|meant| {
        meant.on == on
            && act.title.starts_with(meant.act)
            && step.ends_with(meant.step)
            && (meant.also_filled || tables == "empty")
    })
}

async fn problems(store: &SqlStore, acts: &[Act], tables: &str) -> Vec<String> {
    let mut lease = store.engine.connections.lease().await.expect("lease");
    let mut problems = Vec::new();
    for act in acts {
        // The rest begins and ends transactions, or asks for the time.
        let statements = act.statements.iter();
        for sql in statements.filter(|sql| sql.text.contains("peerwork_")) {
            let plan = explain(lease.link(), &store.engine.dialect, sql).await;
            let sorts = act.title.starts_with("claim") && plan.text.contains("Sort");
            if sorts || plan.text.contains("Bitmap") {
                problems.push(format!(
                    "{} on {tables} tables sorts or collects:\n{}\n{}",
                    act.title, sql.text, plan.text
                ));
            }
            let scans: Vec<_> = plan
                .scans
                .iter()
                .filter(|step| !is_meant(store.database(), act, step, tables))
                .collect();
            if !scans.is_empty() {
                problems.push(format!(
                    "{} on {tables} tables: {scans:?}\n{}\n{}",
                    act.title, sql.text, plan.text
                ));
            }
        }
    }
    lease.sound();
    problems
}

async fn on_each_table(store: &SqlStore, text: &str) {
    let mut lease = store.engine.connections.lease().await.expect("lease");
    for table in TABLES {
        let text = text.replace('~', &format!("peerwork_{table}"));
        lease.link().run(text).await.expect("it is a table");
    }
    lease.sound();
}

async fn analyse(store: &SqlStore) {
    let text = match store.database() {
        Database::Sqlite | Database::Postgres => "analyze ~",
        Database::MySql => "analyze table ~",
    };
    on_each_table(store, text).await;
}

async fn empty(store: &SqlStore) {
    let text = match store.database() {
        Database::Sqlite => "delete from ~",
        Database::Postgres | Database::MySql => "truncate table ~",
    };
    on_each_table(store, text).await;
}

const USERS: usize = 8;
const NODES: usize = 4;
const CLAIMED: usize = 120;

/// Thousands of tasks of many users: most are ready, some parked, running, done; many have a parent.
async fn fill(store: &SqlStore) {
    let id = |n: usize| TaskId(Uuid::from_u128(10_000 + n as u128));
    let user = |n: usize| name(&format!("user{}", n % USERS));
    let later = store.now().await.expect("now").plus_ms(3_600_000);
    for batch in 0..4 {
        let tasks = (batch * BATCH_MAX..(batch + 1) * BATCH_MAX).map(|n| NewTask {
            user: user(n),
            due: (n % 9 == 0).then_some(later),
            parent: (n % 4 == 3).then(|| id(n - 1)),
            ..task(id(n))
        });
        store.create(tasks.collect()).await.expect("create");
    }
    let mut after = None;
    for _ in 0..2 {
        let offers = store.offers(Sought::After(after), BATCH_MAX).await;
        let offers = offers.expect("offers");
        after = offers.last().map(Offer::spot);
        store.enqueue(offers).await.expect("enqueue");
    }
    let version = store.config().await.expect("config").version;
    for n in 0..NODES {
        let node = NodeId(Uuid::from_u128(1_000 + n as u128));
        let run = RunId(Uuid::from_u128(2_000 + n as u128));
        store.register(card(node)).await.expect("register");
        let lane = |n| LaneId::new(&name("maths"), &user(n));
        let grants = [n, n + NODES].map(|n| Grant {
            lane: lane(n),
            tasks: CLAIMED,
        });
        let claim = Claim {
            node,
            run,
            grants: grants.to_vec(),
            kinds: vec![KindKey::new(&name("plain"))],
            reaches: Vec::new(),
            version,
        };
        let claimed = store.claim(claim).await.expect("claim").tasks;
        assert_eq!(claimed.len(), 2 * CLAIMED);
        let save = |id| Save {
            id,
            run,
            checkpoint: Some(b"half".to_vec()),
            progress: None,
        };
        let saves = claimed.iter().map(|c| save(c.id));
        store.save(saves.collect()).await.expect("save");
        let ends = claimed.chunks(4).flat_map(|four| {
            let error = end_of(four[2].id, run, ERR);
            [end_of(four[0].id, run, OK), error]
        });
        store.end(ends.collect()).await.expect("end");
    }
}

async fn nothing_is_scanned(database: Database) {
    let fresh = TestDatabase::fresh(database).await;
    let store = &fresh.store;
    let acts = play(store).await;
    empty(store).await;
    analyse(store).await;
    let mut found = problems(store, &acts, "empty").await;
    fill(store).await;
    analyse(store).await;
    found.extend(problems(store, &acts, "filled").await);
    fresh.remove().await;
    assert!(found.is_empty(), "{}", found.join("\n\n"));
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn ga_54_no_statement_scans_a_table_of_tasks_on_sqlite() {
    nothing_is_scanned(Database::Sqlite).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn ga_54_no_statement_scans_a_table_of_tasks_on_postgres() {
    nothing_is_scanned(Database::Postgres).await;
}

#[cfg(feature = "mysql")]
#[tokio::test]
async fn ga_54_no_statement_scans_a_table_of_tasks_on_mariadb() {
    nothing_is_scanned(Database::MySql).await;
}
