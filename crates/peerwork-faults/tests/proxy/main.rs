//! The fault proxy does to connections what it says.

mod network;
mod swallowed;
