//! Starting up: settings, the private Postgres, the command line.

mod audit;
mod command;
mod commands;
mod crashes;
mod embedded;
mod flags;
mod hostile;
mod keys;
mod refusals;
mod serving;
mod webhooks;
