//! PostgreSQL: a claim is one statement that writes one row for all that it takes, and a finish another.

use super::{OUTPUT, Pipeline, Scope, Taken};
use crate::raw;
use anyhow::ensure;
use async_trait::async_trait;
use sqlx::{AssertSqlSafe, PgConnection, Row};
use std::sync::Arc;
use uuid::Uuid;

/// Rows are deleted by their places, which were locked in the order of the index; the tasks' own rows never change.
const CLAIM: &str = "with n as materialized (select (extract(epoch from clock_timestamp()) * 1000000)::bigint as at), \
     d as (delete from ~ready where ctid = any(array(select r.ctid from ~ready r where r.lane = $1 \
     and (r.rank_no, r.ready_at, r.id) >= ($5, $6, $7) and r.kind = any($8) and r.status in (3,4,10) \
     and exists (select 1 from ~node where id = $3 and alive = 1) \
     order by r.rank_no, r.ready_at, r.id limit $2 for update skip locked)) \
     returning id, lane, rank_no, kind, status, ready_at, attempt, failures, crashes, child), \
     w as (insert into ~batch (run_id, node, started_at, open, ids, lanes, kinds, ready_ats) select $4, $3, n.at, count(*), \
     array_agg(d.id), array_agg(d.lane), array_agg(d.kind), array_agg(d.ready_at) from d, n group by n.at) \
     select t.id, t.input, t.lane, t.created_at, t.usr, t.grp, t.kind, t.priority, t.options, t.parent, \
     d.status, d.ready_at, d.attempt + 1 as attempt, d.failures, d.crashes, d.rank_no, n.at \
     from n, d cross join lateral (select * from ~task t where t.id = d.id limit 1) t";

/// A batch that is there says that nothing has happened to its tasks but their ends.
const FINISH: &str = "with n as materialized (select (extract(epoch from clock_timestamp()) * 1000000)::bigint as at), \
     b as materialized (select run_id, node, started_at, open from ~batch where run_id = $1 for update), \
     e as (delete from ~batch x using b where x.run_id = b.run_id and b.open <= $2), \
     l as (update ~batch x set open = b.open - $2 from b where x.run_id = b.run_id and b.open > $2) \
     insert into ~done (id, status, run_id, node, started_at, finished_at, ready_at, attempt, failures, crashes, output) \
     select u.id, 14, b.run_id, b.node, b.started_at, n.at, u.ready_at, 1, 0, 0, u.output \
     from unnest($3::uuid[], $4::bigint[], $5::bytea[]) u(id, ready_at, output), b, n";

pub struct Connection {
    link: PgConnection,
    scope: Scope,
    claim: Arc<str>,
    finish: Arc<str>,
    /// Up to here everything is claimed.
    bound: (i32, i64, Uuid),
}

const FRONT: (i32, i64, Uuid) = (i32::MIN, i64::MIN, Uuid::nil());

impl Connection {
    pub async fn open(url: &str, scope: Scope) -> anyhow::Result<Self> {
        Ok(Self {
            link: raw::postgres(url).await?,
            claim: scope.sql(CLAIM).into(),
            finish: scope.sql(FINISH).into(),
            scope,
            bound: FRONT,
        })
    }
}

#[async_trait]
impl Pipeline for Connection {
    async fn claim(&mut self, limit: usize) -> anyhow::Result<Vec<Taken>> {
        let run = Uuid::new_v4();
        let rows = sqlx::query(AssertSqlSafe(self.claim.clone()))
            .bind(self.scope.lane)
            .bind(limit as i64)
            .bind(self.scope.node)
            .bind(run)
            .bind(self.bound.0)
            .bind(self.bound.1)
            .bind(self.bound.2)
            .bind([self.scope.kind])
            .fetch_all(&mut self.link)
            .await?;
        let mut taken = Vec::with_capacity(rows.len());
        for row in rows {
            let (id, ready_at) = (row.try_get(0)?, row.try_get(11)?);
            if self.scope.remembers {
                self.bound = self.bound.max((row.try_get(15)?, ready_at, id));
            }
            taken.push(Taken {
                id,
                run,
                ready_at,
                started_at: row.try_get(16)?,
                attempt: row.try_get(12)?,
                failures: row.try_get(13)?,
                crashes: row.try_get(14)?,
                input: row.try_get(1)?,
            });
        }
        Ok(taken)
    }

    async fn finish(&mut self, taken: &[Taken]) -> anyhow::Result<()> {
        let Some(first) = taken.first() else {
            return Ok(());
        };
        let done = sqlx::query(AssertSqlSafe(self.finish.clone()))
            .bind(first.run)
            .bind(taken.len() as i64)
            .bind(taken.iter().map(|taken| taken.id).collect::<Vec<_>>())
            .bind(taken.iter().map(|taken| taken.ready_at).collect::<Vec<_>>())
            .bind(vec![OUTPUT; taken.len()])
            .execute(&mut self.link)
            .await?;
        let done = done.rows_affected();
        ensure!(
            done == taken.len() as u64,
            "{done} of {} were finished",
            taken.len()
        );
        Ok(())
    }
}
