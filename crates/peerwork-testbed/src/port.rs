//! A free loopback port that is still free when its server restarts.
//!
//! Ports of the ephemeral range are not used: while a server is down, an outgoing connection could be given its port.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher;
use std::net::{Ipv4Addr, TcpListener};

use crate::{Error, Options, Result, Server};

const LOWEST: u16 = 10_000;
/// Linux' default start of the ephemeral range, where the real one cannot be read.
const EPHEMERAL_START: u16 = 32_768;
/// Far more than the servers that one machine runs; the end of the search, not a tuning.
const TRIES: u64 = 1_000;

/// Lost races for a port before we believe that something else is wrong.
const STARTS: u32 = 5;

/// A port nobody listens on now. Somebody may be quicker: starting a server notices and asks again.
pub(crate) fn free() -> Result<u16> {
    let range = u64::from(ephemeral_start().saturating_sub(LOWEST).max(1));
    let start = RandomState::new().hash_one(std::process::id());
    for step in 0..TRIES {
        let port = LOWEST
            + u16::try_from(start.wrapping_add(step * 7) % range)
                .expect("a remainder of a port range");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Error::new(format_args!(
        "find a free loopback port from {LOWEST} on: none in {TRIES} tries"
    )))
}

/// Starts a server on the port that the caller chose, or on free ones until nobody else was quicker.
pub(crate) fn retried(options: &Options, start: impl Fn(u16) -> Result<Server>) -> Result<Server> {
    if let Some(port) = options.port {
        return start(port);
    }
    for _ in 1..STARTS {
        match start(free()?) {
            Err(error) if error.is_port_taken() => {}
            result => return result,
        }
    }
    start(free()?)
}

fn ephemeral_start() -> u16 {
    fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .filter(|start| *start > LOWEST)
        .unwrap_or(EPHEMERAL_START)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_free_and_outside_the_ephemeral_range() {
        let port = free().unwrap();
        assert!((LOWEST..ephemeral_start()).contains(&port), "{port}");
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    }
}
