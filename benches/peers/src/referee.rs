//! One measurement of one contender, in a database of its own: timed here, and checked against the database.
//!
//! A contender reports what happens; the clock and the look into the tables are the same for all. A drain is timed from
//! the first line of the first handler to the moment at which the database shows no task without a recorded end.

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use peerwork_testbed::Server;
use postgres::{Client, NoTls};

use crate::figures::Outcome;
use crate::order::{Measure, Order};
use crate::prepare::Program;
use crate::process::{Event, Process};
use crate::roster::Entry;

/// Migrations, and filling the tables with the slowest peer's creates.
const SETUP_LIMIT: Duration = Duration::from_secs(120);
/// To start working; also to say what was counted, after the time is up.
const GRACE: Duration = Duration::from_secs(15);
/// Nobody tells when the last end is recorded. Each look is cheap, and only the last ones of a drain are made.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// One measurement at a time, each in this database.
const DATABASE: &str = "arena";

pub fn measure(
    server: &Server,
    entry: &Entry,
    program: &Program,
    order: &Order,
) -> Result<Outcome> {
    // What a failure left.
    drop_database(server)?;
    let url = server.create_database(DATABASE)?;
    let outcome = play(&url, entry, program, order);
    // Its rows are gone before the next one begins.
    drop_database(server)?;
    outcome
}

fn drop_database(server: &Server) -> Result<()> {
    server.query(&format!("drop database if exists {DATABASE} with (force)"))?;
    Ok(())
}

fn play(url: &str, entry: &Entry, program: &Program, order: &Order) -> Result<Outcome> {
    let mut look = Look::open(url, entry)?;
    for (path, sql) in &program.schema {
        let run = look.client.batch_execute(sql);
        run.with_context(|| format!("run {}", path.display()))?;
    }
    let mut process = Process::start(command(url, program, order))?;
    match process.event_until(Instant::now() + SETUP_LIMIT)? {
        Some((Event::Ready, _)) => {}
        Some((other, _)) => bail!("{other:?} before it was ready"),
        None => bail!("not ready within {SETUP_LIMIT:?}"),
    }
    look.settle()?;
    let started = process.go()?;
    let mut arena = Arena {
        process,
        look,
        started,
        order,
    };
    match order.measure {
        Measure::Create | Measure::Bulk => arena.create(),
        Measure::Drain => arena.drain(),
        Measure::Pickup => arena.pick_up(),
    }
}

fn command(url: &str, program: &Program, order: &Order) -> Command {
    let mut command = program.command();
    command
        .args([order.measure.name(), url, &order.tasks.to_string()])
        .arg(order.measure.limit().as_millis().to_string());
    command
}

struct Arena<'a> {
    process: Process,
    look: Look<'a>,
    started: Instant,
    order: &'a Order,
}

impl Arena<'_> {
    fn create(&mut self) -> Result<Outcome> {
        let deadline = self.started + self.order.measure.limit() + GRACE;
        let Some((Event::Done { tasks, .. }, at)) = self.process.event_until(deadline)? else {
            bail!("it did not create its tasks");
        };
        let unfinished = self.look.unfinished()?;
        ensure!(
            unfinished == i64::from(tasks),
            "{unfinished} of {tasks} tasks are in the database"
        );
        Ok(Outcome::rate(tasks, at - self.started))
    }

    fn drain(&mut self) -> Result<Outcome> {
        let Some((Event::First, first)) = self.process.event_until(self.started + GRACE)? else {
            bail!("it did not start working");
        };
        let tasks = self.order.tasks;
        let deadline = first + self.order.measure.limit();
        let Some((Event::Done { repeats, .. }, _)) = self.process.event_until(deadline)? else {
            return self.drained_so_far(first);
        };
        let Some(recorded) = self.look.recorded_by(deadline)? else {
            bail!("all ran, but not all ends are recorded");
        };
        if let Some(kept) = self.look.kept()? {
            ensure!(kept == i64::from(tasks), "{kept} of {tasks} ends are kept");
        }
        let outcome = Outcome::rate(tasks, recorded - first);
        Ok(match repeats {
            0 => outcome,
            _ => outcome.noted(format!("{repeats} ran twice")),
        })
    }

    fn drained_so_far(&mut self, first: Instant) -> Result<Outcome> {
        let tasks = self.order.tasks;
        let seconds = first.elapsed();
        let unfinished = u32::try_from(self.look.unfinished()?)?;
        let done = tasks.saturating_sub(unfinished);
        ensure!(done > 0, "nothing is done after {seconds:.0?}");
        let note = format!("{done} of {tasks} in {:.0} s", seconds.as_secs_f64());
        Ok(Outcome::rate(done, seconds).noted(note))
    }

    fn pick_up(&mut self) -> Result<Outcome> {
        let deadline = self.started + self.order.measure.limit() + GRACE;
        let Some((Event::PickedUp { ms }, _)) = self.process.event_until(deadline)? else {
            bail!("it did not say how long it took");
        };
        ensure!(!ms.is_empty(), "it picked nothing up");
        Ok(Outcome::latency(ms))
    }
}

/// The referee's own connection.
struct Look<'a> {
    client: Client,
    entry: &'a Entry,
}

impl<'a> Look<'a> {
    fn open(url: &str, entry: &'a Entry) -> Result<Self> {
        let client = Client::connect(url, NoTls).context("look into the database")?;
        Ok(Self { client, entry })
    }

    /// Nobody pays for what was written before, and nobody's plans are made without statistics.
    fn settle(&mut self) -> Result<()> {
        self.client.batch_execute("analyze")?;
        self.client.batch_execute("checkpoint")?;
        Ok(())
    }

    fn unfinished(&mut self) -> Result<i64> {
        let statement = format!("select count(*) from {}", self.entry.unfinished);
        Ok(self.client.query_one(&statement, &[])?.get(0))
    }

    fn kept(&mut self) -> Result<Option<i64>> {
        let Some(kept) = self.entry.kept else {
            return Ok(None);
        };
        let statement = format!("select count(*) from {kept}");
        Ok(Some(self.client.query_one(&statement, &[])?.get(0)))
    }

    /// When the last end was recorded: the start of the first look that finds none missing.
    fn recorded_by(&mut self, deadline: Instant) -> Result<Option<Instant>> {
        let statement = format!("select exists(select from {})", self.entry.unfinished);
        let statement = self.client.prepare(&statement)?;
        while Instant::now() < deadline {
            let at = Instant::now();
            let is_missing: bool = self.client.query_one(&statement, &[])?.get(0);
            if !is_missing {
                return Ok(Some(at));
            }
            sleep(LOOK_EVERY);
        }
        Ok(None)
    }
}
