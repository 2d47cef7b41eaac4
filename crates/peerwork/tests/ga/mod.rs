//! The defects that were found by reading the original, each as a scenario that ours survives: `ga_nn_..`.

mod answers;
mod bounds;
mod claiming;
mod costly_looks;
mod drain;
mod failing;
mod fencing;
mod lists;
mod one_connection;
mod order;
mod outage;
mod rescue;
mod running;
mod secrecy;
mod shutdown;
mod starting;
mod sweep;
