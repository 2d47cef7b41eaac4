//! What people are told of why a task is not running, on nodes that run.

mod held;
mod line;
mod settings;
