//! The front door: pages for people and a JSON API for programs, over the same services.

pub mod api;
pub mod assets;
pub mod auth;
pub mod bearer;
pub mod client;
pub mod csrf;
pub mod error_pages;
pub mod flash;
pub mod forms;
pub mod gated;
pub mod headers;
pub mod json;
pub mod lookup;
pub mod pages;
pub mod problem;
pub mod request_id;
pub mod routes;
pub mod server;
pub mod session_store;
pub mod shell;
pub mod state;
pub mod throttle;
pub mod urls;
pub mod view;
