//! A policy of one's own, tried on a workload before a node uses it.
//!
//! It lets users with little running go first, and nobody run more than a quarter of what runs beside somebody who waits.
//!
//!     cargo run -p peerwork --example policy

use peerwork::policy::{Needs, Weights};
use peerwork::simulate::{Cluster, Mix, Workload};
use peerwork::{Fifo, Grant, LaneView, Lanes, Policy};
use std::sync::Arc;

struct Quarter;

impl Policy for Quarter {
    fn grant(&self, lanes: &Lanes<'_>, free: usize) -> Vec<Grant> {
        let running = lanes.what_runs();
        let quarter = (running.total() + free).div_ceil(4);
        let mut views: Vec<&LaneView> = lanes.iter().collect();
        views.sort_by_key(|view| (running.of_user(&view.user), view.rank, view.since));
        // Whoever waits alone may have everything.
        let is_alone = views.windows(2).all(|two| two[0].user == two[1].user);
        let mut left = free;
        let mut grants = Vec::new();
        for view in views {
            let room = quarter.saturating_sub(running.of_user(&view.user));
            let tasks = if is_alone { left } else { left.min(room) };
            left -= tasks;
            let lane = view.lane;
            grants.push(Grant { lane, tasks });
        }
        grants
    }

    fn needs(&self) -> Needs {
        Needs {
            running: true,
            ..Needs::default()
        }
    }
}

fn main() {
    let mix = Mix {
        tasks: 2_000,
        ..Mix::default()
    };
    let trace = Workload::HeavyLight.trace(&mix);
    let fifo = Cluster::default().run(&trace, &Weights::new(), Arc::new(Fifo));
    let quarter = Cluster::default().run(&trace, &Weights::new(), Arc::new(Quarter));
    println!("Jain {:.3} instead of {:.3}", quarter.jain, fifo.jain);
    assert!(quarter.jain > fifo.jain && quarter.mistaken == 0);
    // A node takes it as it is: Node::builder(&database).policy(Quarter)
}
