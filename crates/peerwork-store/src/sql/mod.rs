//! One engine for the three databases.
