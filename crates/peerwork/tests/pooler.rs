//! A cluster whose PostgreSQL is behind a pooler in transaction mode: slower, and otherwise the same.

use peerwork::*;
use peerwork_testbed::{PgBouncer, Postgres};

struct Count;

impl Handler for Count {
    const KIND: &'static str = "count";
    type Input = u32;
    type Checkpoint = u32;
    type Output = u32;

    async fn run(&self, run: &mut Run<Self>) -> Result<u32, TaskError> {
        for n in 1..=3 {
            run.save(&n).await?;
        }
        Ok(*run.input())
    }
}

const TASKS: u32 = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_work_through_pgbouncer_and_leave_nothing_in_its_connections() {
    let started = tokio::task::spawn_blocking(|| {
        let server = Postgres::start(&Default::default()).unwrap();
        let bouncer = PgBouncer::start(&server, &[]).unwrap();
        (server, bouncer)
    });
    let (server, bouncer) = started.await.unwrap();
    let url = format!("{}?statement-cache-capacity=0", bouncer.url());

    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    let client = Client::connect(&pool).await.unwrap();
    let database = Database::connect(&url).await.unwrap();
    let nodes = [
        Node::builder(database)
            .register(Count)
            .start()
            .await
            .unwrap(),
        Node::builder(&pool).register(Count).start().await.unwrap(),
    ];
    let drafts = (0..TASKS).map(|n| Count::task(n).user("ann"));
    let mut tasks = client.create_many(drafts).await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    tasks.push(
        client
            .create_in(&mut *tx, Count::task(TASKS))
            .await
            .unwrap(),
    );
    tx.commit().await.unwrap();
    for (n, task) in (0..).zip(&tasks) {
        assert_eq!(task.result().await.unwrap(), n);
    }
    for node in nodes {
        let report = node.drain().await;
        assert_eq!(report.abandoned, 0);
    }
    pool.close().await;

    let leftovers = tokio::task::spawn_blocking(move || {
        // Each goes to another of the pooler's connections.
        let look = "select count(*) || current_setting('enable_seqscan') || \
             current_setting('statement_timeout') from pg_prepared_statements";
        let seen: Vec<String> = (0..20).map(|_| bouncer.query(look).unwrap()).collect();
        drop((bouncer, server));
        seen
    });
    assert_eq!(leftovers.await.unwrap(), vec!["0on0"; 20]);
}
