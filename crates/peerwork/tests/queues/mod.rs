//! Queues that keep the order of tasks elsewhere.

mod failing;
mod mixed;
mod order;
mod table;

use peerwork::QueueTimes;

/// A node that is soon tired of a queue.
const HASTY: QueueTimes = QueueTimes {
    offer_ms: 50,
    patience_ms: 50,
    answer_ms: 50,
    rest_ms: 50,
};

/// A node that waits for its queue longer than a test lasts.
const PATIENT: QueueTimes = QueueTimes {
    offer_ms: 50,
    patience_ms: 3_600_000,
    answer_ms: 3_600_000,
    rest_ms: 3_600_000,
};
