//! Gatepost: API keys in, webhooks out. One binary, one Postgres.

pub mod app;
pub mod cli;
pub mod config;
pub mod domain;
pub mod gate;
pub mod model;
pub mod outbound;
pub mod schema;
pub mod services;
pub mod store;
pub mod web;
pub mod workers;
