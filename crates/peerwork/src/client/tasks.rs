//! Many tasks: a filter to list them by, or to steer them all.

use super::Client;
use crate::{Error, Result};
use peerwork_core::{Name, OperationId, PAGE_MAX, State, TaskId};
use peerwork_store::{Cursor, Filter, Page, Tally, TaskRecord, Wish};

/// A filter over tasks. Every condition that is given must hold; without any, all tasks that are not deleted are meant.
#[derive(Clone)]
#[must_use = "a filter does nothing until it is listed or steered"]
pub struct Tasks {
    client: Client,
    filter: Filter,
    after: Option<Cursor>,
    limit: usize,
    /// It asks for a user that is not the client's: no task is both's.
    nobodys: bool,
    operation: Option<OperationId>,
    invalid: Option<String>,
}

impl Tasks {
    /// Tasks on a page, unless [`limit`](Self::limit) says otherwise.
    const LIMIT: usize = 100;

    pub(super) fn new(client: Client) -> Self {
        let filter = Filter {
            user: client.user.clone(),
            ..Filter::default()
        };
        Self {
            client,
            filter,
            after: None,
            limit: Self::LIMIT,
            nobodys: false,
            operation: None,
            invalid: None,
        }
    }

    fn name(&mut self, what: &'static str, text: &str) -> Option<Name> {
        match Name::new(what, text) {
            Ok(name) => Some(name),
            Err(error) => {
                self.invalid.get_or_insert(error.to_string());
                None
            }
        }
    }

    /// Only this user's. A client that is limited to one user sees nothing of another's.
    pub fn user(mut self, user: &str) -> Self {
        let name = self.name("user", user);
        if self.client.user.is_some() && self.client.user != name {
            self.nobodys = true;
        } else {
            self.filter.user = name;
        }
        self
    }

    /// Only those in this group.
    pub fn group(mut self, group: &str) -> Self {
        self.filter.group = self.name("group", group);
        self
    }

    /// Only those of this kind; call it again for several.
    pub fn kind(mut self, kind: &str) -> Self {
        let name = self.name("kind", kind);
        self.filter.kinds.extend(name);
        self
    }

    /// Only those in this state; call it again for several.
    pub fn state(mut self, state: State) -> Self {
        self.filter.states.push(state);
        self
    }

    /// Only those that run now.
    pub fn running(self) -> Self {
        self.state(State::Running)
    }

    /// Only those that are paused.
    pub fn paused(self) -> Self {
        self.state(State::Paused)
    }

    /// Only the children of this task.
    pub fn parent(mut self, parent: TaskId) -> Self {
        self.filter.parent = Some(parent);
        self
    }

    /// Steers them as one operation under an id of the caller's: whoever repeats it with this id within a day gets the same
    /// sums and changes nothing more, also not what has come to match the filter since. An operation that was cut off half
    /// way goes on where it was.
    pub fn operation(mut self, id: OperationId) -> Self {
        self.operation = Some(id);
        self
    }

    /// At most so many on a page; at most 1,000, by default 100.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit.clamp(1, PAGE_MAX);
        self
    }

    /// The page after the one that ended with this cursor.
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.after = Some(cursor);
        self
    }

    fn checked(self) -> Result<Self> {
        match self.invalid {
            Some(message) => Err(Error::invalid(message)),
            None => Ok(self),
        }
    }

    /// One page, newest first, stable while others create tasks.
    ///
    /// # Errors
    /// [`is_invalid`](Error::is_invalid) if a name in the filter is none.
    pub async fn list(self) -> Result<Page> {
        let this = self.checked()?;
        if this.nobodys {
            return Ok(Page::default());
        }
        Ok(this
            .client
            .inner
            .store
            .list(this.filter, this.after, this.limit)
            .await?)
    }

    /// All pages, one after the other: for tests and small numbers.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub async fn all(self) -> Result<Vec<TaskRecord>> {
        let mut all = Vec::new();
        let mut query = self.limit(PAGE_MAX);
        loop {
            let page = query.clone().list().await?;
            all.extend(page.tasks);
            match page.next {
                Some(next) => query = query.after(next),
                None => return Ok(all),
            }
        }
    }

    /// Runs them now.
    ///
    /// # Errors
    /// As [`list`](Self::list). What was done before an error stays done; repeat the call for the rest.
    pub async fn run(self) -> Result<Tally> {
        self.steer(Wish::Run).await
    }

    /// Takes their pauses back.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn resume(self) -> Result<Tally> {
        self.steer(Wish::Resume).await
    }

    /// Pauses them.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn pause(self) -> Result<Tally> {
        self.steer(Wish::Pause).await
    }

    /// Deletes them, with the cleanups of their kinds.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn delete(self) -> Result<Tally> {
        self.steer(Wish::Delete).await
    }

    /// Deletes them without waiting for cleanups that are queued, running or failed.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn force_delete(self) -> Result<Tally> {
        self.steer(Wish::ForceDelete).await
    }

    /// Starts the finished and failed ones again, from the beginning.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn rerun(self) -> Result<Tally> {
        self.steer(Wish::Rerun).await
    }

    /// Moves them to another group.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn move_to(mut self, group: &str) -> Result<Tally> {
        match self.name("group", group) {
            Some(name) => self.steer(Wish::MoveTo(name)).await,
            None => self.checked().map(|_| Tally::default()),
        }
    }

    /// Changes their priority.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn set_priority(self, priority: i16) -> Result<Tally> {
        self.steer(Wish::Priority(priority)).await
    }

    /// Steers page by page. Each task is checked against the filter again when it is written, so that one which has
    /// just been moved or finished is left alone.
    async fn steer(self, wish: Wish) -> Result<Tally> {
        let this = self.checked()?;
        if this.nobodys {
            return Ok(Tally::default());
        }
        if let Some(operation) = this.operation {
            let store = this.client.inner.store.clone();
            if let Some(tally) = store.concluded(operation, wish.clone()).await? {
                return Ok(tally);
            }
            let tally = this.steer_pages(&wish).await?;
            store.conclude(operation, wish, tally).await?;
            return Ok(tally);
        }
        this.steer_pages(&wish).await
    }

    async fn steer_pages(self, wish: &Wish) -> Result<Tally> {
        let (client, mut after, mut tally) = (self.client, self.after, Tally::default());
        loop {
            let page = client
                .inner
                .store
                .list(self.filter.clone(), after, PAGE_MAX)
                .await?;
            let ids: Vec<_> = page.tasks.iter().map(|task| task.id).collect();
            if !ids.is_empty() {
                let (filter, wish) = (self.filter.clone(), wish.clone());
                for answer in client.steer(ids, filter, wish, self.operation).await? {
                    tally.count(answer);
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(tally),
            }
        }
    }
}
