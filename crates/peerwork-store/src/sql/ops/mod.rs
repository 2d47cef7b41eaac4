//! What a store does, one file for each group of calls. Each operation locks rows, asks
//! [`decide`](peerwork_core::decide) about each, and writes the moves.

pub(crate) mod claim;
pub(crate) mod claim_at_once;
pub(crate) mod claim_ranges;
pub(crate) mod claim_read;
pub(crate) mod claim_these;
pub(crate) mod claim_within;
pub(crate) mod commit;
pub(crate) mod config;
pub(crate) mod create;
mod create_alike;
mod create_claimed;
pub(crate) mod end;
pub(crate) mod explain;
pub(crate) mod failures;
pub(crate) mod finish;
pub(crate) mod finish_batches;
pub(crate) mod glance;
pub(crate) mod lanes;
mod lanes_at_once;
pub(crate) mod list;
pub(crate) mod nodes;
pub(crate) mod offers;
pub(crate) mod operations;
pub(crate) mod queue;
pub(crate) mod read;
pub(crate) mod save;
pub(crate) mod steer;
pub(crate) mod upkeep;
