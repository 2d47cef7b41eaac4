//! What people get wrong: each gets a typed error that says what to do, and nothing else happens.

mod builder;
mod database;
mod input;
mod schema;
