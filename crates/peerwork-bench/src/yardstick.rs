//! The yardstick: what the database itself does in a second, in raw SQL.

use std::time::{Duration, Instant};

/// How long it is measured.
const TIME: Duration = Duration::from_millis(1_500);

/// One-row insert transactions that one connection commits in a second, durably.
pub async fn commits_per_second(url: &str) -> anyhow::Result<f64> {
    // The three pools have three types; the statements are the same.
    macro_rules! measure {
        ($connection:ty, $url:expr, $setup:expr) => {{
            use sqlx::Connection;
            let mut connection = <$connection>::connect($url).await?;
            for statement in $setup {
                sqlx::query(statement).execute(&mut connection).await?;
            }
            sqlx::query("drop table if exists bench_yardstick").execute(&mut connection).await?;
            sqlx::query("create table bench_yardstick(id bigint primary key, body varchar(100) not null)")
                .execute(&mut connection)
                .await?;
            let (started, mut rows) = (Instant::now(), 0);
            while started.elapsed() < TIME {
                sqlx::query("insert into bench_yardstick select coalesce(max(id), 0) + 1, 'a row of some length' from bench_yardstick")
                    .execute(&mut connection)
                    .await?;
                rows += 1;
            }
            let per_second = f64::from(rows) / started.elapsed().as_secs_f64();
            sqlx::query("drop table bench_yardstick").execute(&mut connection).await?;
            connection.close().await?;
            Ok(per_second)
        }};
    }
    match url.split(':').next() {
        Some("sqlite") => {
            let url = format!("{url}?mode=rwc");
            measure!(
                sqlx::SqliteConnection,
                &url,
                ["pragma journal_mode=wal", "pragma synchronous=full"]
            )
        }
        Some("postgres" | "postgresql") => measure!(sqlx::PgConnection, url, [] as [&str; 0]),
        _ => measure!(sqlx::MySqlConnection, url, [] as [&str; 0]),
    }
}
