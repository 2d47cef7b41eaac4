//! A thousand simulated nodes: what each asks of the database does not grow with their number.

use peerwork_faults::sim::{Phase, Traffic, large_cluster};
use std::time::Duration;

const FEW: usize = 50;
const MANY: usize = 1_000;
/// With the default lease: a ttl of 15 s, a beat of 3 s, a look of 1 s.
const RESCUE: Duration = Duration::from_secs(15 + 3 + 1);
/// Where all the watchers of a node die with it, those before them take over when these are silent for a ttl.
const RESCUE_WITHOUT_WATCHERS: Duration = Duration::from_secs(2 * 15 + 3 + 1);

#[test]
fn a_node_asks_as_little_among_a_thousand_as_among_fifty() {
    let measure = |nodes| {
        let (traffic, report) = large_cluster(nodes, 1);
        assert!(report.violations.is_empty(), "{:#?}", report.violations);
        traffic
    };
    for (few, many) in measure(FEW).iter().zip(&measure(MANY)) {
        let each = |traffic: &Traffic, nodes: usize| traffic.total() as f64 / nodes as f64;
        let (of_few, of_many) = (each(few, FEW), each(many, MANY));
        println!(
            "{:?}: {of_few:.2} calls a node of {FEW} in {:?}, {of_many:.2} of {MANY} in {:?}\n  {:?}\n  {:?}",
            few.phase, few.time, many.time, few.calls, many.calls
        );
        match few.phase {
            Phase::Idle => {
                let a_second = of_many / many.time.as_secs_f64();
                assert!(a_second <= 1.4, "{a_second} calls a second of an idle node");
                assert!((of_many / of_few - 1.0).abs() < 0.02);
            }
            // All look once, whatever their number; what they do anyway goes by the time.
            Phase::OneTask => {
                assert!(many.of("lanes") <= MANY as u64 * 11 / 10);
                assert!(many.of("claim") <= MANY as u64 * 11 / 10);
            }
            Phase::Busy => assert!(of_many <= 1.5 * of_few),
            Phase::Deaths => {
                let a_second = |calls: f64, traffic: &Traffic| calls / traffic.time.as_secs_f64();
                assert!(a_second(of_many, many) <= 1.5 * a_second(of_few, few));
                assert!(few.time <= RESCUE);
                assert!(many.time > RESCUE, "their watchers died with them");
                assert!(many.time <= RESCUE_WITHOUT_WATCHERS);
                assert!(many.of("declare dead") <= 2 * MANY as u64);
            }
        }
    }
}
