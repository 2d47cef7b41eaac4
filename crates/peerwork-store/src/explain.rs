//! What a store tells about a task so that it can be [explained](peerwork_core::explain) why it does not run.

use crate::TaskRecord;
use peerwork_core::Timestamp;
use peerwork_core::explain::Facts;

/// What a task's record says of it, without what is around it.
pub(crate) fn facts_of(record: TaskRecord, now: Timestamp) -> Facts {
    Facts {
        now,
        id: record.id,
        kind: record.kind,
        user: record.user,
        group: record.group,
        node: record.node,
        started_at: record.started_at,
        finished_at: record.finished_at,
        error: record.error,
        task: record.task,
        children: None,
        line: None,
        scopes: Vec::new(),
        nodes: Vec::new(),
        kinds: Vec::new(),
        policy: None,
    }
}
