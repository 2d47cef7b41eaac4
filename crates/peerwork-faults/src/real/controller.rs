//! A run, from its beginning to its verdict.
//!
//! ```text
//! start -> storm: people steer, faults strike -> peace: healthy nodes, pauses resumed -> rest: all is over -> verdict
//! ```

use super::args::{Extra, RunArgs};
use super::audit::{self, Change};
use super::backlog::{Backlog, KILL_EVERY};
use super::check::{self, Evidence};
use super::children::Process;
use super::clock::boot_to_day_us;
use super::cluster::Cluster;
use super::faults;
use super::history::{self, FaultSort, Journal, Want, What};
use super::ledger;
use super::network::Network;
use super::node::{LEASE, SLOTS};
use super::report::Report;
use super::stage::Stage;
use super::storm::Storm;
use anyhow::{Context, Result};
use peerwork::{Client, Database, Settings, State, Tally};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Row};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// Tasks a second, if their number is not given.
const TASKS_PER_SECOND: u64 = 45;
/// How long everything may take to come to its end once nothing stands in its way.
const REST_LIMIT: Duration = Duration::from_secs(180);
/// The part of the time in which faults strike, in percent: the last ones must have healed before the end.
const STORM_PERCENT: u64 = 85;
/// Nodes, if their number is not given: the same with limited groups.
const NODES: (usize, usize) = (5, 8);
const LOOK: Duration = Duration::from_millis(300);
/// The process's name, and its history's.
const CONTROLLER: &str = "controller";
const AUDIT: &str = "audit.jsonl";
const ABOUT: &str = "run.json";

/// What a kept folder says of its run.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    database: String,
    extras: Vec<String>,
    must: BTreeSet<String>,
    not_thrown: Vec<FaultSort>,
    seed: u64,
    seconds: u64,
    boot_to_day_us: u64,
    ledger: Vec<ledger::Effect>,
    #[serde(default)]
    fills_limits: bool,
}

/// Runs it. False: the verdict is a failure.
///
/// # Errors
/// If the run could not be carried out.
pub fn run(args: &RunArgs) -> Result<bool> {
    let seed = args
        .seed
        .unwrap_or_else(|| rand::rng().random_range(0..1 << 32));
    eprintln!(
        "seed {seed} on {} for {} s",
        args.database.name(),
        args.seconds
    );
    // One thread, this one: the kernel ends our children with the thread that started them.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start a runtime")?;
    let network = Network::new()?;
    let stage = runtime.block_on(Stage::set(args.database, &args.extras, &network))?;
    let report = runtime.block_on(async {
        let outcome = drive(args, seed, &stage, &network).await;
        if outcome.is_err() {
            eprintln!("the histories are in {}", stage.folder().display());
        }
        outcome
    });
    drop(runtime);
    network.end();
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            stage.keep();
            return Err(error);
        }
    };
    let passed = report.passes();
    eprint!("{}", report.text());
    if args.json {
        println!("{}", report.json());
    }
    if passed && !args.keep {
        return Ok(true);
    }
    let folder = stage.keep();
    eprintln!("the histories and the audit are in {}", folder.display());
    if !passed {
        let extras = args
            .extras
            .iter()
            .map(|extra| format!(" --with {}", extra.name()));
        let only = (!args.only.is_empty()).then(|| format!(" --only {}", args.only.join(",")));
        eprintln!(
            "again: cargo xtask faults --database {} --seconds {} --seed {seed}{}",
            args.database.name(),
            args.seconds,
            extras.chain(only).collect::<String>()
        );
    }
    Ok(passed)
}

async fn drive(args: &RunArgs, seed: u64, stage: &Stage, network: &Network) -> Result<Report> {
    let random = StdRng::seed_from_u64(seed);
    let journal = Journal::open(stage.folder(), CONTROLLER)?;
    let settings = Settings::default().with_prefix(stage.prefix());
    let database = Database::connect_with(stage.url(), settings).await?;
    let client = Client::connect(database).await?;
    audit::install(stage.direct_url(), stage.prefix()).await?;
    ledger::install(stage.direct_url(), stage.prefix()).await?;

    let filled = (args.limited_groups > 0).then_some(Backlog {
        groups: args.limited_groups,
        seconds: args.seconds,
        task_ms: args.task_ms,
    });
    let must = match filled {
        Some(backlog) => fill(args, backlog, stage, network, &client, &journal, random).await?,
        None => brave(args, stage, network, &client, &journal, random).await?,
    };

    let evidence = Evidence {
        histories: history::read_all(stage.folder())?,
        audit: audit::read(stage.direct_url(), stage.prefix()).await?,
        ledger: ledger::read(stage.direct_url(), stage.prefix()).await?,
        boot_to_day_us: boot_to_day_us(),
        ttl_us: LEASE.ttl_ms * 1_000,
        gap_us: 2 * LEASE.beat_ms * 1_000,
        fills_limits: filled.is_some(),
    };
    let about = About {
        database: args.database.name().to_owned(),
        extras: args
            .extras
            .iter()
            .map(|extra| extra.name().to_owned())
            .collect(),
        must,
        not_thrown: stage.not_thrown(),
        seed,
        seconds: args.seconds,
        boot_to_day_us: evidence.boot_to_day_us,
        ledger: evidence.ledger.clone(),
        fills_limits: evidence.fills_limits,
    };
    leave(stage.folder(), &about, &evidence.audit)?;
    Ok(Report {
        database: args.database,
        extras: args.extras.clone(),
        must: about.must,
        not_thrown: about.not_thrown,
        seed,
        seconds: args.seconds,
        verdict: check::judge(&evidence),
    })
}

/// People steer, operators set, faults strike; then everything comes to its rest. Returns what must have happened.
async fn brave(
    args: &RunArgs,
    stage: &Stage,
    network: &Network,
    client: &Client,
    journal: &Journal,
    mut random: StdRng,
) -> Result<BTreeSet<String>> {
    let nodes = (args.nodes.unwrap_or(NODES.0), SLOTS);
    let seed = random.random();
    let mut cluster = Cluster::start(stage, network, journal.clone(), nodes, seed).await?;
    let tasks = args.tasks.unwrap_or(args.seconds * TASKS_PER_SECOND);
    let more = [
        ("--tasks", tasks.to_string()),
        ("--seconds", args.seconds.to_string()),
    ];
    let spawn = |command, more: &[_], seed| {
        Process::spawn(stage, command, command, stage.url(), seed, more, Vec::new())
    };
    let mut people = spawn("people", &more, random.random())?;
    // A run that was over may hold its task again after the database has lost history: nothing would be forged then.
    let forges = !stage.has(Extra::Replica);
    let forger_seed = random.random();
    let forger = forges.then(|| spawn("forger", &[], forger_seed));
    let mut forger = forger.transpose()?;

    let until = Instant::now() + Duration::from_secs(args.seconds);
    let time = Duration::from_millis(args.seconds * 10 * STORM_PERCENT);
    let plan = faults::plan(&mut random, stage, time, &args.only)?;
    let must = faults::must(&plan, stage);
    let storm = Storm::new(stage, journal.clone(), client.clone(), random);
    storm.rage(plan, &mut cluster).await?;
    while Instant::now() < until || people.ended()?.is_none() {
        cluster.tend().await?;
        tokio::time::sleep(LOOK).await;
    }
    people_are_well(&mut people)?;
    settle(stage, journal, client, &mut cluster).await?;
    if let Some(forger) = &mut forger {
        forger.kill().await?;
    }
    cluster.end().await?;
    Ok(must)
}

/// Limited groups are filled, and nodes are killed for as long as they have tasks; then everything comes to its rest. Returns what must
/// have happened.
async fn fill(
    args: &RunArgs,
    backlog: Backlog,
    stage: &Stage,
    network: &Network,
    client: &Client,
    journal: &Journal,
    mut random: StdRng,
) -> Result<BTreeSet<String>> {
    backlog.fill(client, journal, &mut random).await?;
    let count = args.nodes.unwrap_or(NODES.1);
    // The slots of one node may be away at any time: it is the limits that are to be in the way.
    let slots = backlog
        .slots()
        .div_ceil(count.saturating_sub(2).max(1) as u64);
    let nodes = (count, usize::try_from(slots)?);
    let mut cluster =
        Cluster::start(stage, network, journal.clone(), nodes, random.random()).await?;
    Backlog::open(client).await?;
    let time = Duration::from_secs(args.seconds);
    let until = Instant::now() + time;
    let plan = faults::kills(&mut random, time, KILL_EVERY);
    let storm = Storm::new(stage, journal.clone(), client.clone(), random);
    storm.rage(plan, &mut cluster).await?;
    while Instant::now() < until {
        cluster.tend().await?;
        tokio::time::sleep(LOOK).await;
    }
    settle(stage, journal, client, &mut cluster).await?;
    cluster.end().await?;
    Ok(faults::must_under_limits())
}

/// No fault comes any more, and what is left to do is done by healthy nodes.
async fn settle(
    stage: &Stage,
    journal: &Journal,
    client: &Client,
    cluster: &mut Cluster<'_>,
) -> Result<()> {
    journal.write(What::Peace);
    cluster.renew().await?;
    let stuck = rest(stage, journal, client, cluster).await?;
    journal.write(What::Rest { stuck });
    Ok(())
}

/// Takes back whatever is set.
async fn lift(client: &Client) -> peerwork::Result<()> {
    for row in client.settings().await?.settings {
        client.scope_of(row.scope).clear().await?;
    }
    Ok(())
}

fn people_are_well(people: &mut Process) -> Result<()> {
    let status = people.ended()?.context("people have ended")?;
    anyhow::ensure!(
        status.success(),
        "the people ended with {status}; see people.log"
    );
    Ok(())
}

/// Takes back what holds tasks up, again and again, until all are over or the bound has passed. Returns those that are not.
async fn rest(
    stage: &Stage,
    journal: &Journal,
    client: &Client,
    cluster: &mut Cluster<'_>,
) -> Result<Vec<Uuid>> {
    let limit = Instant::now() + REST_LIMIT;
    let all = || client.tasks();
    loop {
        cluster.tend().await?;
        if let Err(error) = lift(client).await {
            eprintln!("what is set cannot be taken back, trying again: {error}");
        }
        let asks: [(Want, peerwork::Tasks); 3] = [
            (Want::Resume, all().state(State::Paused)),
            (Want::Run, all().state(State::Created)),
            (Want::Delete, all().state(State::DeleteFailed)),
        ];
        for (number, (wish, tasks)) in asks.into_iter().enumerate() {
            let ask = journal_ask(journal, number, wish);
            let done: Result<Tally, _> = match wish {
                Want::Resume => tasks.resume().await,
                Want::Run => tasks.run().await,
                _ => tasks.delete().await,
            };
            if let Ok(done) = done {
                journal.write(What::Answered {
                    ask,
                    answer: history::Answer::Done(format!("{} tasks", done.changed)),
                });
            }
        }
        let left = unfinished(stage).await?;
        if left.is_empty() || Instant::now() >= limit {
            return Ok(left);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// A wish for all tasks that it concerns has the nil id.
fn journal_ask(journal: &Journal, number: usize, wish: Want) -> u64 {
    // An open question of an earlier round must not be taken for this one.
    let ask = super::clock::boot_us() * 4 + number as u64;
    journal.write(What::Asked {
        ask,
        task: Uuid::nil(),
        wish,
        kind: None,
    });
    ask
}

/// The tasks that are in no status that is an end, at most a page of them.
async fn unfinished(stage: &Stage) -> Result<Vec<Uuid>> {
    let prefix = stage.prefix();
    let hex = match audit::Dialect::of_url(stage.url())? {
        audit::Dialect::Postgres => "replace(id::text, '-', '')",
        audit::Dialect::Sqlite | audit::Dialect::MySql => "lower(hex(id))",
    };
    let one = |table: &str| format!("select {hex} as id from {prefix}{table}");
    let statement = format!(
        "{} union all {} union all {} limit 1000",
        one("ready"),
        one("running"),
        one("parked")
    );
    let mut connection = audit::connect(stage.direct_url()).await?;
    let rows = sqlx::query(AssertSqlSafe(statement))
        .fetch_all(&mut connection)
        .await
        .context("look for tasks that are not over")?;
    rows.iter()
        .map(|row| Ok(Uuid::parse_str(row.try_get("id")?)?))
        .collect()
}

fn leave(folder: &Path, about: &About, audit: &[Change]) -> Result<()> {
    std::fs::write(folder.join(ABOUT), serde_json::to_vec(about)?)?;
    let mut file = BufWriter::new(File::create(folder.join(AUDIT))?);
    for change in audit {
        serde_json::to_writer(&mut file, change)?;
        file.write_all(b"\n")?;
    }
    file.flush().context("leave the audit")
}

/// Judges what a run has left in `folder` again.
///
/// # Errors
/// If it left nothing there.
pub fn check(folder: &Path) -> Result<bool> {
    use clap::ValueEnum;
    let about: About = serde_json::from_slice(
        &std::fs::read(folder.join(ABOUT)).context("read what the folder is about")?,
    )?;
    let lines = BufReader::new(File::open(folder.join(AUDIT)).context("open the audit")?).lines();
    let audit = lines
        .map(|line| Ok(serde_json::from_str(&line?)?))
        .collect::<Result<_>>()?;
    let evidence = Evidence {
        histories: history::read_all(folder)?,
        audit,
        ledger: about.ledger,
        boot_to_day_us: about.boot_to_day_us,
        ttl_us: LEASE.ttl_ms * 1_000,
        gap_us: 2 * LEASE.beat_ms * 1_000,
        fills_limits: about.fills_limits,
    };
    let extras: Result<_, _> = about
        .extras
        .iter()
        .map(|name| super::args::Extra::from_str(name, true))
        .collect();
    let database = super::args::DatabaseArg::from_str(&about.database, true);
    let report = Report {
        database: database.map_err(anyhow::Error::msg)?,
        extras: extras.map_err(anyhow::Error::msg)?,
        must: about.must,
        not_thrown: about.not_thrown,
        seed: about.seed,
        seconds: about.seconds,
        verdict: check::judge(&evidence),
    };
    print!("{}", report.text());
    Ok(report.passes())
}
