//! Start, settings, the private Postgres, and the command line.

mod audit;
mod cancelled;
mod command;
mod commands;
mod crashes;
mod demo;
mod elsewhere;
mod embedded;
mod flags;
mod hostile;
mod keys;
pub mod leaks;
mod redis;
mod refusals;
mod restarts;
mod secrets;
mod serving;
mod usage;
mod webhooks;

pub use command::{Gatepost, Ran};
pub use serving::data_dir;
