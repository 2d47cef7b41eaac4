//! A handler that notes what it runs.

use peerwork::{Handler, Run, TaskError};
use tokio::sync::mpsc;

/// Notes its input.
pub struct Note(pub mpsc::UnboundedSender<usize>);

impl Handler for Note {
    const KIND: &'static str = "note";
    type Input = usize;
    type Checkpoint = ();
    type Output = ();

    async fn run(&self, run: &mut Run<Self>) -> Result<(), TaskError> {
        Ok(self.0.send(*run.input())?)
    }
}
