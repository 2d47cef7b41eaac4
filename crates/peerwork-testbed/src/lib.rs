//! Throw-away database servers for tests, benches and fault runs.
//!
//! ```no_run
//! use peerwork_testbed::{Options, Postgres};
//!
//! # fn main() -> Result<(), peerwork_testbed::Error> {
//! let mut server = Postgres::start(&Options::default())?; // a fresh cluster on a free loopback port
//! server.query("create table t (n int)")?;
//! server.kill()?; // SIGKILL, as a crash
//! server.restart()?; // same port, same data
//! println!("{}", server.url());
//! # Ok(())
//! # } // dropped: stopped, and its data removed
//! ```
//!
//! Tests that only need *a* server ask for [`postgres_url`] or [`mysql_url`]: one server that all of them share.
//!
//! For fault runs:
//!
//! | type | is |
//! | --- | --- |
//! | [`Replica`] | a PostgreSQL server that follows another, falls behind and takes its place: acknowledged commits are lost |
//! | [`PgBouncer`] | a pooler in transaction mode in front of a server |
//! | [`Galera`] | a MariaDB cluster of three nodes, all of which take writes |
//! | [`Tmpfs`] | a small disk that can be full |
//! | [`Faketime`] | a wall clock that is wrong, and jumps |
//!
//! Everything here blocks its thread: call it outside of async code, or through `spawn_blocking`.
//!
//! Invariants:
//! - A server never outlives the process that started it, however that process ends (`tether.rs`), unless [`Server::detach`] said so.
//! - A server that is ready is ours: its data directory is compared, so a port taken by somebody else cannot deceive us.
//! - Nothing is skipped silently: a missing binary or server is an error that says what to do.

mod account;
mod binaries;
mod database;
mod error;
mod faketime;
mod galera;
mod home;
mod mariadb;
mod options;
mod pgbouncer;
mod port;
mod postgres;
mod replica;
mod server;
mod shared;
mod tether;
mod tmpfs;

pub use database::Database;
pub use error::Error;
pub use faketime::Faketime;
pub use galera::Galera;
pub use mariadb::MariaDb;
pub use options::Options;
pub use pgbouncer::PgBouncer;
pub use postgres::Postgres;
pub use replica::Replica;
pub use server::Server;
pub use shared::{MYSQL_URL_VAR, POSTGRES_URL_VAR};
pub use shared::{SharedServer, SharedServers, mysql_url, postgres_url, target_dir};
pub use tmpfs::Tmpfs;

type Result<T, E = Error> = std::result::Result<T, E>;
