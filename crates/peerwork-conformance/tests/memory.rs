//! The suite, on the in-memory reference.

peerwork_conformance::suite!(peerwork_conformance::Backend::Memory);
