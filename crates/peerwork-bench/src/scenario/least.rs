//! The least that a pick-up takes: a task's rows are inserted and claimed, in raw SQL; on PostgreSQL another connection is
//! told in between.

use crate::floor::{Pipeline, Scope};
use crate::place::Place;
use crate::raw::{self, Raw};
use crate::target::Sort;
use crate::{fill, handlers};
use anyhow::ensure;
use peerwork_core::{Rank, Status};
use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgConnection, PgListener};
use std::time::{Duration, Instant};

pub struct Least {
    creates: Raw,
    create: Create,
    claims: Box<dyn Pipeline>,
    bell: Option<Bell>,
}

/// On PostgreSQL: who notifies whom.
struct Bell {
    rings: PgConnection,
    notify: String,
    hears: PgListener,
}

impl Least {
    pub async fn start(place: &Place) -> anyhow::Result<Self> {
        let bell = match place.sort {
            Sort::Postgres => Some(Bell::hang(place).await?),
            Sort::Sqlite | Sort::MySql => None,
        };
        Ok(Self {
            creates: place.raw().await?,
            create: Create::of(place),
            claims: Scope::register(place).await?.pipeline(place).await?,
            bell,
        })
    }

    pub async fn sample(&mut self) -> anyhow::Result<Duration> {
        let started = Instant::now();
        self.create.run(&mut self.creates).await?;
        if let Some(bell) = &mut self.bell {
            bell.ring().await?;
        }
        let claimed = self.claims.claim(1).await?;
        let time = started.elapsed();
        ensure!(claimed.len() == 1, "{} tasks were claimed", claimed.len());
        self.claims.finish(&claimed).await?;
        Ok(time)
    }
}

impl Bell {
    async fn hang(place: &Place) -> anyhow::Result<Self> {
        let channel = place.sql("~least");
        let mut hears = PgListener::connect(&place.url).await?;
        hears.listen(&channel).await?;
        Ok(Self {
            rings: raw::postgres(&place.url).await?,
            notify: format!("notify {channel}"),
            hears,
        })
    }

    async fn ring(&mut self) -> anyhow::Result<()> {
        let notify = sqlx::query(AssertSqlSafe(self.notify.as_str()));
        notify.execute(&mut self.rings).await?;
        self.hears.recv().await?;
        Ok(())
    }
}

/// The statements that write the rows of one task; they make its id themselves, so that their texts stay the same.
struct Create {
    begin: &'static str,
    inserts: Vec<String>,
    commit: &'static str,
}

impl Create {
    fn of(place: &Place) -> Self {
        let lane = fill::lane("").0;
        let kind = fill::kind_key(handlers::NOOP).0;
        let (rank, status) = (Rank::new(Status::Queued, 0).0, Status::Queued.code());
        let task = "insert into ~task (id, lane, created_at, usr, grp, kind, priority, options, parent, input)";
        let ready = "insert into ~ready (lane, rank_no, ready_at, id, kind, status, attempt, failures, crashes, child, ended_by)";
        let name = handlers::NOOP;
        let (begin, inserts, commit) = match place.sort {
            Sort::Postgres => {
                let both = format!(
                    "with n as materialized (select gen_random_uuid() as id, '{lane}'::uuid as lane, \
                     (extract(epoch from clock_timestamp()) * 1000000)::bigint as at), \
                     t as ({task} select id, lane, at, '', '', '{name}', 0, 0, null, '5'::bytea from n) \
                     {ready} select lane, {rank}, at, id, {kind}, {status}, 0, 0, 0, 0, null from n"
                );
                ("", vec![both], "")
            }
            Sort::Sqlite => {
                let lane = lane.simple();
                let now = "cast(1000000 * unixepoch('subsec') as integer)";
                (
                    "begin immediate",
                    vec![
                        format!(
                            "{task} values (randomblob(16), x'{lane}', {now}, '', '', '{name}', 0, 0, null, x'35')"
                        ),
                        format!(
                            "{ready} select lane, {rank}, created_at, id, {kind}, {status}, 0, 0, 0, 0, null from ~task \
                             where rowid = last_insert_rowid()"
                        ),
                    ],
                    "commit",
                )
            }
            Sort::MySql => {
                let lane = lane.simple();
                (
                    "begin; set @id = unhex(replace(uuid(), '-', '')), \
                     @at = timestampdiff(microsecond, '1970-01-01 00:00:00', utc_timestamp(6))",
                    vec![
                        format!(
                            "{task} values (@id, x'{lane}', @at, '', '', '{name}', 0, 0, null, x'35')"
                        ),
                        format!(
                            "{ready} values (x'{lane}', {rank}, @at, @id, {kind}, {status}, 0, 0, 0, 0, null)"
                        ),
                    ],
                    "commit",
                )
            }
        };
        Self {
            begin,
            inserts: inserts.iter().map(|text| place.sql(text)).collect(),
            commit,
        }
    }

    async fn run(&self, raw: &mut Raw) -> anyhow::Result<()> {
        if !self.begin.is_empty() {
            raw.run(self.begin).await?;
        }
        for insert in &self.inserts {
            raw.execute(insert).await?;
        }
        if !self.commit.is_empty() {
            raw.run(self.commit).await?;
        }
        Ok(())
    }
}
