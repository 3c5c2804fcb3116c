//! Starting up: settings, the private Postgres, the command line.

mod embedded;
