//! The node's lease: who it is now, and until when it may believe so. Shared by the beat, which renews it, and by
//! every run, which must stop at its end.

use peerwork_core::{Beat, BeatAnswer, Heard, LeaseTimes, Mono, NodeId, Pulse};
use std::sync::{Mutex, MutexGuard};

/// The current incarnation and its lease.
pub(crate) struct Lease {
    pub times: LeaseTimes,
    state: Mutex<State>,
}

struct State {
    node: NodeId,
    beat: Beat,
}

impl Lease {
    pub fn new(times: LeaseTimes, node: NodeId, registered: Mono) -> Self {
        Self {
            times,
            state: Mutex::new(State {
                node,
                beat: Beat::new(times, registered),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the lock")
    }

    /// The current incarnation.
    pub fn node(&self) -> NodeId {
        self.state().node
    }

    /// Starts a new incarnation, whose row was sent at `registered`.
    pub fn reincarnate(&self, node: NodeId, registered: Mono) {
        *self.state() = State {
            node,
            beat: Beat::new(self.times, registered),
        };
    }

    pub fn due(&self) -> Mono {
        self.state().beat.due()
    }

    pub fn fence_at(&self) -> Mono {
        self.state().beat.fence_at()
    }

    /// Whether no beat that was sent within the last `gap_ms` has been acknowledged.
    pub fn is_unheard(&self, now: Mono, gap_ms: u64) -> bool {
        now > self.state().beat.acked_sent().plus_ms(gap_ms)
    }

    /// Whether `node` may not believe in itself any more.
    pub fn is_fenced(&self, node: NodeId, now: Mono) -> bool {
        let state = self.state();
        state.node != node || state.beat.is_fenced(now)
    }

    pub fn send(&self, now: Mono) -> (NodeId, Pulse) {
        let mut state = self.state();
        (state.node, state.beat.send(now))
    }

    pub fn answered(&self, answer: BeatAnswer) -> Heard {
        self.state().beat.answered(answer)
    }

    pub fn failed(&self, now: Mono) {
        self.state().beat.failed(now);
    }
}
