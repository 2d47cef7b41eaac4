//! The plainest yardstick: what one connection commits in a second, one row at a time.

use crate::figures::{Figure, Percentiles};
use crate::place::Place;
use std::time::{Duration, Instant};

/// How long it is measured, at most.
const TIME: Duration = Duration::from_millis(1_500);

/// The fewest rows that are measured.
const ROWS_MIN: usize = 20;

/// One row in a transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Commits {
    Inserts,
    /// Of one of a thousand rows.
    Updates,
}

impl Commits {
    pub fn name(self) -> &'static str {
        match self {
            Self::Inserts => "one-row insert commits of one connection",
            Self::Updates => "one-row update commits of one connection",
        }
    }

    /// How many of them one connection makes in a second, durably; it makes at most `rows`.
    pub async fn rate(self, place: &Place, rows: usize) -> anyhow::Result<Figure> {
        let times = self.measure(place, rows).await?;
        Ok(Figure::rate(times.len(), times.iter().sum()))
    }

    /// How long each of them takes.
    pub async fn latency(self, place: &Place, rows: usize) -> anyhow::Result<Figure> {
        Ok(Figure::Latency(Percentiles::of(
            self.measure(place, rows).await?,
        )))
    }

    async fn measure(self, place: &Place, most: usize) -> anyhow::Result<Vec<Duration>> {
        let mut raw = place.raw().await?;
        let table = place.sql("~yardstick");
        raw.run(&format!("drop table if exists {table}")).await?;
        raw.run(&format!(
            "create table {table} (id bigint primary key, body varchar(100) not null)"
        ))
        .await?;
        let rows: Vec<_> = (0..1_000)
            .map(|id| format!("({id}, 'a row of some length')"))
            .collect();
        raw.run(&format!("insert into {table} values {}", rows.join(", ")))
            .await?;
        let statement = match self {
            Self::Inserts => format!(
                "insert into {table} select max(id) + 1, 'a row of some length' from {table}"
            ),
            // The rows in turn: the same one again and again would grow a chain of its versions.
            Self::Updates => format!(
                "update {table} set id = id + 1000 where id = (select id from (select min(id) as id from {table}) as first)"
            ),
        };
        let mut times = Vec::new();
        let started = Instant::now();
        while started.elapsed() < TIME && times.len() < most.max(ROWS_MIN) {
            let began = Instant::now();
            raw.execute(&statement).await?;
            times.push(began.elapsed());
        }
        raw.run(&format!("drop table {table}")).await?;
        Ok(times)
    }
}
