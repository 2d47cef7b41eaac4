//! The original library's own example tests, as behaviours: with two nodes, its default queue, and a queue of the
//! user's own.

mod dot;
mod forgetting;
mod kinds;
mod matrix;
mod queue;
