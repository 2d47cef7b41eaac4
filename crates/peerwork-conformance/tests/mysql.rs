//! The suite, on MariaDB or MySQL.

peerwork_conformance::suite!(peerwork_conformance::Backend::MySql);
