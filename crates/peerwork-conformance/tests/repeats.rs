//! A fault at every statement of every operation, and the operation again, on the three databases.

use peerwork_conformance::Backend;
use peerwork_conformance::repeats;

macro_rules! on {
    ($($name:ident $backend:ident),+) => {$(
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn what_is_repeated_after_a_fault_is_done_once() {
                repeats::every_operation(Backend::$backend).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_migration_that_broke_off_is_finished_by_the_next_one() {
                repeats::migrations(Backend::$backend).await;
            }
        }
    )+};
}

on!(sqlite Sqlite, postgres Postgres, postgres_plain PostgresPlain, mysql MySql);
