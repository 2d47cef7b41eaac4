//! The kinds of a node: handlers with their types erased, each turning a claimed task into a future and its end.

use super::Core;
use crate::run::Control;
use crate::task_error::Cause;
use crate::{Error, Handler, Result, Run, TaskError, payload};
use futures_util::FutureExt;
use peerwork_core::{KindKey, Name, Rules, Work};
use peerwork_store::Claimed;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

/// How a handler's future ended.
pub(crate) type Outcome = Result<Option<Vec<u8>>, TaskError>;

type Execution = Pin<Box<dyn Future<Output = Outcome> + Send>>;
type Start = dyn Fn(Arc<Core>, Arc<Control>, Claimed) -> Execution + Send + Sync;

/// One kind.
pub(crate) struct Entry {
    key: KindKey,
    name: Name,
    pub rules: Rules,
    start: Box<Start>,
}

impl Entry {
    /// The future of one run, or of one cleanup. A panic in it is a failure with the panic's text.
    pub fn start(&self, core: Arc<Core>, control: Arc<Control>, claimed: Claimed) -> Execution {
        (self.start)(core, control, claimed)
    }
}

/// All kinds of a node.
#[derive(Default)]
pub(crate) struct Registry {
    kinds: BTreeMap<Name, Arc<Entry>>,
    /// The first thing that was wrong; a builder reports it when the node starts.
    wrong: Option<String>,
}

impl Registry {
    /// Adds a kind whose handler `make` makes for each run.
    pub fn add<H: Handler>(
        &mut self,
        rules: Rules,
        make: impl Fn() -> Result<Arc<H>, TaskError> + Send + Sync + 'static,
    ) {
        let start = move |core, control, claimed| {
            let handler = std::panic::catch_unwind(AssertUnwindSafe(&make))
                .unwrap_or_else(|panic| Err(panicked(panic)));
            caught(async move { execute::<H>(handler?, core, control, claimed).await })
        };
        self.insert(H::KIND, rules, Box::new(start));
    }

    /// Adds a kind that is an async function.
    pub fn add_function<I, O, F, Fut>(&mut self, kind: &str, function: F)
    where
        I: DeserializeOwned + Send + 'static,
        O: Serialize + Send + 'static,
        F: Fn(I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, TaskError>> + Send + 'static,
    {
        let (name, function) = (kind.to_owned(), Arc::new(function));
        let start = move |_: Arc<Core>, _: Arc<Control>, claimed: Claimed| {
            let (name, function) = (name.clone(), function.clone());
            caught(async move {
                if claimed.task.status.work() == Work::Cleanup {
                    return Ok(None);
                }
                let input = payload::decode(&name, "input", &claimed.input)
                    .map_err(TaskError::permanent)?;
                let output = function(input).await?;
                payload::encode(&name, "output", &output)
                    .map(Some)
                    .map_err(TaskError::permanent)
            })
        };
        self.insert(
            kind,
            Rules {
                cleanup: false,
                ..Rules::default()
            },
            Box::new(start),
        );
    }

    fn insert(&mut self, kind: &str, rules: Rules, start: Box<Start>) {
        let name = match Name::new("kind", kind) {
            Ok(name) => name,
            Err(error) => {
                self.wrong.get_or_insert(error.to_string());
                return;
            }
        };
        let key = KindKey::new(&name);
        let is_taken = self.kinds.values().any(|entry| entry.key == key);
        let entry = Entry {
            key,
            name: name.clone(),
            rules,
            start,
        };
        self.kinds.insert(name, Arc::new(entry));
        if is_taken {
            self.wrong.get_or_insert(format!(
                "kind {kind:?} is registered twice; give each handler a kind of its own"
            ));
        }
    }

    /// # Errors
    /// [`is_invalid`](Error::is_invalid) with the first thing that was wrong.
    pub fn check(&self) -> Result<()> {
        self.wrong
            .as_ref()
            .map_or(Ok(()), |wrong| Err(Error::invalid(wrong)))
    }

    pub fn get(&self, kind: &Name) -> Option<Arc<Entry>> {
        self.kinds.get(kind).cloned()
    }

    pub fn keys(&self) -> Vec<KindKey> {
        self.kinds.values().map(|entry| entry.key).collect()
    }

    pub fn has(&self, kind: KindKey) -> bool {
        self.kinds.values().any(|entry| entry.key == kind)
    }

    pub fn rules(&self) -> Vec<(Name, Rules)> {
        self.kinds
            .values()
            .map(|entry| (entry.name.clone(), entry.rules.clone()))
            .collect()
    }
}

async fn execute<H: Handler>(
    handler: Arc<H>,
    core: Arc<Core>,
    control: Arc<Control>,
    claimed: Claimed,
) -> Outcome {
    // The same bytes will not decode better the next time.
    let permanent = |error: Error| TaskError::permanent(error);
    let input = payload::decode(H::KIND, "input", &claimed.input).map_err(permanent)?;
    if let Some(bytes) = &claimed.checkpoint {
        payload::decode::<H::Checkpoint>(H::KIND, "checkpoint", bytes).map_err(permanent)?;
    }
    let work = claimed.task.status.work();
    let mut run = Run::<H> {
        core,
        control,
        claimed,
        input,
        handler: PhantomData,
    };
    // The bytes have been decoded; a run may last for days.
    run.claimed.input = Vec::new();
    match work {
        Work::Run => {
            let output = handler.run(&mut run).await?;
            payload::encode(H::KIND, "output", &output)
                .map(Some)
                .map_err(permanent)
        }
        Work::Cleanup => match handler.cleanup(&mut run).await {
            Ok(()) => Ok(None),
            Err(TaskError(Cause::Waits(_))) => Err(TaskError::permanent(
                "a cleanup cannot wait for a time or for children",
            )),
            Err(error) => Err(error),
        },
    }
}

/// The future with a panic as its failure.
fn caught(work: impl Future<Output = Outcome> + Send + 'static) -> Execution {
    Box::pin(async move {
        AssertUnwindSafe(work)
            .catch_unwind()
            .await
            .unwrap_or_else(|panic| Err(panicked(panic)))
    })
}

fn panicked(panic: Box<dyn std::any::Any + Send>) -> TaskError {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    TaskError::new(format_args!("panicked: {}", text.unwrap_or("(no text)")))
}
