//! The defects that were found by reading the original, each as a scenario that ours survives: `ga_nn_..`.

mod claiming;
mod drain;
mod failing;
mod fencing;
mod order;
mod rescue;
mod running;
mod starting;
