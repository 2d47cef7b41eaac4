//! Who offers the commands: the binary `peerwork`, or a service with its own kinds and its own database.

use peerwork::policy::Policies;
use peerwork::{Database, NodeBuilder, Policy};
use std::fmt;

type Setup = Box<dyn FnOnce(NodeBuilder) -> NodeBuilder + Send + Sync>;

/// What a service adds to the commands that it offers: see [`run`](crate::run).
pub struct Host {
    pub(crate) name: String,
    pub(crate) database: Option<Database>,
    pub(crate) node: Option<Setup>,
    pub(crate) policies: Policies,
    /// The binary of this crate: only it can start itself as a node of the demo.
    pub(crate) is_program: bool,
}

impl Host {
    /// A service whose users type `name` before a command: `myservice peerwork`.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            database: None,
            node: None,
            policies: Policies::default(),
            is_program: false,
        }
    }

    pub(crate) fn program() -> Self {
        Self {
            is_program: true,
            ..Self::new("peerwork")
        }
    }

    /// The service's own database: `--database-url`, `--prefix` and `--schema` are then not offered, and the
    /// environment is not asked.
    pub fn database(mut self, database: impl Into<Database>) -> Self {
        self.database = Some(database.into());
        self
    }

    /// Registers the service's handlers, and with them offers `node run`.
    pub fn node(
        mut self,
        setup: impl FnOnce(NodeBuilder) -> NodeBuilder + Send + Sync + 'static,
    ) -> Self {
        self.node = Some(Box::new(setup));
        self
    }

    /// Offers a policy of the service's own to `simulate --policy`, under this name.
    pub fn policy(mut self, name: impl Into<String>, policy: impl Policy + 'static) -> Self {
        self.policies.register(name, policy);
        self
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("name", &self.name)
            .field("runs_nodes", &self.node.is_some())
            .finish_non_exhaustive()
    }
}
