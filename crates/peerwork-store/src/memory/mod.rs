//! The reference store.
/// The reference store.
pub struct MemoryStore;
