//! Group commit: what many callers hand in at once is written together.
//!
//! Self-clocked: the next batch is flushed when the last flush has returned, so an idle batcher adds no delay and a
//! busy one batches by itself. A permanent error is narrowed down to the items that caused it.

use crate::Env;
use futures_util::future::join;
use peerwork_core::{BATCH_BYTES_MAX, BATCH_MAX};
use peerwork_store::{Error, ErrorKind, Result};
use std::future::Future;
use std::pin::Pin;
use tokio::sync::{mpsc, oneshot};

type Flush<T, R> =
    dyn Fn(Vec<T>) -> Pin<Box<dyn Future<Output = Result<Vec<R>>> + Send>> + Send + Sync;

/// Items that wait at most: then callers wait for room.
const WAITING_MAX: usize = 4 * BATCH_MAX;

/// Collects items of many callers into batches.
pub(crate) struct Batcher<T, R> {
    sender: mpsc::Sender<Entry<T, R>>,
}

struct Entry<T, R> {
    item: T,
    answer: Answer<T, R>,
}

/// Who is told what came of an item.
enum Answer<T, R> {
    Waiter(oneshot::Sender<Result<R>>),
    Handler(Box<dyn FnOnce(T, Result<R>) + Send>),
}

impl<T, R> Entry<T, R> {
    fn tell(self, answer: Result<R>) {
        match self.answer {
            // It may have stopped waiting.
            Answer::Waiter(waiter) => drop(waiter.send(answer)),
            Answer::Handler(handler) => handler(self.item, answer),
        }
    }
}

/// Room for one item.
pub(crate) struct Room<'a, T, R>(mpsc::Permit<'a, Entry<T, R>>);

impl<T, R> Room<'_, T, R> {
    /// Hands the item in; `then` gets it back with its answer, from whoever writes the batch: it must be quick. It is not told if the
    /// runtime stops.
    pub fn submit(self, item: T, then: impl FnOnce(T, Result<R>) + Send + 'static) {
        let answer = Answer::Handler(Box::new(then));
        self.0.send(Entry { item, answer });
    }
}

impl<T, R> Clone for Batcher<T, R> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
        }
    }
}

impl<T: Clone + Send + 'static, R: Send + 'static> Batcher<T, R> {
    /// Starts a batcher on the current runtime. It ends when the last handle is dropped and everything is flushed.
    /// `bytes` is the payload of an item.
    pub fn start<F, Fut>(env: &Env, bytes: fn(&T) -> usize, flush: F) -> Self
    where
        F: Fn(Vec<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<R>>> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let flush: Box<Flush<T, R>> = Box::new(move |items| Box::pin(flush(items)));
        tokio::spawn(env.contain(run(receiver, bytes, flush)));
        Self { sender }
    }

    /// Hands in an item and waits for its own answer.
    ///
    /// Dropping the future abandons the answer; the item is written all the same.
    pub async fn submit(&self, item: T) -> Result<R> {
        let gone = || {
            Error::new(
                ErrorKind::Transient,
                "the runtime of this client or node has stopped; make a new one",
            )
        };
        let (answer, receiver) = oneshot::channel();
        let answer = Answer::Waiter(answer);
        self.sender
            .send(Entry { item, answer })
            .await
            .map_err(|_| gone())?;
        receiver.await.map_err(|_| gone())?
    }

    /// Waits for room. None if the runtime has stopped.
    ///
    /// Cancel safe.
    pub async fn room(&self) -> Option<Room<'_, T, R>> {
        self.sender.reserve().await.ok().map(Room)
    }

    /// Room, if there is some.
    pub fn try_room(&self) -> Option<Room<'_, T, R>> {
        self.sender.try_reserve().ok().map(Room)
    }
}

async fn run<T: Clone + Send + 'static, R: Send + 'static>(
    receiver: mpsc::Receiver<Entry<T, R>>,
    bytes: fn(&T) -> usize,
    flush: Box<Flush<T, R>>,
) {
    let mut queue = Queue {
        receiver,
        bytes,
        left_over: None,
    };
    let mut answered = Vec::new();
    loop {
        // What waits is on its way before those of the last batch are told: the database need not wait for that.
        let batch = match queue.waiting() {
            Some(batch) => batch,
            None => {
                tell(&mut answered);
                match queue.next().await {
                    Some(batch) => batch,
                    None => return,
                }
            }
        };
        let told = async { tell(&mut answered) };
        (answered, ()) = join(flush_all(batch, &flush), told).await;
    }
}

fn tell<T, R>(answered: &mut Answered<T, R>) {
    for (entry, answer) in answered.drain(..) {
        entry.tell(answer);
    }
}

/// What is still to be written.
struct Queue<T, R> {
    receiver: mpsc::Receiver<Entry<T, R>>,
    bytes: fn(&T) -> usize,
    left_over: Option<Entry<T, R>>,
}

impl<T, R> Queue<T, R> {
    /// The next batch; none, if nobody will hand anything in any more.
    async fn next(&mut self) -> Option<Vec<Entry<T, R>>> {
        let first = self.receiver.recv().await?;
        Some(self.batch(first))
    }

    /// A batch of what is there already.
    fn waiting(&mut self) -> Option<Vec<Entry<T, R>>> {
        let first = self.left_over.take();
        let first = first.or_else(|| self.receiver.try_recv().ok())?;
        Some(self.batch(first))
    }

    fn batch(&mut self, first: Entry<T, R>) -> Vec<Entry<T, R>> {
        let mut size = (self.bytes)(&first.item);
        let mut batch = vec![first];
        while batch.len() < BATCH_MAX {
            let Ok(entry) = self.receiver.try_recv() else {
                break;
            };
            size += (self.bytes)(&entry.item);
            if size > BATCH_BYTES_MAX {
                self.left_over = Some(entry);
                break;
            }
            batch.push(entry);
        }
        batch
    }
}

type Answered<T, R> = Vec<(Entry<T, R>, Result<R>)>;

/// Flushes `batch`; after a permanent error its halves, down to single items.
async fn flush_all<T: Clone + 'static, R: 'static>(
    batch: Vec<Entry<T, R>>,
    flush: &Flush<T, R>,
) -> Answered<T, R> {
    let mut answered = Vec::with_capacity(batch.len());
    let mut rest = vec![batch];
    while let Some(mut batch) = rest.pop() {
        let items = batch.iter().map(|entry| entry.item.clone()).collect();
        match flush(items).await {
            Ok(answers) => answered.extend(batch.into_iter().zip(answers.into_iter().map(Ok))),
            Err(error) if batch.len() > 1 && !error.is_transient() => {
                let second = batch.split_off(batch.len() / 2);
                rest.push(second);
                rest.push(batch);
            }
            Err(error) => {
                let again = || Error::new(error.kind(), error.to_string());
                answered.extend(batch.into_iter().map(|entry| (entry, Err(again()))));
            }
        }
    }
    answered
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[tokio::test]
    async fn callers_share_batches_and_get_their_own_answers() {
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let seen = sizes.clone();
        let batcher = Batcher::start(
            &Env::system(),
            |_: &u32| 0,
            move |items: Vec<u32>| {
                seen.lock().unwrap().push(items.len());
                async move {
                    tokio::task::yield_now().await;
                    Ok(items.into_iter().map(|n| n * 2).collect::<Vec<_>>())
                }
            },
        );
        let calls: Vec<_> = (0..100)
            .map(|n| {
                let b = batcher.clone();
                tokio::spawn(async move { b.submit(n).await.unwrap() })
            })
            .collect();
        for (n, call) in calls.into_iter().enumerate() {
            assert_eq!(call.await.unwrap(), 2 * n as u32);
        }
        let sizes = sizes.lock().unwrap();
        assert_eq!(sizes.iter().sum::<usize>(), 100);
        assert!(sizes.len() < 50, "one flush for many callers: {sizes:?}");
    }

    #[tokio::test]
    async fn one_bad_item_fails_alone() {
        let batcher = Batcher::start(
            &Env::system(),
            |_: &u32| 0,
            |items: Vec<u32>| async move {
                if items.contains(&13) {
                    return Err(Error::new(ErrorKind::Permanent, "unlucky"));
                }
                Ok(items)
            },
        );
        let calls: Vec<_> = (0..40)
            .map(|n| {
                let b = batcher.clone();
                tokio::spawn(async move { b.submit(n).await })
            })
            .collect();
        for (n, call) in calls.into_iter().enumerate() {
            assert_eq!(call.await.unwrap().is_ok(), n != 13, "{n}");
        }
    }

    #[tokio::test]
    async fn a_batch_is_bounded_in_bytes_and_a_large_item_goes_alone() {
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let seen = sizes.clone();
        let batcher = Batcher::start(
            &Env::system(),
            |bytes: &usize| *bytes,
            move |items: Vec<usize>| {
                seen.lock().unwrap().push(items.iter().sum::<usize>());
                async move { Ok(items) }
            },
        );
        let calls: Vec<_> = [
            10,
            BATCH_BYTES_MAX / 2,
            BATCH_BYTES_MAX / 2,
            4 * BATCH_BYTES_MAX,
            10,
        ]
        .map(|n| {
            let b = batcher.clone();
            tokio::spawn(async move { b.submit(n).await.unwrap() })
        })
        .into_iter()
        .collect();
        for call in calls {
            call.await.unwrap();
        }
        let sizes = sizes.lock().unwrap();
        assert!(
            sizes
                .iter()
                .all(|size| *size <= BATCH_BYTES_MAX || *size == 4 * BATCH_BYTES_MAX),
            "{sizes:?}"
        );
    }
}
