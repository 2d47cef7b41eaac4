//! What pausing, deleting, draining and waiting mean at their edges.

mod children;
mod deadlines;
