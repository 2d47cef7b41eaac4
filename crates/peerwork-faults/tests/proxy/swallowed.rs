//! Answers that never come, of real servers.

use std::net::SocketAddr;

use peerwork_faults::proxy::Proxy;
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, PgConnection};

/// Names for tables of a shared server.
fn table(test: &str) -> String {
    format!("{test}_{}_{:x}", std::process::id(), rand::random::<u32>())
}

async fn server(url: fn() -> String) -> String {
    // It reads a file, and panics with what to do where there is none.
    tokio::task::spawn_blocking(url).await.unwrap()
}

fn address(url: &str) -> SocketAddr {
    let (_, rest) = url.split_once('@').unwrap();
    let (address, _) = rest.split_once('/').unwrap();
    address.parse().unwrap()
}

macro_rules! on {
    ($database:ident, $connection:ty, $url:path) => {
        mod $database {
            use super::*;

            /// A proxy, a connection around it, one through it, and a table.
            async fn start(test: &str) -> (Proxy, $connection, $connection, String) {
                let url = server($url).await;
                let proxy = Proxy::start(address(&url)).await.unwrap();
                let mut direct = <$connection>::connect(&url).await.unwrap();
                let client = <$connection>::connect(&proxy.url(&url)).await.unwrap();
                let table = table(test);
                run(&mut direct, format!("create table {table} (n int)"))
                    .await
                    .unwrap();
                (proxy, direct, client, table)
            }

            async fn run(connection: &mut $connection, sql: String) -> sqlx::Result<()> {
                sqlx::query(AssertSqlSafe(sql)).execute(connection).await?;
                Ok(())
            }

            async fn ends(mut direct: $connection, table: &str, expected: i64) {
                let count = format!("select count(*) from {table}");
                let count: i64 = sqlx::query_scalar(AssertSqlSafe(count))
                    .fetch_one(&mut direct)
                    .await
                    .unwrap();
                assert_eq!(count, expected);
                run(&mut direct, format!("drop table {table}"))
                    .await
                    .unwrap();
            }

            fn lost(result: sqlx::Result<()>) {
                let error = result.unwrap_err();
                assert!(matches!(error, sqlx::Error::Io(_)), "{error:?}");
            }

            #[tokio::test]
            async fn a_swallowed_commit_is_durable_and_its_client_is_told_an_error() {
                let (proxy, direct, mut client, table) = start("commit").await;
                let insert = format!("insert into {table} values (1)");
                // Not this one: the wish comes later.
                let mut tx = client.begin().await.unwrap();
                run(&mut *tx, insert.clone()).await.unwrap();
                tx.commit().await.unwrap();

                proxy.swallow_commits(1);
                let mut tx = client.begin().await.unwrap();
                run(&mut *tx, insert).await.unwrap();
                assert_eq!(proxy.swallowed(), 0);
                lost(tx.commit().await);
                assert_eq!(proxy.swallowed(), 1);
                lost(client.ping().await);
                ends(direct, &table, 2).await;
            }

            #[tokio::test]
            async fn an_answer_is_swallowed_by_the_text_of_its_statement() {
                let (proxy, direct, mut client, table) = start("text").await;
                let url = proxy.url(&server($url).await);
                let insert = format!("insert into {table} values (1)");
                // Prepared by the first execution, known by its number or name in the second.
                run(&mut client, insert.clone()).await.unwrap();
                proxy.swallow_next_answer_to(&format!("into {table}"));
                lost(run(&mut client, insert.clone()).await);
                assert_eq!(proxy.swallowed(), 1);

                // Prepared and executed anew.
                let mut client = <$connection>::connect(&url).await.unwrap();
                proxy.swallow_next_answer_to(&format!("into {table}"));
                run(&mut client, "select 1".to_owned()).await.unwrap();
                lost(run(&mut client, insert.clone()).await);
                assert_eq!(proxy.swallowed(), 2);

                // As plain text, and rows that are never seen.
                for text in [insert, format!("select n from {table}")] {
                    let mut client = <$connection>::connect(&url).await.unwrap();
                    proxy.swallow_next_answer_to(&table);
                    let result = sqlx::raw_sql(AssertSqlSafe(text))
                        .execute(&mut client)
                        .await;
                    lost(result.map(drop));
                }
                assert_eq!(proxy.swallowed(), 4);
                ends(direct, &table, 4).await;
            }

            #[tokio::test]
            async fn what_is_not_to_be_swallowed_any_more_is_answered() {
                let (proxy, direct, mut client, table) = start("none").await;
                proxy.swallow_commits(5);
                proxy.swallow_next_answer_to(&table);
                proxy.swallow_nothing();
                let mut tx = client.begin().await.unwrap();
                run(&mut *tx, format!("insert into {table} values (1)"))
                    .await
                    .unwrap();
                tx.commit().await.unwrap();
                assert_eq!(proxy.swallowed(), 0);
                ends(direct, &table, 1).await;
            }

            #[tokio::test]
            async fn a_long_statement_and_many_rows_pass_unharmed() {
                let (_proxy, direct, mut client, table) = start("long").await;
                let values = vec!["(1)"; 50_000].join(",");
                run(&mut client, format!("insert into {table} values {values}"))
                    .await
                    .unwrap();
                let rows: Vec<i32> =
                    sqlx::query_scalar(AssertSqlSafe(format!("select n from {table}")))
                        .fetch_all(&mut client)
                        .await
                        .unwrap();
                assert_eq!(rows.len(), 50_000);
                ends(direct, &table, 50_000).await;
            }
        }
    };
}

on!(postgres, PgConnection, peerwork_testbed::postgres_url);
on!(mysql, MySqlConnection, peerwork_testbed::mysql_url);
