//! What a caller may choose about a server.

use std::path::PathBuf;

/// How to start a server. The default is a throw-away one for tests: temporary data, nothing synced to disk.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where its data live; kept when the server stops, and reused when there are some. `None`: a temporary directory
    /// that goes away with the server. As root, the server's own account must be able to reach it.
    pub data_dir: Option<PathBuf>,
    /// Whether commits survive a power cut. Benches say yes, tests no. Commits survive a killed *process* either way.
    pub durable: bool,
    /// The loopback port; `None` picks a free one.
    pub port: Option<u16>,
    /// Further server settings, by their configuration-file names; they win over ours.
    pub settings: Vec<(String, String)>,
    /// Environment variables of the server's process, such as those of [`Faketime::env`](crate::Faketime::env).
    pub env: Vec<(String, String)>,
}

impl Options {
    /// The default with commits that survive a power cut, as benches want it.
    pub fn durable() -> Self {
        Self {
            durable: true,
            ..Self::default()
        }
    }
}

/// Both servers admit this many clients: a simulated cluster opens a few connections per node, on top of parallel tests.
pub(crate) const MAX_CONNECTIONS: u32 = 400;
