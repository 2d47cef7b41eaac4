//! Breaks peerwork on purpose, and checks what it promised.
//!
//! | module | is |
//! | --- | --- |
//! | [`proxy`] | a network between programs and their database, with its faults: late, lost, cut off, a COMMIT whose answer never comes |
//! | [`sim`] | a whole cluster in one thread, in virtual time, from one seed: nodes' real code over a faulty store in memory |
//! | [`simulate`] | the command that runs it seed after seed, and replays one |
//! | [`real`] | node processes on a database of their own, killed, frozen and cut off; histories, an audit, a checker |
//!
//! A fourth way is in `tests/model`: a model of the lease protocol around the real machines of `peerwork-core`, checked
//! exhaustively; its first page says what is modelled, what is not, and how large it is.

pub mod proxy;
pub mod real;
pub mod sim;
pub mod simulate;
