//! The ways of a run's processes to its database: each has a proxy of its own, where there is a network at all.

use crate::proxy::{Condition, Proxy};
use anyhow::{Context, Result};
use std::net::SocketAddr;
use tokio::runtime::Runtime;

/// Where the proxies live: on threads of their own, so that the controller may take its time.
#[derive(Debug)]
pub struct Network(Runtime);

/// One process's way to the database.
#[derive(Debug)]
pub struct Wire {
    url: String,
    proxy: Option<Proxy>,
    /// Answers that were lost, as far as they were told.
    swallowed: u64,
}

impl Network {
    /// A network without faults.
    ///
    /// # Errors
    /// If no threads can be had.
    pub fn new() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        Ok(Self(runtime.context("start the network")?))
    }

    /// A way to the database at `url`: behind a proxy, or none where it is a file.
    ///
    /// # Errors
    /// If no port can be had.
    pub async fn wire(&self, url: &str) -> Result<Wire> {
        let Some(upstream) = address(url) else {
            return Ok(Wire {
                url: url.to_owned(),
                proxy: None,
                swallowed: 0,
            });
        };
        let proxy = self.proxy(upstream).await?;
        Ok(Wire {
            url: proxy.url(url),
            proxy: Some(proxy),
            swallowed: 0,
        })
    }

    /// A proxy in front of `upstream`.
    ///
    /// # Errors
    /// If no port can be had.
    pub async fn proxy(&self, upstream: SocketAddr) -> Result<Proxy> {
        let proxy = self.0.spawn(Proxy::start(upstream));
        Ok(proxy.await.context("start a proxy")??)
    }

    /// Ends all connections without waiting for any.
    pub fn end(self) {
        self.0.shutdown_background();
    }
}

/// Of `scheme://user@address:port/name`.
pub fn address(url: &str) -> Option<SocketAddr> {
    let (_, rest) = url.split_once("//")?;
    let host = rest.split('/').next()?;
    host.rsplit('@').next()?.parse().ok()
}

impl Wire {
    /// Where the process finds the database.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Changes the condition.
    pub fn set(&self, condition: Condition) {
        if let Some(proxy) = &self.proxy {
            proxy.set(condition);
        }
    }

    /// Loses the answer to the next commit.
    pub fn swallow(&self) {
        if let Some(proxy) = &self.proxy {
            proxy.swallow_nothing();
            proxy.swallow_commits(1);
        }
    }

    /// As if nothing had been; with `forget` what has been on its way is lost.
    pub fn relieve(&self, forget: bool) {
        if let Some(proxy) = &self.proxy {
            proxy.swallow_nothing();
            if forget {
                proxy.reset_all();
            }
            proxy.set(Condition::Pass);
        }
    }

    /// How many answers were lost.
    pub fn swallowed(&self) -> u64 {
        self.proxy.as_ref().map_or(0, Proxy::swallowed)
    }

    /// How many answers were lost since this was asked last.
    pub fn newly_swallowed(&mut self) -> u64 {
        let now = self.swallowed();
        now - std::mem::replace(&mut self.swallowed, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_an_address_and_a_file_has_none() {
        let found = address("postgres://postgres@127.0.0.1:5433/faults");
        assert_eq!(found, Some("127.0.0.1:5433".parse().unwrap()));
        assert_eq!(address("sqlite:/tmp/a.db?mode=rwc"), None);
    }
}
