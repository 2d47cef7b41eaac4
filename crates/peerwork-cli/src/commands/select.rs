//! From the filter of a command line to the library's.

use crate::args::FilterArgs;
use peerwork::{Client, Tasks};

impl FilterArgs {
    /// Whether no condition is given: then all tasks are meant.
    pub fn is_empty(&self) -> bool {
        let Self {
            user,
            group,
            kind,
            state,
            parent,
        } = self;
        user.is_none() && group.is_none() && kind.is_empty() && state.is_empty() && parent.is_none()
    }

    /// The tasks that are meant.
    pub fn select(&self, client: &Client) -> Tasks {
        let mut tasks = client.tasks();
        if let Some(user) = &self.user {
            tasks = tasks.user(user);
        }
        if let Some(group) = &self.group {
            tasks = tasks.group(group);
        }
        for kind in &self.kind {
            tasks = tasks.kind(kind);
        }
        for state in &self.state {
            tasks = tasks.state(*state);
        }
        if let Some(parent) = self.parent {
            tasks = tasks.parent(parent);
        }
        tasks
    }
}
