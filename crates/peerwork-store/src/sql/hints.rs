//! How processes tell each other to look: NOTIFY on PostgreSQL, a file beside the database on SQLite (`bell.rs`), nothing on
//! MariaDB (where the periodic look must do).

#[cfg(feature = "postgres")]
use super::engine::spawned;
use super::engine::{Engine, Operation};
use super::fault::Fault;
use super::link::Pool;
use super::tx::Tx;
use crate::{Hint, Hints, Result};
use std::sync::Arc;
#[cfg(feature = "postgres")]
use std::time::Duration;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use tokio::sync::mpsc;

/// How long after a failure to listen it is tried again.
#[cfg(feature = "postgres")]
const LISTEN_AGAIN: Duration = Duration::from_millis(500);

/// Who sends hints, among all processes: at random, as all that it has to do is differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin(u64);

impl Origin {
    pub(crate) fn random() -> Self {
        Self(rand::random())
    }
}

/// A hint, and whose it is if he wants to pass over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub hint: Hint,
    pub by: Option<Origin>,
}

impl Said {
    /// As the origin in digits after the hint's letters, so that whoever knows letters only reads the same.
    pub(crate) fn to_text(self) -> String {
        let letters = self.hint.to_text();
        match self.by {
            Some(Origin(origin)) => format!("{letters} {origin}"),
            None => letters,
        }
    }

    /// Of a text that is not ours the letters count.
    pub(crate) fn from_text(text: &str) -> Self {
        let (letters, origin) = text.split_once(' ').unwrap_or((text, ""));
        Self {
            hint: Hint::from_text(letters),
            by: origin.parse().ok().map(Origin),
        }
    }

    /// Whether `me` has said it.
    pub(crate) fn is_by(self, me: Option<Origin>) -> bool {
        me.is_some() && self.by == me
    }
}

pub(crate) struct Notify {
    pub said: Said,
}

impl Operation for Notify {
    const NAME: &'static str = "hint";
    type Answer = ();

    async fn run(&self, tx: &mut Tx<'_>) -> std::result::Result<(), Fault> {
        let channel = channel(tx.dialect.names().1);
        let mut sql = tx.sql("select pg_notify(");
        sql.bind(channel)
            .push(", ")
            .bind(self.said.to_text())
            .push(")::text");
        tx.fetch(sql).await?;
        Ok(())
    }
}

fn channel(prefix: &str) -> String {
    format!("{prefix}hint")
}

pub(crate) async fn listen(engine: &Arc<Engine>) -> Result<Option<Hints>> {
    match &engine.connections.pool {
        #[cfg(feature = "sqlite")]
        Pool::Sqlite(_) => {
            let (sender, receiver) = mpsc::channel(Hints::UNREAD_MAX);
            let file = engine.file.as_ref().expect("a store on SQLite has one");
            file.listen(engine.origin, sender);
            Ok(Some(Hints(receiver)))
        }
        #[cfg(feature = "postgres")]
        Pool::Postgres(pool)
            if engine.dialect.capabilities.listen_notify
                && engine.dialect.capabilities.sessions =>
        {
            let (sender, receiver) = mpsc::channel(Hints::UNREAD_MAX);
            let pool = own_pool(pool);
            let channel = channel(engine.dialect.names().1);
            let listener =
                spawned("listen for hints", start(pool.clone(), channel.clone())).await?;
            tokio::spawn(pass_on(pool, channel, listener, engine.origin, sender));
            Ok(Some(Hints(receiver)))
        }
        #[cfg(feature = "postgres")]
        Pool::Postgres(_) => Ok(None),
        #[cfg(feature = "mysql")]
        Pool::MySql(_) => Ok(None),
    }
}

/// A connection of its own: it listens for as long as anybody wants to hear.
#[cfg(feature = "postgres")]
fn own_pool(pool: &sqlx::PgPool) -> sqlx::PgPool {
    sqlx::postgres::PgPoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with((*pool.connect_options()).clone())
}

#[cfg(feature = "postgres")]
async fn start(
    pool: sqlx::PgPool,
    channel: String,
) -> std::result::Result<sqlx::postgres::PgListener, Fault> {
    let mut listener = sqlx::postgres::PgListener::connect_with(&pool)
        .await
        .map_err(super::postgres::sort)?;
    listener
        .listen(&channel)
        .await
        .map_err(super::postgres::sort)?;
    Ok(listener)
}

#[cfg(feature = "postgres")]
async fn pass_on(
    pool: sqlx::PgPool,
    channel: String,
    listener: sqlx::postgres::PgListener,
    me: Option<Origin>,
    sender: mpsc::Sender<Hint>,
) {
    let mut listener = Some(listener);
    while !sender.is_closed() {
        let Some(listening) = &mut listener else {
            tokio::time::sleep(LISTEN_AGAIN).await;
            listener = start(pool.clone(), channel.clone()).await.ok();
            if listener.is_some() {
                // Whatever was said in between was not heard.
                let _ = sender.try_send(Hint::ALL);
            }
            continue;
        };
        // The one database future that may be dropped: nobody else uses this connection, which then ends.
        let heard = tokio::select! {
            heard = listening.try_recv() => heard,
            () = sender.closed() => break,
        };
        match heard {
            Ok(Some(heard)) => {
                let said = Said::from_text(heard.payload());
                if !said.is_by(me) {
                    let _ = sender.try_send(said.hint);
                }
            }
            Ok(None) => {
                // It has connected again by itself.
                let _ = sender.try_send(Hint::ALL);
            }
            Err(error) => {
                tracing::debug!(%error, "listening for hints failed; trying again");
                listener = None;
            }
        }
    }
    drop(listener);
    pool.close().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_names_its_origin_and_one_without_is_for_everybody() {
        let (me, hint) = (
            Some(Origin::random()),
            Hint {
                ready: true,
                ..Hint::default()
            },
        );
        let said = Said { hint, by: me };
        assert_eq!(Said::from_text(&said.to_text()), said);
        assert!(said.is_by(me) && !said.is_by(Some(Origin::random())) && !said.is_by(None));
        let anybody = Said { hint, by: None };
        assert_eq!(Said::from_text("r"), anybody);
        assert_eq!(Said::from_text("r of somebody"), anybody);
        assert!(!anybody.is_by(me) && !anybody.is_by(None));
        assert_eq!(
            Hint::from_text(&said.to_text()),
            hint,
            "to an older version"
        );
    }
}
