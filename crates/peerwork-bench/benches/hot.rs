//! The hot pure parts: what a node computes for each task, each claim and each end, without a database.
//!
//! `cargo bench -p peerwork-bench`

use divan::{Bencher, black_box};
use peerwork_core::policy::{Policies, Running};
use peerwork_core::{
    Credits, Event, Grant, KindKey, LaneId, LaneView, Lanes, Mono, Name, Rank, Rules, Status, Task,
    Timestamp, Transition, Work, decide,
};
use uuid::Uuid;

fn main() {
    divan::main();
}

fn task(status: Status) -> Task {
    Task {
        status,
        ..Task::new(true, None, Timestamp(5))
    }
}

/// A claim, and the success of a run: twice for each ordinary task.
#[divan::bench(args = [Status::Queued, Status::Running])]
fn decide_one(bencher: Bencher, status: Status) {
    let event = match status {
        Status::Queued => Event::Claim,
        _ => Event::Ok { forget: false },
    };
    let (task, rules) = (task(status), Rules::default());
    bencher.bench(|| -> Result<Transition, _> {
        decide(black_box(&task), &rules, black_box(event), Timestamp(7))
    });
}

fn lanes(count: usize) -> Vec<LaneView> {
    let lane = |n: usize| LaneView {
        lane: LaneId(Uuid::from_u128(n as u128)),
        group: Name::new("group", &(n % 100).to_string()).expect("a short name"),
        user: Name::new("user", &n.to_string()).expect("a short name"),
        work: Work::Run,
        rank: Rank::new(Status::Queued, 0),
        // Not in order: it is sorted by these.
        since: Timestamp((n * 7_919 % count) as i64),
    };
    (0..count).map(lane).collect()
}

/// A tenth of the users runs something.
fn grant(bencher: Bencher, policy: &str, count: usize) {
    let policy = Policies::default().find(policy).expect("built in");
    let (views, mut running) = (lanes(count), Running::default());
    for view in views.iter().step_by(10) {
        running.add(view.lane, &view.group, &view.user, 3);
    }
    let lanes = Lanes::new(&views).running(&running).dice(7);
    bencher.bench(|| -> Vec<Grant> { policy.grant(black_box(&lanes), 1_000) });
}

/// Once for each claim.
#[divan::bench(args = [1, 100, 10_000])]
fn fifo_grants(bencher: Bencher, count: usize) {
    grant(bencher, "fifo", count);
}

#[divan::bench(args = [1, 100, 10_000])]
fn fair_grants(bencher: Bencher, count: usize) {
    grant(bencher, "fair", count);
}

#[divan::bench(args = [1, 100, 10_000])]
fn weighted_groups_grants(bencher: Bencher, count: usize) {
    grant(bencher, "weighted-groups", count);
}

#[divan::bench(args = [1, 100, 10_000])]
fn priority_ageing_grants(bencher: Bencher, count: usize) {
    grant(bencher, "priority-ageing", count);
}

/// A claim of a thousand, and as many ends one by one.
#[divan::bench]
fn credits_of_a_thousand_tasks(bencher: Bencher) {
    bencher
        .with_inputs(|| Credits::new(256, Mono(0)))
        .bench_values(|mut credits| {
            credits.claimed(1_000);
            for n in 0..1_000 {
                credits.ended(1, Mono(n * 20));
            }
            credits.free()
        });
}

/// Once for each create, and for each row that is read.
#[divan::bench]
fn lane_and_kind_hash(bencher: Bencher) {
    let name = |what, text| Name::new(what, text).expect("a short name");
    let (group, user, kind) = (
        name("group", "films"),
        name("user", "ann"),
        name("kind", "encode"),
    );
    bencher.bench(|| {
        (
            LaneId::new(black_box(&group), &user),
            KindKey::new(black_box(&kind)),
        )
    });
}
