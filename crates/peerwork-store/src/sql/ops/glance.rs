//! The one periodic statement of a node.

use crate::sql::engine::Operation;
use crate::sql::fault::Fault;
use crate::sql::settings::Database;
use crate::sql::tx::Tx;
use crate::sql::value::status;
use crate::{Depth, Glance, Wished};
use peerwork_core::{NodeId, RunId, Status, TaskId, Timestamp};

pub(crate) struct Look {
    pub node: NodeId,
    /// How many of the peers that follow it are looked at.
    pub width: usize,
    pub depth: Depth,
}

/// What a row of the answer is about.
const SUMMARY: i64 = 0;
const WISH: i64 = 1;
const PEER: i64 = 2;

impl Operation for Look {
    const NAME: &'static str = "glance";
    type Answer = Glance;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Glance, Fault> {
        let stopping = Status::ALL
            .into_iter()
            .filter(|status| status.is_stopping())
            .map(Status::code);
        let mut sql = tx.sql("select ");
        sql.number(SUMMARY)
            .push(", ")
            .bind(self.node)
            .push(", ")
            .bind(self.node)
            .push(", ")
            .now();
        let is_full = self.depth == Depth::Full;
        if is_full {
            sql.push(", (select count(*) from ~running where node = ")
                .bind(self.node)
                .push(")");
            if tx.database() == Database::Postgres {
                sql.push(" + (select coalesce(sum(open), 0)::bigint from ~batch where node = ")
                    .bind(self.node)
                    .push(")");
            }
            sql.push(", case when exists (select 1 from ~ready) then 1 else 0 end");
        } else {
            sql.push(", 0, 0");
        }
        // With limits, not as a semi-join or a minimum, for which MariaDB reads all that is running or parked.
        sql.push(
            ", \
             case when exists (select 1 from ~node n where n.alive = 0 \
             and (select 1 from ~running r where r.node = n.id limit 1) is not null)",
        )
        .push_on(
            Database::Postgres,
            " or exists (select 1 from ~batch b where (select n.alive from ~node n where n.id = b.node) is distinct from 1)",
        )
        .push(
            " then 1 else 0 end, \
             case when exists (select 1 from ~inbox where seen = 0) then 1 else 0 end, \
             (select due_at from ~parked where due_at is not null order by due_at limit 1), \
             (select version from ~config where id = 1)",
            );
        sql.push(" union all select ")
            .number(WISH)
            .push(", id, run_id, status, 0, 0, 0, 0, null, null from ~running");
        sql.push(" where node = ")
            .bind(self.node)
            .push(" and status in (")
            .numbers(stopping)
            .push(")");
        for (side, name) in [(" > ", "n_next"), (" < ", "n_first")] {
            sql.push(" union all select ")
                .number(PEER)
                .push(", id, id, seq, ttl_ms, lease_until, 0, 0, null, null from (");
            sql.push("select id, seq, ttl_ms, lease_until from ~node where alive = 1 and id")
                .push(side)
                .bind(self.node);
            sql.push(" order by id limit ")
                .bind(self.width)
                .push(") ")
                .push(name);
        }

        let mut glance = Glance::default();
        for mut row in tx.fetch(sql).await?.rows() {
            let (tag, id, run) = (row.int()?, row.id()?, row.id()?);
            match tag {
                SUMMARY => {
                    glance.now = row.time()?;
                    let held = unsigned(row.int()?);
                    glance.held = is_full.then_some(held);
                    glance.ready = row.flag()?;
                    glance.dead = row.flag()?;
                    glance.inbox = row.flag()?;
                    glance.next_wake = row.opt_time()?;
                    glance.version = unsigned(row.opt_int()?.unwrap_or_default());
                }
                WISH => {
                    let status = status(row.int()?)?;
                    glance.wishes.push(Wished {
                        id: TaskId(id),
                        run: RunId(run),
                        status,
                    });
                }
                _ => {
                    let (seq, ttl_ms) = (unsigned(row.int()?), unsigned(row.int()?));
                    glance
                        .peers
                        .push((NodeId(id), seq, ttl_ms, Timestamp(row.int()?)));
                }
            }
        }
        // The ring: those after it, then from the first on.
        glance
            .peers
            .sort_unstable_by_key(|(id, ..)| (*id < self.node, *id));
        glance.peers.truncate(self.width);
        Ok(glance)
    }
}

fn unsigned(int: i64) -> u64 {
    u64::try_from(int).unwrap_or_default()
}
