//! HTTP going out: one client, which reaches vetted addresses only and never waits or reads without bound.

pub mod client;
pub mod fault;
pub mod guard;
pub mod send;

pub use client::Outbound;
pub use send::Request;
