//! `peerwork-faults`: breaks peerwork on purpose, and checks what it promised.

use clap::Parser;
use peerwork_faults::real::args::{Command, Task};
use peerwork_faults::real::{controller, forger, node, people};
use peerwork_faults::simulate;
use std::process::ExitCode;

fn main() -> ExitCode {
    let passed = match Command::parse().command {
        Task::Run(args) => controller::run(&args),
        Task::Simulate(args) => Ok(simulate::run(&args)),
        Task::Check { folder } => controller::check(&folder),
        Task::Node(args) => node::run(&args).map(|()| true),
        Task::People(args) => people::run(&args).map(|()| true),
        Task::Forger(args) => forger::run(&args).map(|()| true),
    };
    match passed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
