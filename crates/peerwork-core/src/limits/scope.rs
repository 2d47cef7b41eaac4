//! What something is set for: everything, a group, a user, a user in a group, or a kind.

use crate::Name;
use std::fmt;

/// What a setting is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Every task.
    Everything,
    /// The tasks in this group.
    Group(Name),
    /// This user's tasks, in whatever group.
    User(Name),
    /// This user's tasks in this group: one lane.
    UserIn {
        /// The group.
        group: Name,
        /// The user.
        user: Name,
    },
    /// The tasks of this kind.
    Kind(Name),
}

/// A scope in rows: the first 64 bits of a hash of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScopeKey(pub i64);

/// The sorts of scopes, each with its number in rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScopeSort {
    /// [`Scope::Everything`].
    Everything = 0,
    /// [`Scope::Group`].
    Group = 1,
    /// [`Scope::User`].
    User = 2,
    /// [`Scope::UserIn`].
    UserIn = 3,
    /// [`Scope::Kind`].
    Kind = 4,
}

impl ScopeSort {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Everything,
        Self::Group,
        Self::User,
        Self::UserIn,
        Self::Kind,
    ];

    /// From a row's number.
    pub fn from_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|sort| *sort as i64 == code)
    }
}

impl Scope {
    /// Which sort it is.
    pub fn sort(&self) -> ScopeSort {
        match self {
            Self::Everything => ScopeSort::Everything,
            Self::Group(_) => ScopeSort::Group,
            Self::User(_) => ScopeSort::User,
            Self::UserIn { .. } => ScopeSort::UserIn,
            Self::Kind(_) => ScopeSort::Kind,
        }
    }

    /// Its names as two columns of a row; empty where there is none.
    pub fn names(&self) -> (Name, Name) {
        match self {
            Self::Everything => (Name::default(), Name::default()),
            Self::Group(name) | Self::User(name) | Self::Kind(name) => {
                (name.clone(), Name::default())
            }
            Self::UserIn { group, user } => (group.clone(), user.clone()),
        }
    }

    /// The scope of a row.
    pub fn of(sort: ScopeSort, (first, second): (Name, Name)) -> Self {
        match sort {
            ScopeSort::Everything => Self::Everything,
            ScopeSort::Group => Self::Group(first),
            ScopeSort::User => Self::User(first),
            ScopeSort::UserIn => Self::UserIn {
                group: first,
                user: second,
            },
            ScopeSort::Kind => Self::Kind(first),
        }
    }

    /// Its key.
    pub fn key(&self) -> ScopeKey {
        let (first, second) = self.names();
        let mut hash = blake3::Hasher::new_derive_key("peerwork 2026 scope");
        hash.update(&[self.sort() as u8]);
        // Lengths first: ("ab", "c") and ("a", "bc") are two scopes.
        hash.update(&(first.as_str().len() as u64).to_le_bytes());
        hash.update(first.as_str().as_bytes());
        hash.update(second.as_str().as_bytes());
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&hash.finalize().as_bytes()[..8]);
        ScopeKey(i64::from_le_bytes(bytes))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("everything"),
            Self::Group(group) => write!(f, "group {:?}", group.as_str()),
            Self::User(user) => write!(f, "user {:?}", user.as_str()),
            Self::UserIn { group, user } => {
                write!(f, "user {:?} in group {:?}", user.as_str(), group.as_str())
            }
            Self::Kind(kind) => write!(f, "kind {:?}", kind.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new("test", text).unwrap()
    }

    fn some() -> Vec<Scope> {
        let user_in = |group, user| Scope::UserIn {
            group: name(group),
            user: name(user),
        };
        vec![
            Scope::Everything,
            Scope::Group(name("a")),
            Scope::Group(name("")),
            Scope::User(name("a")),
            user_in("a", "bc"),
            user_in("ab", "c"),
            user_in("a", ""),
            user_in("", "a"),
            Scope::Kind(name("a")),
        ]
    }

    #[test]
    fn scopes_tell_their_parts_apart() {
        let keys: std::collections::BTreeSet<_> = some().iter().map(Scope::key).collect();
        assert_eq!(keys.len(), some().len());
    }

    #[test]
    fn a_scope_is_read_back_from_its_row() {
        for scope in some() {
            let sort = ScopeSort::from_code(scope.sort() as i64).unwrap();
            assert_eq!(Scope::of(sort, scope.names()), scope);
        }
        assert_eq!(ScopeSort::from_code(5), None);
    }
}
