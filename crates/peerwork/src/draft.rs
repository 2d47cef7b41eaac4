//! A task before it is created: the one builder for single, bulk and transactional creates.

use crate::{Error, Handler, Result, TaskKind, Untyped, payload};
use peerwork_core::{Name, TaskId, Timestamp};
use peerwork_store::{NewTask, Options};
use serde::Serialize;
use std::marker::PhantomData;
use std::time::{Duration, SystemTime};

/// A task to create: made by [`Handler::task`] or [`Draft::of_kind`], given to [`Client::create`](crate::Client::create).
///
/// ```
/// # use peerwork::{Draft, Untyped};
/// let draft = Draft::<Untyped>::of_kind("encode", &"film.mov").user("ann").group("films").priority(-1);
/// ```
#[derive(Debug)]
pub struct Draft<H = Untyped> {
    kind: String,
    input: Result<Vec<u8>>,
    user: String,
    group: String,
    priority: i16,
    start: Start,
    options: Options,
    id: Option<TaskId>,
    parent: Option<TaskId>,
    handler: PhantomData<fn() -> H>,
}

#[derive(Clone, Copy, Debug)]
enum Start {
    Now,
    At(SystemTime),
    In(Duration),
    Held,
}

impl Draft<Untyped> {
    /// A task of a kind whose handler this process need not have.
    pub fn of_kind<T: Serialize>(kind: &str, input: &T) -> Self {
        Self::with_input(kind, payload::encode(kind, "input", input))
    }
}

impl<H: Handler> Draft<H> {
    pub(crate) fn new(input: H::Input) -> Self {
        Self::with_input(H::KIND, payload::encode(H::KIND, "input", &input))
    }
}

impl<H: TaskKind> Draft<H> {
    fn with_input(kind: &str, input: Result<Vec<u8>>) -> Self {
        Self {
            kind: kind.to_owned(),
            input,
            user: String::new(),
            group: String::new(),
            priority: 0,
            start: Start::Now,
            options: Options::default(),
            id: None,
            parent: None,
            handler: PhantomData,
        }
    }

    /// Whose task it is; by default the user with the empty name.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = user.into();
        self
    }

    /// The queue it waits in; by default the group with the empty name.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = group.into();
        self
    }

    /// Smaller is sooner; by default 0.
    pub fn priority(mut self, priority: i16) -> Self {
        self.priority = priority;
        self
    }

    /// Not before `at`, by the database's clock.
    pub fn start_at(mut self, at: SystemTime) -> Self {
        self.start = Start::At(at);
        self
    }

    /// Not before `delay` has passed by the database's clock. Costs a look at that clock.
    pub fn start_in(mut self, delay: Duration) -> Self {
        self.start = Start::In(delay);
        self
    }

    /// Only created: it waits for [`run`](crate::TaskHandle::run).
    pub fn hold(mut self) -> Self {
        self.start = Start::Held;
        self
    }

    /// Its record vanishes once it has finished.
    pub fn forget_on_finish(mut self) -> Self {
        self.options.forget_on_finish = true;
        self
    }

    /// Its record vanishes once it has failed for good.
    pub fn forget_on_failure(mut self) -> Self {
        self.options.forget_on_failure = true;
        self
    }

    /// Its id, which makes creating it repeatable; by default a fresh one. Use a random UUID (v7 keeps the index
    /// compact): whoever can guess an id can name the task.
    pub fn id(mut self, id: TaskId) -> Self {
        self.id = Some(id);
        self
    }

    pub(crate) fn child_of(mut self, parent: TaskId, key: &str) -> Self {
        self.parent = Some(parent);
        self.id = Some(parent.child(key));
        self
    }

    /// Whether [`resolve`](Self::resolve) needs the database's time.
    pub(crate) fn needs_now(&self) -> bool {
        matches!(self.start, Start::In(_))
    }

    /// The checked task. `now` is the database's, if it is known.
    pub(crate) fn resolve(
        self,
        new_id: impl FnOnce() -> TaskId,
        now: Option<Timestamp>,
    ) -> Result<NewTask> {
        let due = match self.start {
            Start::Now | Start::Held => None,
            Start::At(at) => Some(Timestamp::from(at)),
            Start::In(delay) => match now {
                Some(now) => {
                    Some(now.plus_ms(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)))
                }
                None => {
                    return Err(Error::invalid(
                        "start_in needs the database's clock; use start_at in a transaction",
                    ));
                }
            },
        };
        Ok(NewTask {
            id: self.id.unwrap_or_else(new_id),
            kind: Name::new("kind", &self.kind)?,
            user: Name::new("user", &self.user)?,
            group: Name::new("group", &self.group)?,
            priority: self.priority,
            start: !matches!(self.start, Start::Held),
            due,
            input: self.input?,
            options: self.options,
            parent: self.parent,
        })
    }
}
