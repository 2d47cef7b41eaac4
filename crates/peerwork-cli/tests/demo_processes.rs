//! The demo's node processes end with it, whatever its end is.

#![cfg(target_os = "linux")]

mod kit;

use kit::peerwork;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use tempfile::TempDir;

/// Far more than a process needs to end.
const END_LIMIT: Timespec = Timespec {
    tv_sec: 30,
    tv_nsec: 0,
};

/// A demo whose nodes run.
struct Demo {
    child: Child,
    nodes: Vec<OwnedFd>,
    folder: TempDir,
}

impl Demo {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("input");
        std::fs::create_dir(&input).unwrap();
        for n in 0..12 {
            std::fs::write(input.join(format!("f{n}")), "some text").unwrap();
        }
        let mut command = peerwork();
        command.args(["demo", "-o", "json", "--input"]).arg(&input);
        let command = command.env("TMPDIR", folder.path()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        let ready = lines
            .map_while(Result::ok)
            .find(|line| line.contains("are ready"));
        assert!(ready.is_some(), "the nodes did not start");
        let nodes = children(child.id()).into_iter();
        let nodes = nodes
            .map(|pid| pidfd_open(pid, PidfdFlags::empty()).unwrap())
            .collect();
        Self {
            child,
            nodes,
            folder,
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits until every node process has ended.
    fn wait_for_nodes(&self) {
        assert!(self.nodes.len() >= 3, "{} node processes", self.nodes.len());
        for node in &self.nodes {
            let mut ended = [PollFd::new(node, PollFlags::IN)];
            assert_eq!(
                poll(&mut ended, Some(&END_LIMIT)).unwrap(),
                1,
                "a node outlived the demo"
            );
        }
    }
}

/// The processes that `pid` has started, from any of its threads.
fn children(pid: u32) -> Vec<Pid> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of_thread = |thread: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(thread.unwrap().path().join("children")).unwrap_or_default()
    };
    let pids = threads.map(of_thread).collect::<Vec<_>>().join(" ");
    let pids = pids.split_whitespace().map(|pid| pid.parse().unwrap());
    pids.map(|pid| Pid::from_raw(pid).unwrap()).collect()
}

#[test]
fn an_interrupted_demo_ends_its_nodes_and_leaves_nothing_behind() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut demo = Demo::start();
        demo.signal(signal);
        assert_eq!(demo.child.wait().unwrap().code(), Some(1));
        demo.wait_for_nodes();
        let left: Vec<_> = std::fs::read_dir(demo.folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "only the input: {left:?}");
    }
}

#[test]
fn a_killed_demo_takes_its_nodes_with_it() {
    let mut demo = Demo::start();
    demo.child.kill().unwrap();
    demo.child.wait().unwrap();
    demo.wait_for_nodes();
}
