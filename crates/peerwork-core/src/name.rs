//! Names of users, groups and kinds: exact bytes, bounded, without NUL.

use crate::bounds::NAME_BYTES_MAX;
use std::fmt;
use std::sync::Arc;

/// A checked name: UTF-8 of at most [`NAME_BYTES_MAX`] bytes without NUL. The empty name is a name.
///
/// Names are compared byte by byte on every database: `a` and `a ` and `A` are three names.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Too long for an index of every database.
    #[error("{what} name has {bytes} bytes; shorten it to {NAME_BYTES_MAX} bytes or fewer")]
    TooLong {
        /// What was to be named: user, group or kind.
        what: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// PostgreSQL cannot store NUL in text.
    #[error("{what} name {name:?} contains a NUL character; remove it")]
    Nul {
        /// What was to be named.
        what: &'static str,
        /// The name as it was given.
        name: String,
    },
}

impl Name {
    /// Checks `text` as the name of a `what` (user, group, kind).
    ///
    /// # Errors
    /// [`NameError`] if it is too long or contains NUL.
    pub fn new(what: &'static str, text: &str) -> Result<Self, NameError> {
        Self::shared(what, text.into())
    }

    /// The same of a text that others share.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn shared(what: &'static str, text: Arc<str>) -> Result<Self, NameError> {
        if text.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong {
                what,
                bytes: text.len(),
            });
        }
        if text.contains('\0') {
            return Err(NameError::Nul {
                what,
                name: text.to_string(),
            });
        }
        Ok(Self(text))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_unicode_but_nul_is_a_name_up_to_the_bound() {
        for text in ["", "a ", "O'Hara \"%_\\", "🦀", &"x".repeat(NAME_BYTES_MAX)] {
            assert_eq!(Name::new("user", text).unwrap().as_str(), text);
        }
        assert!(matches!(
            Name::new("user", "a\0"),
            Err(NameError::Nul { .. })
        ));
        let long = Name::new("group", &"é".repeat(128)).unwrap_err();
        assert_eq!(
            long.to_string(),
            "group name has 256 bytes; shorten it to 255 bytes or fewer"
        );
    }
}
