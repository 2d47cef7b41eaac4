//! The suite, on SQLite.

peerwork_conformance::suite!(peerwork_conformance::Backend::Sqlite);
