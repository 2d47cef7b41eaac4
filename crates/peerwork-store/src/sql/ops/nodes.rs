//! Nodes and kinds.

use crate::sql::dialect::Dialect;
use crate::sql::engine::Operation;
use crate::sql::fault::Fault;
use crate::sql::ops::explain::kinds_text;
use crate::sql::rows::{Column, Table, parse_rules};
use crate::sql::settings::Database;
use crate::sql::tx::{Bulk, OnDuplicate, Tx};
use crate::sql::value::{Row, Sort};
use crate::{KindRow, NodeCard, NodeRow};
use peerwork_core::{BeatAnswer, KindKey, NAME_BYTES_MAX, Name, NodeId, Pulse, Rules};

static NODE: Table = Table {
    name: "node",
    columns: &[
        Column("id", Sort::Id),
        Column("label", Sort::Text),
        Column("started_at", Sort::Int),
        Column("seq", Sort::Int),
        Column("ttl_ms", Sort::Int),
        Column("lease_until", Sort::Int),
        Column("alive", Sort::Int),
        Column("slots", Sort::Int),
        Column("kinds", Sort::Text),
    ],
};

static KIND: Table = Table {
    name: "kind",
    columns: &[
        Column("id", Sort::Int),
        Column("name", Sort::Text),
        Column("rules", Sort::Text),
    ],
};

/// Rules as they are stored: the kind's name and JSON.
pub(crate) struct Publish {
    pub kinds: Vec<(Name, String)>,
}

impl Publish {
    pub(crate) fn new(kinds: Vec<(Name, Rules)>) -> Self {
        let json = |rules| serde_json::to_string(&rules).expect("rules are plain data");
        let mut kinds: Vec<_> = kinds
            .into_iter()
            .map(|(kind, rules)| (kind, json(rules)))
            .collect();
        // The last one of a kind counts; and all who publish lock in one order.
        kinds.reverse();
        kinds.sort_by_key(|(kind, _)| KindKey::new(kind));
        kinds.dedup_by_key(|(kind, _)| KindKey::new(kind));
        Self { kinds }
    }
}

impl Operation for Publish {
    const NAME: &'static str = "publish kinds";
    type Answer = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        let mut bulk = Bulk::new(&KIND, self.kinds.len());
        for (kind, rules) in &self.kinds {
            bulk.row([KindKey::new(kind).into(), kind.into(), rules.clone().into()]);
        }
        let replace = OnDuplicate::Do {
            standard: "(id) do update set name = excluded.name, rules = excluded.rules",
            mysql: "name = values(name), rules = values(rules)",
        };
        tx.insert(bulk, replace).await?;
        Ok(())
    }
}

pub(crate) struct Kinds;

impl Operation for Kinds {
    const NAME: &'static str = "read kinds";
    type Answer = Vec<KindRow>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<KindRow>, Fault> {
        let mut rows = tx
            .fetch(tx.sql("select id, name, rules from ~kind order by id"))
            .await?;
        rows.rows()
            .map(|mut row| {
                let key = KindKey(row.int()?);
                Ok(KindRow {
                    key,
                    kind: row.name("kind")?,
                    rules: parse_rules(&row.text()?),
                })
            })
            .collect()
    }
}

pub(crate) struct Register {
    pub card: NodeCard,
}

impl Operation for Register {
    const NAME: &'static str = "register a node";
    type Answer = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        let (card, now) = (&self.card, tx.now().await?);
        let mut bulk = Bulk::new(&NODE, 1);
        bulk.row([
            card.id.into(),
            bounded_label(&card.label).into(),
            now.into(),
            0i64.into(),
            card.ttl_ms.into(),
            now.plus_ms(card.ttl_ms).into(),
            true.into(),
            card.slots.into(),
            kinds_text(&card.kinds).into(),
        ]);
        // A row that is there stays as it is: one that was declared dead never lives again.
        let keep = OnDuplicate::Do {
            standard: "(id) do nothing",
            mysql: "id = id",
        };
        tx.insert(bulk, keep).await?;
        Ok(())
    }
}

/// A label that every database can hold.
fn bounded_label(label: &str) -> String {
    let mut end = label.len().min(NAME_BYTES_MAX);
    while !label.is_char_boundary(end) {
        end -= 1;
    }
    label[..end].replace('\0', " ")
}

pub(crate) struct RenewLease {
    pub node: NodeId,
    pub pulse: Pulse,
    pub ttl_ms: u64,
}

impl Operation for RenewLease {
    const NAME: &'static str = "beat";
    type Answer = BeatAnswer;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<BeatAnswer, Fault> {
        let mut sql = tx.sql("update ~node set seq = ");
        sql.bind(self.pulse.seq)
            .push(", ttl_ms = ")
            .bind(self.ttl_ms)
            .push(", lease_until = ")
            .now();
        sql.push(" + ")
            .bind(self.ttl_ms.saturating_mul(1_000))
            .push(" where id = ")
            .bind(self.node);
        sql.push(" and alive = 1 and seq >= ")
            .bind(self.pulse.acked)
            .push(" and seq < ")
            .bind(self.pulse.seq);
        if tx.execute(sql).await? == 1 {
            return Ok(BeatAnswer::Renewed);
        }
        let mut sql = tx.sql("select seq, alive from ~node where id = ");
        sql.bind(self.node);
        match tx.fetch(sql).await?.first() {
            None => Ok(BeatAnswer::Missing),
            Some(mut row) => Ok(BeatAnswer::Row {
                seq: unsigned(&mut row)?,
                alive: row.flag()?,
            }),
        }
    }

    /// One statement if it succeeds, and that changes one row under its own guard. A transaction would not make the two of a
    /// failure one either: an update that finds no row locks none, and the row that is read afterwards is what it is by then.
    fn is_one_statement(&self, _: &Dialect) -> bool {
        true
    }
}

pub(crate) struct Retire {
    pub node: NodeId,
}

impl Operation for Retire {
    const NAME: &'static str = "retire a node";
    type Answer = bool;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, Fault> {
        let mut sql = tx.sql("delete from ~node where id = ");
        sql.bind(self.node)
            .push(" and not exists (select 1 from ")
            .held()
            .push(" where node = ")
            .bind(self.node)
            .push(")");
        if tx.execute(sql).await? == 1 {
            return Ok(true);
        }
        let mut sql = tx.sql("select count(*) from ");
        sql.held().push(" where node = ").bind(self.node);
        Ok(tx.fetch(sql).await?.single_int()? == 0)
    }
}

pub(crate) struct DeclareDead {
    pub node: NodeId,
    pub seq: u64,
}

impl Operation for DeclareDead {
    const NAME: &'static str = "declare a node dead";
    type Answer = bool;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, Fault> {
        let mut sql = tx.sql("update ~node set alive = 0, died_at = ");
        sql.now()
            .push(" where id = ")
            .bind(self.node)
            .push(" and alive = 1 and seq = ")
            .bind(self.seq);
        Ok(tx.execute(sql).await? == 1)
    }
}

pub(crate) struct Nodes;

impl Operation for Nodes {
    const NAME: &'static str = "list nodes";
    type Answer = Vec<NodeRow>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<NodeRow>, Fault> {
        let mut sql = tx.sql(
            "select n.id, n.label, n.started_at, n.seq, n.ttl_ms, n.lease_until, n.alive, n.slots, (select count(*) from ",
        );
        sql.held()
            .push(" where r.node = n.id) from ~node n order by n.id");
        let mut rows = tx.fetch(sql).await?;
        rows.rows().map(|mut row| node_row(&mut row)).collect()
    }
}

fn node_row(row: &mut Row<'_>) -> Result<NodeRow, Fault> {
    Ok(NodeRow {
        id: NodeId(row.id()?),
        label: row.text()?,
        started_at: row.time()?,
        seq: unsigned(row)?,
        ttl_ms: unsigned(row)?,
        lease_until: row.time()?,
        alive: row.flag()?,
        slots: row.count()?,
        held: unsigned(row)?,
    })
}

fn unsigned(row: &mut Row<'_>) -> Result<u64, Fault> {
    Ok(u64::try_from(row.int()?).unwrap_or_default())
}

/// The time, by the database.
pub(crate) struct Now;

impl Operation for Now {
    const NAME: &'static str = "read the time";
    type Answer = peerwork_core::Timestamp;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Answer, Fault> {
        if tx.database() == Database::Sqlite {
            // No statement tells the time there, but the call says that the database is there.
            tx.fetch(tx.sql("select 1")).await?;
        }
        tx.now().await
    }
}
