//! What can be set for a scope, and how it is changed.

use super::{Rate, Scope};
use crate::{ERROR_BYTES_MAX, Timestamp};
use serde::{Deserialize, Serialize};

/// The largest weight: beyond it shares are too small to be told apart.
pub const WEIGHT_MAX: u32 = 10_000;

/// What is set for a scope. Nothing, by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Setting {
    /// Tasks that run at once in the whole cluster. Pausing ones count, cleanups do not.
    pub max_running: Option<u32>,
    /// Tasks that run at once on one node.
    pub max_running_per_node: Option<u32>,
    /// Starts per second.
    pub starts: Option<Rate>,
    /// The share for a policy that weighs; 1, if it is not set.
    pub weight: Option<u32>,
    /// Nothing starts while it is closed.
    pub gate: Option<Gate>,
}

/// A gate: nothing of its scope is claimed while it is closed, however many tasks there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// Why it was closed.
    pub reason: String,
    /// Who closed it, if they said.
    pub by: Option<String>,
    /// When.
    pub since: Timestamp,
    /// When it opens by itself, or was opened.
    pub until: Option<Timestamp>,
    /// Whether what runs is asked to stop; it resumes by itself once the gate is open.
    pub pauses: bool,
    /// How it opens.
    pub ramp: Option<Ramp>,
}

/// How a gate opens: not at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ramp {
    /// At most so many starts ..
    pub rate: Rate,
    /// .. for so long, in milliseconds.
    pub ms: u64,
}

impl Setting {
    /// Whether it may keep a claim from anything. What only weighs does not.
    pub(super) fn binds(&self) -> bool {
        let Self {
            max_running,
            max_running_per_node,
            starts,
            weight: _,
            gate,
        } = self;
        max_running.is_some()
            || max_running_per_node.is_some()
            || starts.is_some()
            || gate.is_some()
    }

    /// What stands for one that cannot be read, of a later version say: a closed gate, so that nothing passes what it may forbid.
    pub fn unreadable() -> Self {
        let gate = Gate {
            reason: "what is set here cannot be read by this version; upgrade it, or clear it"
                .to_owned(),
            by: None,
            since: Timestamp(0),
            until: None,
            pauses: false,
            ramp: None,
        };
        Self {
            gate: Some(gate),
            ..Self::default()
        }
    }
}

impl Gate {
    /// Whether nothing passes at `now`.
    pub fn is_closed(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// The rate while it has just been opened.
    fn ramp_at(&self, now: Timestamp) -> Option<Rate> {
        let (ramp, until) = (self.ramp?, self.until?);
        (until <= now && now < until.plus_ms(ramp.ms)).then_some(ramp.rate)
    }

    fn is_over(&self, now: Timestamp) -> bool {
        !self.is_closed(now) && self.ramp_at(now).is_none()
    }
}

/// A change of what is set for a scope; none takes something back.
#[derive(Clone, Debug, PartialEq)]
pub enum SettingChange {
    /// Sets [`Setting::max_running`].
    MaxRunning(Option<u32>),
    /// Sets [`Setting::max_running_per_node`].
    MaxRunningPerNode(Option<u32>),
    /// Sets [`Setting::starts`].
    Starts(Option<Rate>),
    /// Sets [`Setting::weight`].
    Weight(Option<u32>),
    /// Closes the gate, or closes it anew.
    Close {
        /// Why.
        reason: String,
        /// Who.
        by: Option<String>,
        /// When it opens by itself; it has to be later than now.
        until: Option<Timestamp>,
        /// Whether what runs is asked to stop.
        pauses: bool,
        /// How it opens.
        ramp: Option<Ramp>,
    },
    /// Opens the gate, if it is closed.
    Open,
    /// Takes everything back.
    Clear,
}

impl Setting {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The gate, while it is closed.
    pub fn closed(&self, now: Timestamp) -> Option<&Gate> {
        self.gate.as_ref().filter(|gate| gate.is_closed(now))
    }

    /// The rate in force: that of starts, or of a gate that has just been opened, or the slower of both.
    pub fn rate_at(&self, now: Timestamp) -> Option<Rate> {
        let ramp = self.gate.as_ref().and_then(|gate| gate.ramp_at(now));
        match (self.starts, ramp) {
            (Some(starts), Some(ramp)) => Some(starts.min(ramp)),
            (starts, ramp) => starts.or(ramp),
        }
    }

    /// Whether claims have to ask the database how much room there is.
    pub fn is_shared(&self, now: Timestamp) -> bool {
        self.max_running.is_some() || self.rate_at(now).is_some()
    }

    /// Carries out a change at `now`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn change(
        &mut self,
        scope: &Scope,
        change: SettingChange,
        now: Timestamp,
    ) -> Result<(), String> {
        match change {
            SettingChange::MaxRunning(Some(_)) | SettingChange::MaxRunningPerNode(Some(_))
                if *scope == Scope::Everything =>
            {
                return Err(
                    "everything that runs is limited by the nodes' slots; set a limit for a group, a user or a kind"
                        .to_owned(),
                );
            }
            SettingChange::MaxRunning(to) => self.max_running = to,
            SettingChange::MaxRunningPerNode(to) => self.max_running_per_node = to,
            SettingChange::Starts(to) => {
                to.map_or(Ok(()), Rate::check)?;
                self.starts = to;
            }
            SettingChange::Weight(Some(0)) => {
                return Err(
                    "a weight of 0 would starve it; close its gate, or choose 1 or more".to_owned(),
                );
            }
            SettingChange::Weight(Some(weight)) if weight > WEIGHT_MAX => {
                return Err(format!(
                    "a weight of {weight}; shares are ratios: choose 1 to {WEIGHT_MAX}"
                ));
            }
            SettingChange::Weight(Some(_)) if !may_weigh(scope) => {
                return Err(format!(
                    "a weight is for a group or a user, not for {scope}"
                ));
            }
            SettingChange::Weight(to) => self.weight = to,
            SettingChange::Close {
                reason,
                by,
                until,
                pauses,
                ramp,
            } => {
                if until.is_some_and(|until| until <= now) {
                    return Err("the gate's end is over already; name a later time".to_owned());
                }
                ramp.map_or(Ok(()), |ramp| ramp.rate.check())?;
                for text in [Some(&reason), by.as_ref()].into_iter().flatten() {
                    check_text(text)?;
                }
                self.gate = Some(Gate {
                    reason,
                    by,
                    since: now,
                    until,
                    pauses,
                    ramp,
                });
            }
            SettingChange::Open => {
                if let Some(gate) = self.gate.as_mut().filter(|gate| gate.is_closed(now)) {
                    gate.until = Some(now);
                }
            }
            SettingChange::Clear => *self = Self::default(),
        }
        if self.gate.as_ref().is_some_and(|gate| gate.is_over(now)) {
            self.gate = None;
        }
        Ok(())
    }
}

fn may_weigh(scope: &Scope) -> bool {
    match scope {
        Scope::Group(_) | Scope::User(_) => true,
        Scope::Everything | Scope::Kind(_) | Scope::UserIn { .. } => false,
    }
}

fn check_text(text: &str) -> Result<(), String> {
    if text.len() > ERROR_BYTES_MAX {
        return Err(format!(
            "a text of {} bytes; say it in {ERROR_BYTES_MAX} or fewer",
            text.len()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Name;

    const NOW: Timestamp = Timestamp(1_780_000_000_000_000);

    fn group() -> Scope {
        Scope::Group(Name::new("group", "maths").unwrap())
    }

    fn close(until: Option<Timestamp>, ramp: Option<Ramp>) -> SettingChange {
        SettingChange::Close {
            reason: "the disk is full".to_owned(),
            by: None,
            until,
            pauses: false,
            ramp,
        }
    }

    fn after(changes: &[SettingChange]) -> Setting {
        let mut setting = Setting::default();
        for change in changes {
            setting.change(&group(), change.clone(), NOW).unwrap();
        }
        setting
    }

    #[test]
    fn a_change_leaves_the_rest_as_it_is() {
        let setting = after(&[
            SettingChange::MaxRunning(Some(5)),
            SettingChange::Weight(Some(3)),
            close(None, None),
        ]);
        assert_eq!((setting.max_running, setting.weight), (Some(5), Some(3)));
        assert!(setting.closed(NOW.plus_ms(1 << 40)).is_some());
        let opened = after(&[
            SettingChange::MaxRunning(Some(5)),
            close(None, None),
            SettingChange::Open,
        ]);
        assert_eq!((opened.max_running, opened.gate), (Some(5), None));
        assert!(after(&[SettingChange::MaxRunning(Some(5)), SettingChange::Clear]).is_empty());
    }

    #[test]
    fn a_gate_opens_by_itself_at_its_end() {
        let until = NOW.plus_ms(1_000);
        let setting = after(&[close(Some(until), None)]);
        assert!(setting.closed(NOW.plus_ms(999)).is_some());
        assert!(setting.closed(until).is_none());
        assert!(!setting.is_shared(until));
    }

    #[test]
    fn a_gate_that_opens_on_a_ramp_lets_only_so_many_start_for_a_while() {
        let rate = Rate {
            per_1000_s: 2_000,
            burst: 1,
        };
        let ramp = Some(Ramp { rate, ms: 500 });
        let by_itself = after(&[close(Some(NOW.plus_ms(100)), ramp)]);
        assert_eq!(by_itself.rate_at(NOW), None, "it is closed");
        assert_eq!(by_itself.rate_at(NOW.plus_ms(100)), Some(rate));
        assert_eq!(by_itself.rate_at(NOW.plus_ms(600)), None);
        let opened = after(&[close(None, ramp), SettingChange::Open]);
        assert_eq!(opened.rate_at(NOW), Some(rate));
        let starts = Rate {
            per_1000_s: 1_000,
            burst: 9,
        };
        let both = after(&[
            SettingChange::Starts(Some(starts)),
            close(None, ramp),
            SettingChange::Open,
        ]);
        let slower = Rate {
            per_1000_s: 1_000,
            burst: 1,
        };
        assert_eq!(both.rate_at(NOW), Some(slower));
        assert_eq!(both.rate_at(NOW.plus_ms(500)), Some(starts));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused =
            |scope: Scope, change| Setting::default().change(&scope, change, NOW).is_err();
        assert!(refused(
            Scope::Everything,
            SettingChange::MaxRunning(Some(1))
        ));
        assert!(refused(Scope::Everything, SettingChange::Weight(Some(1))));
        assert!(refused(group(), SettingChange::Weight(Some(0))));
        assert!(refused(group(), close(Some(NOW), None)));
        let rate = Rate {
            per_1000_s: 0,
            burst: 1,
        };
        assert!(refused(group(), SettingChange::Starts(Some(rate))));
        assert!(!refused(Scope::Everything, close(None, None)));
    }
}
