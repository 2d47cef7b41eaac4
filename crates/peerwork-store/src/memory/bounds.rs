//! What a call may hand in at most.

use crate::{Error, ErrorKind, NewTask, Result, Sought};
use peerwork_core::{BATCH_MAX, PAYLOAD_BYTES_MAX};

/// Whether a batch is no longer than a batch may be.
pub(super) fn bounded<T>(items: &[T]) -> Result<()> {
    if items.len() > BATCH_MAX {
        let message = format!(
            "batch of {} items; split it into batches of {BATCH_MAX} or fewer",
            items.len()
        );
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    Ok(())
}

/// Whether a payload is no larger than a payload may be.
pub(super) fn bounded_payload(what: &str, payload: Option<&Vec<u8>>) -> Result<()> {
    let bytes = payload.map_or(0, Vec::len);
    if bytes > PAYLOAD_BYTES_MAX {
        let message = format!(
            "{what} has {bytes} bytes; store what is over {PAYLOAD_BYTES_MAX} bytes elsewhere and pass a reference to it"
        );
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    Ok(())
}

/// The same of what is asked for by lanes or ids.
pub(super) fn bounded_sought(sought: &Sought) -> Result<()> {
    match sought {
        Sought::After(_) => Ok(()),
        Sought::First { lanes, .. } => bounded(lanes),
        Sought::These(ids) => bounded(ids),
    }
}

/// The same of tasks that are to be created, and of their inputs.
pub(super) fn bounded_new(tasks: &[NewTask]) -> Result<()> {
    bounded(tasks)?;
    let mut inputs = tasks.iter().map(|task| &task.input);
    inputs.try_for_each(|input| bounded_payload("input", Some(input)))
}
