//! The suite, on PostgreSQL.

peerwork_conformance::suite!(peerwork_conformance::Backend::Postgres);
