//! Ids: of tasks, runs and nodes. They are made by the caller; here is only what they mean.

use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::from_str(text).map(Self)
            }
        }
    };
}

id!(
    /// A task. A UUIDv7 made by the client that creates it, so that creating can be repeated after a lost answer.
    TaskId
);
id!(
    /// One claim batch. With the task's id it is the fence: a row of a run is written only while it holds this id.
    RunId
);
id!(
    /// One incarnation of a node: a process that restarts is a new node.
    NodeId
);

id!(
    /// One operation of a user: whoever repeats it with the same id within a day gets the same answer, and nothing more
    /// is done.
    OperationId
);

impl TaskId {
    /// The id of the child that `self` creates under `key`: always the same one, so that a parent which is run
    /// again creates nothing twice. As hard to guess as the parent's own id.
    pub fn child(self, key: &str) -> Self {
        let mut hash = blake3::Hasher::new_derive_key("peerwork 2026 child task id");
        hash.update(self.0.as_bytes()).update(key.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.finalize().as_bytes()[..16]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_id_depends_on_the_parent_and_the_key_alone() {
        let (a, b) = (TaskId(Uuid::from_u128(1)), TaskId(Uuid::from_u128(2)));
        assert_eq!(a.child("0"), a.child("0"));
        assert_ne!(a.child("0"), a.child("1"));
        assert_ne!(a.child("0"), b.child("0"));
    }
}
