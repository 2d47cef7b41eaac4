//! What a node may claim at the moment, as it asks a queue for tasks.

use peerwork_core::{LaneId, LaneView, Name};
use peerwork_store::Offer;
use std::collections::HashSet;

/// The lanes and kinds of which a node may claim now: no gate shuts them, no limit is full, and there is work in them, as far as the node knows.
#[derive(Clone, Debug)]
pub struct OpenLanes {
    lanes: Vec<LaneView>,
    kinds: Vec<Name>,
    ids: HashSet<LaneId>,
}

impl OpenLanes {
    /// For tests of a queue of one's own: these lanes, and these kinds.
    pub fn new(lanes: Vec<LaneView>, kinds: Vec<Name>) -> Self {
        let ids = lanes.iter().map(|lane| lane.lane).collect();
        Self { lanes, kinds, ids }
    }

    /// The lanes, in no order, each with what the node knows of its first task.
    pub fn lanes(&self) -> &[LaneView] {
        &self.lanes
    }

    /// The kinds.
    pub fn kinds(&self) -> &[Name] {
        &self.kinds
    }

    /// Whether a task may be claimed now.
    pub fn admits(&self, offer: &Offer) -> bool {
        self.ids.contains(&offer.lane) && self.kinds.contains(&offer.kind)
    }
}
