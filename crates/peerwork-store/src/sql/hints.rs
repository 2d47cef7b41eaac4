//! How processes tell each other to look: NOTIFY on PostgreSQL, the growth of the write-ahead log on SQLite (whoever
//! has something to hint at has just written), nothing on MariaDB (where the periodic look must do).

#[cfg(feature = "postgres")]
use super::engine::spawned;
use super::engine::{Engine, Operation};
use super::fault::Fault;
use super::link::Pool;
use super::tx::Tx;
use crate::{Hint, Hints, Result};
#[cfg(feature = "sqlite")]
use std::path::PathBuf;
use std::sync::Arc;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use std::time::Duration;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use tokio::sync::mpsc;

/// How often the size of SQLite's log is looked at: one system call, no SQL.
#[cfg(feature = "sqlite")]
const WAL_LOOK: Duration = Duration::from_millis(5);

/// How long after a failure to listen it is tried again.
#[cfg(feature = "postgres")]
const LISTEN_AGAIN: Duration = Duration::from_millis(500);

pub(crate) struct Notify {
    pub hint: Hint,
}

impl Operation for Notify {
    const NAME: &'static str = "hint";
    type Answer = ();

    async fn run(&self, tx: &mut Tx<'_>) -> std::result::Result<(), Fault> {
        let channel = channel(tx.dialect.names().1);
        let mut sql = tx.sql("select pg_notify(");
        sql.bind(channel)
            .push(", ")
            .bind(self.hint.to_text())
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
        Pool::Sqlite(pool) => {
            let (sender, receiver) = mpsc::channel(Hints::UNREAD_MAX);
            let file = pool.connect_options().get_filename().to_owned();
            if let Some(shared) = &engine.file {
                shared.listen(sender.clone());
            }
            tokio::spawn(watch_wal(file, sender));
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
            tokio::spawn(pass_on(pool, channel, listener, sender));
            Ok(Some(Hints(receiver)))
        }
        #[cfg(feature = "postgres")]
        Pool::Postgres(_) => Ok(None),
        #[cfg(feature = "mysql")]
        Pool::MySql(_) => Ok(None),
    }
}

/// Whoever writes in WAL mode changes the log's length, or after a checkpoint its time.
#[cfg(feature = "sqlite")]
async fn watch_wal(file: PathBuf, sender: mpsc::Sender<Hint>) {
    let mut log = file.into_os_string();
    log.push("-wal");
    let look = || {
        std::fs::metadata(&log)
            .map(|data| (data.len(), data.modified().ok()))
            .ok()
    };
    let mut seen = look();
    let mut every = tokio::time::interval(WAL_LOOK);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !sender.is_closed() {
        every.tick().await;
        let now = look();
        if now != seen {
            seen = now;
            // Full: an unread hint says it all.
            let _ = sender.try_send(Hint::ALL);
        }
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
                let _ = sender.try_send(Hint::from_text(heard.payload()));
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
