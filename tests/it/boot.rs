//! Starting up: settings, the private Postgres, the command line.

mod audit;
mod command;
mod commands;
mod embedded;
mod flags;
mod keys;
pub mod leaks;
mod refusals;
mod secrets;
mod serving;
