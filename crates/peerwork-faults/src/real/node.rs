//! A node process: peerwork's own [`Node`] with the kinds of a run. SIGTERM drains it, SIGUSR1 has the service around it
//! use its pool up.

use super::args::{NodeArgs, URL_VAR};
use super::audit::Dialect;
use super::children;
use super::history::{Journal, What};
use super::shared_pool::SharedPool;
use super::work;
use anyhow::{Context, Result};
use peerwork::{LeaseTimes, Node, Settings};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context as LayerContext, Layer, SubscriberExt};

/// The tightest lease there is, so that much happens in a short run.
pub const LEASE: LeaseTimes = LeaseTimes {
    beat_ms: 600,
    ttl_ms: 3_000,
    margin_ms: 700,
};
/// What it says on its standard output once it claims.
pub const READY: &str = "ready";
/// Address space of a node: far more than it needs, and little enough to be used up at once.
const MEMORY_BYTES: u64 = 6 << 30;
/// Of its runtime.
pub const THREADS: usize = 4;
/// Of a node, where nothing else is asked for.
pub const SLOTS: usize = 16;

/// Runs the node until it is drained, killed, or beyond help.
///
/// # Errors
/// If it cannot start.
pub fn run(args: &NodeArgs) -> Result<()> {
    children::die_with_parent()?;
    bound_memory();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .context("start a runtime")?;
    runtime.block_on(live(args))?;
    // Threads that a task blocks for ever are not waited for.
    runtime.shutdown_background();
    Ok(())
}

async fn live(args: &NodeArgs) -> Result<()> {
    let slots = args.slots;
    let args = &args.child;
    let journal = Journal::open(&args.folder, &args.label)?;
    let subscriber = tracing_subscriber::registry().with(Listener(journal.clone()));
    tracing::subscriber::set_global_default(subscriber).context("listen to the node")?;
    watch_schedule(journal.clone());
    let mut terminated = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut hoards = signal(SignalKind::user_defined1()).context("listen for SIGUSR1")?;
    let url = std::env::var(URL_VAR).context("a node without a database")?;
    let settings = Settings::default().with_prefix(&args.prefix);
    let place = work::Place {
        journal: journal.clone(),
        dialect: Dialect::of_url(&url)?,
        prefix: args.prefix.clone(),
        label: args.label.clone(),
    };
    let pool = SharedPool::new(&url)?;
    let node = loop {
        // The database may be away when a node starts.
        let started = async {
            let builder = Node::builder(pool.database(settings.clone())?)
                .label(&args.label)
                .slots(slots)
                .lease(LEASE)
                .migrate(peerwork::Migrate::Never)
                .drain_deadline(Duration::from_secs(5));
            anyhow::Ok(work::register(builder, &place).start().await?)
        };
        match started.await {
            Ok(node) => break node,
            Err(error) => journal.write(What::Said {
                text: format!("cannot start: {error:#}"),
            }),
        }
        tokio::select! {
            _ = terminated.recv() => return Ok(()),
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
    };
    journal.write(What::Up {
        label: args.label.clone(),
    });
    println!("{READY}");
    let (ask, asked) = mpsc::channel(1);
    let serving = tokio::spawn(pool.serve(asked, journal.clone(), args.label.clone()));
    loop {
        tokio::select! {
            biased;
            _ = terminated.recv() => break,
            // One who is at it already is not asked again.
            _ = hoards.recv() => drop(ask.try_send(())),
        }
    }
    drop(ask);
    let report = node.drain().await;
    serving.await.context("the service around the node")?;
    journal.write(What::Drained {
        handed_over: report.handed_over,
        abandoned: report.abandoned,
    });
    Ok(())
}

/// A task that takes memory without end is to meet a bound soon.
fn bound_memory() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let limit = Rlimit {
        current: Some(MEMORY_BYTES),
        maximum: Some(MEMORY_BYTES),
    };
    // Where it is not allowed, such a task takes address space for longer.
    let _ = setrlimit(Resource::As, limit);
}

/// Writes down when the machine did not let this process run: a beat that is late for that reason is nobody's fault.
fn watch_schedule(journal: Journal) {
    const TICK: Duration = Duration::from_millis(100);
    const STALL: Duration = Duration::from_millis(700);
    std::thread::spawn(move || {
        loop {
            let started = Instant::now();
            std::thread::sleep(TICK);
            let took = started.elapsed();
            if took >= STALL {
                journal.write(What::Stalled {
                    ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                });
            }
        }
    });
}

/// Writes warnings and errors into the history.
struct Listener(Journal);

impl<S: tracing::Subscriber> Layer<S> for Listener {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: LayerContext<'_, S>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }

    fn on_event(&self, event: &tracing::Event<'_>, _: LayerContext<'_, S>) {
        let mut words = Words(String::new());
        event.record(&mut words);
        self.0.write(What::Said { text: words.0 });
    }
}

struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let text = match field.name() {
            "message" => format!("{value:?}"),
            name => format!(" {name}={value:?}"),
        };
        self.0.push_str(&text);
    }
}
