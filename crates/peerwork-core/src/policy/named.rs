//! Policies by name: what is stored in the database, and switched there.

use super::{Fair, Fifo, Policy, PriorityAgeing, WeightedGroups};
use crate::WEIGHT_MAX;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The built-in policies, and those that were registered.
///
/// | text | policy |
/// | --- | --- |
/// | `fifo` | [`Fifo`] |
/// | `fair` | [`Fair`] |
/// | `weighted-groups`, `weighted-groups=5` | [`WeightedGroups`], with the weight of all groups without one (1) |
/// | `priority-ageing`, `priority-ageing=90s` | [`PriorityAgeing`], with its step (60s); also `ms`, `m`, `h` |
#[derive(Clone, Default)]
pub struct Policies {
    own: BTreeMap<String, Arc<dyn Policy>>,
}

/// Why a text names no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownPolicy {
    /// There is none of this name.
    #[error("there is no policy {name:?}; use one of {known}")]
    Name {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// What follows the name cannot be used.
    #[error("policy {name} does not take {given:?}; write {instead}")]
    Setting {
        /// The policy.
        name: String,
        /// What was given.
        given: String,
        /// What it takes.
        instead: &'static str,
    },
}

const BUILT_IN: [&str; 4] = ["fifo", "fair", "weighted-groups", "priority-ageing"];

impl Policies {
    /// Adds a policy of the user's own. One that has the name already, or is built in, is found no more.
    pub fn register(&mut self, name: impl Into<String>, policy: impl Policy + 'static) {
        self.own
            .insert(name.into().trim().to_owned(), Arc::new(policy));
    }

    /// The policy of this text: its name, and perhaps `=` and a setting.
    ///
    /// # Errors
    /// [`UnknownPolicy`] says what to write instead.
    pub fn find(&self, text: &str) -> Result<Arc<dyn Policy>, UnknownPolicy> {
        let text = text.trim();
        if let Some(own) = self.own.get(text) {
            return Ok(own.clone());
        }
        let (name, setting) = match text.split_once('=') {
            Some((name, setting)) => (name.trim(), Some(setting.trim())),
            None => (text, None),
        };
        let wrong = |instead| UnknownPolicy::Setting {
            name: name.to_owned(),
            given: setting.unwrap_or_default().to_owned(),
            instead,
        };
        match (name, setting) {
            ("fifo", None) => Ok(Arc::new(Fifo)),
            ("fair", None) => Ok(Arc::new(Fair)),
            ("fifo" | "fair", Some(_)) => Err(wrong("its name alone")),
            ("weighted-groups", None) => Ok(Arc::new(WeightedGroups::default())),
            ("weighted-groups", Some(setting)) => match setting.parse() {
                Ok(others) if (1..=WEIGHT_MAX).contains(&others) => {
                    Ok(Arc::new(WeightedGroups::new(others)))
                }
                Ok(_) | Err(_) => Err(wrong("a weight from 1 to 10000, as in weighted-groups=5")),
            },
            ("priority-ageing", None) => Ok(Arc::new(PriorityAgeing::default())),
            ("priority-ageing", Some(setting)) => match milliseconds(setting) {
                Some(step) => Ok(Arc::new(PriorityAgeing::new(step))),
                None => Err(wrong("a time from 1ms to 24h, as in priority-ageing=60s")),
            },
            (_, _) => Err(UnknownPolicy::Name {
                name: name.to_owned(),
                known: self.names().collect::<Vec<_>>().join(", "),
            }),
        }
    }

    /// The names that are found.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        BUILT_IN
            .into_iter()
            .chain(self.own.keys().map(String::as_str))
    }
}

/// `250ms`, `60s`, `5m`, `2h`, if it is a step of ageing.
fn milliseconds(text: &str) -> Option<u64> {
    let unit = text.find(|c: char| !c.is_ascii_digit())?;
    let (count, unit) = text.split_at(unit);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let ms = count.parse::<u64>().ok()?.checked_mul(unit_ms)?;
    (PriorityAgeing::STEP_MS_MIN..=PriorityAgeing::STEP_MS_MAX)
        .contains(&ms)
        .then_some(ms)
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Grant, Lanes};
    use super::*;

    struct Mine;

    impl Policy for Mine {
        fn grant(&self, _lanes: &Lanes<'_>, _free: usize) -> Vec<Grant> {
            Vec::new()
        }
    }

    fn name(text: &str) -> String {
        let policy = Policies::default().find(text);
        policy.map_or_else(|error| error.to_string(), |policy| policy.name().to_owned())
    }

    #[test]
    fn a_built_in_policy_is_found_again_by_the_name_that_it_tells() {
        for text in [
            "fifo",
            "fair",
            "weighted-groups",
            "weighted-groups=5",
            "priority-ageing=60s",
            "priority-ageing=1500ms",
        ] {
            assert_eq!(name(text), text);
        }
        assert_eq!(name(" priority-ageing "), "priority-ageing=60s");
        assert_eq!(name("priority-ageing = 2m"), "priority-ageing=120s");
        assert_eq!(name("weighted-groups=1"), "weighted-groups");
        for built_in in BUILT_IN {
            assert!(name(built_in).starts_with(built_in));
        }
    }

    #[test]
    fn a_text_that_names_no_policy_is_answered_with_what_to_write() {
        let list =
            "there is no policy \"fare\"; use one of fifo, fair, weighted-groups, priority-ageing";
        assert_eq!(name("fare"), list);
        for (text, part) in [
            ("", "use one of"),
            ("fair=2", "its name alone"),
            ("weighted-groups=0", "weight from 1"),
            ("weighted-groups=x", "weight from 1"),
            ("priority-ageing=60", "60s"),
            ("priority-ageing=0s", "60s"),
            ("priority-ageing=25h", "24h"),
            ("priority-ageing=1x", "60s"),
            ("priority-ageing=99999999999999999999s", "60s"),
        ] {
            assert!(name(text).contains(part), "{}", name(text));
        }
    }

    #[test]
    fn a_policy_of_ones_own_is_found_by_the_name_that_it_was_given() {
        let mut policies = Policies::default();
        policies.register("mine=1", Mine);
        assert!(policies.find("mine=1").unwrap().name().ends_with("Mine"));
        let error = policies.find("mine").err().unwrap();
        assert!(error.to_string().ends_with("priority-ageing, mine=1"));
        assert!(format!("{policies:?}").contains("mine=1"));
    }
}
