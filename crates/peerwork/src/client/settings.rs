//! What is set for groups, users and kinds: limits, starts per second, weights and gates, changed while everything runs.

use super::Client;
use crate::{Error, Result};
use peerwork_core::policy::{Policies, UnknownPolicy};
use peerwork_core::{Name, NameError, Ramp, Rate, Scope, SettingChange, Timestamp};
use peerwork_store::{Config, Hint};
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::{Duration, SystemTime};

/// Changes of what is set for one group, user or kind. Await it to have them carried out, all of them or, on an error, none.
///
/// The answer comes when what the changes forbid is in force on all nodes, at most three seconds later: from then on nothing is claimed
/// that they forbid. What they allow (an opened gate, a limit taken back, a weight) is answered at once, and followed within a second. No node is restarted for it, and nothing that runs is ended. Dropping the future abandons the answer, not the changes.
///
/// # Errors
/// [`is_invalid`](Error::is_invalid) for a name, a number or a time that makes no sense, and beyond ten thousand settings.
#[must_use = "nothing changes before it is awaited"]
pub struct Adjustment {
    client: Client,
    scope: Result<Scope, NameError>,
    changes: Vec<SettingChange>,
    /// What is wrong with the changes.
    mistake: Option<String>,
}

impl Client {
    /// What is set for the tasks in a group.
    pub fn group(&self, group: &str) -> Adjustment {
        self.adjust(Name::new("group", group).map(Scope::Group))
    }

    /// What is set for a user's tasks, in whatever group.
    pub fn user(&self, user: &str) -> Adjustment {
        self.adjust(Name::new("user", user).map(Scope::User))
    }

    /// What is set for a user's tasks in one group.
    pub fn user_in(&self, group: &str, user: &str) -> Adjustment {
        let scope = Name::new("group", group).and_then(|group| {
            let user = Name::new("user", user)?;
            Ok(Scope::UserIn { group, user })
        });
        self.adjust(scope)
    }

    /// What is set for the tasks of a kind.
    pub fn kind(&self, kind: &str) -> Adjustment {
        self.adjust(Name::new("kind", kind).map(Scope::Kind))
    }

    /// What is set for all tasks: a gate, or starts per second.
    pub fn everything(&self) -> Adjustment {
        self.adjust(Ok(Scope::Everything))
    }

    /// What is set for this scope.
    pub fn scope_of(&self, scope: Scope) -> Adjustment {
        self.adjust(Ok(scope))
    }

    fn adjust(&self, scope: Result<Scope, NameError>) -> Adjustment {
        Adjustment {
            client: self.clone(),
            scope,
            changes: Vec::new(),
            mistake: None,
        }
    }

    /// Chooses the policy of all nodes, by the text of a [built-in one](crate::policy::Policies) or by the
    /// [name](crate::NodeBuilder::named_policy) that nodes know one of your own by; none: each node has its own again.
    ///
    /// Nodes follow within a second or two, without a restart. A node that does not know the name keeps its own policy, and logs a
    /// warning. Dropping the future abandons the answer, not the choice.
    ///
    /// # Errors
    /// [`is_invalid`](Error::is_invalid) for a built-in policy with a setting that it does not take, and for an empty or too long name.
    pub async fn choose_policy(&self, policy: Option<&str>) -> Result<()> {
        if self.user.is_some() {
            return Err(Error::invalid(
                "choose a policy: this client is limited to one user's tasks; use one without that limit".to_owned(),
            ));
        }
        if let Some(text) = policy {
            let name = Name::new("policy", text)?;
            if name.as_str().is_empty() {
                return Err(Error::invalid(
                    "choose a policy: it has no name; to have none, give none".to_owned(),
                ));
            }
            // A name that is not built in may be known to nodes.
            if let Err(error @ UnknownPolicy::Setting { .. }) = Policies::default().find(text) {
                return Err(Error::invalid(format!("choose a policy: {error}")));
            }
        }
        self.inner
            .store
            .set_policy(policy.map(str::to_owned))
            .await?;
        self.inner.hub.tell(Hint::ALL);
        Ok(())
    }

    /// All that is set.
    ///
    /// # Errors
    /// If the database cannot be asked. [`is_invalid`](Error::is_invalid) for a client that is limited to one user's tasks: it is about
    /// everybody.
    pub async fn settings(&self) -> Result<Config> {
        if self.user.is_some() {
            return Err(Error::invalid(
                "read the settings: this client is limited to one user's tasks; use one without that limit",
            ));
        }
        Ok(self.inner.store.config().await?)
    }
}

impl Adjustment {
    /// At most so many of these tasks run at once in the whole cluster. What runs already counts; lowering a limit ends nothing.
    pub fn limit(self, tasks: u32) -> Self {
        self.and(SettingChange::MaxRunning(Some(tasks)))
    }

    /// Takes the limit back.
    pub fn without_limit(self) -> Self {
        self.and(SettingChange::MaxRunning(None))
    }

    /// At most so many of these tasks run at once on each node.
    pub fn limit_per_node(self, tasks: u32) -> Self {
        self.and(SettingChange::MaxRunningPerNode(Some(tasks)))
    }

    /// Takes the limit of each node back.
    pub fn without_limit_per_node(self) -> Self {
        self.and(SettingChange::MaxRunningPerNode(None))
    }

    /// At most so many of these tasks start a second, on average; a second's worth may start at once after a quiet time, or as many as
    /// [`burst`](Self::burst) says.
    pub fn starts_per_second(mut self, starts: f64) -> Self {
        let burst = starts.ceil().clamp(1.0, f64::from(Rate::BURST_MAX)) as u32;
        match Rate::per_second(starts, burst) {
            Ok(rate) => self.and(SettingChange::Starts(Some(rate))),
            Err(mistake) => {
                self.mistake.get_or_insert(mistake);
                self
            }
        }
    }

    /// How many may start at once after a quiet time. Comes after [`starts_per_second`](Self::starts_per_second).
    pub fn burst(mut self, starts: u32) -> Self {
        match self.changes.last_mut() {
            Some(SettingChange::Starts(Some(rate))) => rate.burst = starts,
            _ => self.misses("burst", "starts_per_second"),
        }
        self
    }

    /// Takes the limit of starts per second back.
    pub fn without_rate(self) -> Self {
        self.and(SettingChange::Starts(None))
    }

    /// The share for a policy that weighs; 1, if it is not set.
    pub fn weight(self, weight: u32) -> Self {
        self.and(SettingChange::Weight(Some(weight)))
    }

    /// Closes the gate: none of these tasks is started, however many there are, until it is [opened](Self::open). What runs goes on,
    /// unless it is [asked to pause](Self::pausing).
    pub fn gate(self, reason: impl Into<String>) -> Self {
        self.and(SettingChange::Close {
            reason: reason.into(),
            by: None,
            until: None,
            pauses: false,
            ramp: None,
        })
    }

    /// Who closes it. Comes after [`gate`](Self::gate).
    pub fn by(mut self, who: impl Into<String>) -> Self {
        match self.changes.last_mut() {
            Some(SettingChange::Close { by, .. }) => *by = Some(who.into()),
            _ => self.misses("by", "gate"),
        }
        self
    }

    /// When it opens by itself. Comes after [`gate`](Self::gate).
    pub fn until(mut self, at: SystemTime) -> Self {
        match self.changes.last_mut() {
            Some(SettingChange::Close { until, .. }) => *until = Some(Timestamp::from(at)),
            _ => self.misses("until", "gate"),
        }
        self
    }

    /// Asks what runs to stop ([`Reason::Gate`](crate::Reason::Gate)); it resumes by itself, from its checkpoint, when the gate is
    /// open. Comes after [`gate`](Self::gate).
    pub fn pausing(mut self) -> Self {
        match self.changes.last_mut() {
            Some(SettingChange::Close { pauses, .. }) => *pauses = true,
            _ => self.misses("pausing", "gate"),
        }
        self
    }

    /// Lets at most so many tasks start a second for a while once it opens. Comes after [`gate`](Self::gate).
    pub fn ramp(mut self, starts_per_second: f64, lasts: Duration) -> Self {
        // A tenth of a second's worth at once: a ramp is to be even.
        let burst = (starts_per_second / 10.0).clamp(1.0, f64::from(Rate::BURST_MAX)) as u32;
        let ms = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
        match (
            self.changes.last_mut(),
            Rate::per_second(starts_per_second, burst),
        ) {
            (Some(SettingChange::Close { ramp, .. }), Ok(rate)) => *ramp = Some(Ramp { rate, ms }),
            (Some(SettingChange::Close { .. }), Err(mistake)) => {
                self.mistake.get_or_insert(mistake);
            }
            _ => self.misses("ramp", "gate"),
        }
        self
    }

    /// Opens the gate. What waited behind it starts at once, or as its [ramp](Self::ramp) says.
    pub fn open(self) -> Self {
        self.and(SettingChange::Open)
    }

    /// Takes everything back that is set here.
    pub fn clear(self) -> Self {
        self.and(SettingChange::Clear)
    }

    fn and(mut self, change: SettingChange) -> Self {
        self.changes.push(change);
        self
    }

    fn misses(&mut self, what: &str, first: &str) {
        let mistake = format!("{what}(..) belongs to {first}(..): call that just before it");
        self.mistake.get_or_insert(mistake);
    }

    async fn carry_out(self) -> Result<()> {
        let scope = self.scope?;
        if self.client.user.is_some() {
            return Err(Error::invalid(format!(
                "set {scope}: this client is limited to one user's tasks; settings are for a client without that limit"
            )));
        }
        if let Some(mistake) = self.mistake {
            return Err(Error::invalid(format!("set {scope}: {mistake}")));
        }
        let inner = &self.client.inner;
        let forbids = self.changes.iter().any(forbids);
        let applied = inner.store.set(scope.clone(), self.changes).await?;
        inner.hub.tell(Hint::ALL);
        if forbids && applied.settles_in_ms > 0 {
            let settles_at = inner.env.now().plus_ms(applied.settles_in_ms);
            inner.env.sleep_until(settles_at).await;
            inner.store.settle(scope).await?;
        }
        Ok(())
    }
}

/// Whether a claim may not do any more after this what it might before.
fn forbids(change: &SettingChange) -> bool {
    match change {
        SettingChange::MaxRunning(to) | SettingChange::MaxRunningPerNode(to) => to.is_some(),
        SettingChange::Starts(to) => to.is_some(),
        SettingChange::Close { .. } => true,
        SettingChange::Weight(_) | SettingChange::Open | SettingChange::Clear => false,
    }
}

impl IntoFuture for Adjustment {
    type Output = Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.carry_out())
    }
}
