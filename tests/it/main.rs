//! Integration tests: a real server on a real Postgres.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::as_conversions
)]

mod support;

mod access;
mod api;
mod boot;
mod browser;
mod english;
mod forward_auth;
mod isolation;
mod links;
mod migrations;
mod outage;
mod pages;
mod postgres;
mod readiness;
mod readme;
mod render;
mod sample_data;
mod shared_limits;
mod tidy;
mod workers;
