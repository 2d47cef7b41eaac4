//! The suite, on PostgreSQL with every capability off, at SERIALIZABLE.

peerwork_conformance::suite!(peerwork_conformance::Backend::PostgresPlain);
