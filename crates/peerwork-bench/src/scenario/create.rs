//! The four ways to create tasks, beside one-row commits.

use super::Scenario;
use crate::figures::Figure;
use crate::handlers::Noop;
use crate::options::Options;
use crate::place::Place;
use crate::raw::Raw;
use crate::report::{Report, Round};
use crate::target::{Sort, Target};
use crate::yardstick::Commits;
use anyhow::ensure;
use peerwork::{Client, Handler};
use std::time::{Duration, Instant};

/// Callers of `create-concurrent`.
const CALLERS: usize = 64;

pub async fn run(target: &Target, options: &Options) -> anyhow::Result<Vec<Report>> {
    let mut rounds = Vec::new();
    for _ in 0..options.rounds() {
        let place = Place::new(target).await?;
        let yardstick = Commits::Inserts.rate(&place, options.tasks()).await?;
        let tasks = options.tasks();
        let time = match options.scenario {
            Scenario::CreateConcurrent => one_by_one(&place.client, tasks, CALLERS).await?,
            Scenario::CreateMany => many(&place.client, tasks).await?,
            Scenario::CreateInTransaction => in_transaction(&place, tasks).await?,
            _ => one_by_one(&place.client, tasks, 1).await?,
        };
        let created = place.count("ready").await?;
        ensure!(created == tasks, "{created} of {tasks} tasks were created");
        place.remove().await?;
        rounds.push(Round::new(Figure::rate(tasks, time), yardstick));
    }
    Ok(vec![Report {
        scenario: options.scenario.name().into(),
        database: target.sort.name(),
        settings: format!("tasks={}", options.tasks()),
        yardstick: Commits::Inserts.name(),
        rounds,
    }])
}

async fn one_by_one(client: &Client, tasks: usize, callers: usize) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let create = |caller: usize| {
        let client = client.clone();
        async move {
            for n in (caller..tasks).step_by(callers) {
                client.create(Noop::task(n as u64)).await?;
            }
            Ok::<_, peerwork::Error>(())
        }
    };
    let callers: Vec<_> = (0..callers)
        .map(|caller| tokio::spawn(create(caller)))
        .collect();
    for caller in callers {
        caller.await??;
    }
    Ok(started.elapsed())
}

async fn many(client: &Client, tasks: usize) -> anyhow::Result<Duration> {
    let started = Instant::now();
    client
        .create_many((0..tasks as u64).map(Noop::task))
        .await?;
    Ok(started.elapsed())
}

/// Each with a row of the caller's own in the same transaction.
async fn in_transaction(place: &Place, tasks: usize) -> anyhow::Result<Duration> {
    let orders = place.sql("~orders");
    let mut raw = place.raw().await?;
    raw.run(&format!(
        "create table {orders} (id bigint primary key, body varchar(100) not null)"
    ))
    .await?;
    let begin = match place.sort {
        Sort::Sqlite => "begin immediate",
        Sort::Postgres | Sort::MySql => "begin",
    };
    let started = Instant::now();
    for n in 0..tasks {
        raw.run(&format!(
            "{begin}; insert into {orders} values ({n}, 'a row of some length')"
        ))
        .await?;
        let draft = Noop::task(n as u64);
        match &mut raw {
            Raw::Sqlite(connection) => place.client.create_in(connection, draft).await?,
            Raw::Postgres(connection) => place.client.create_in(connection, draft).await?,
            Raw::MySql(connection) => place.client.create_in(connection, draft).await?,
        };
        raw.run("commit").await?;
    }
    Ok(started.elapsed())
}
