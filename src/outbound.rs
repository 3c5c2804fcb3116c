//! HTTP going out: one client, which reaches vetted addresses only and never waits or reads without bound.

pub mod client;
pub mod fault;
pub mod guard;
pub mod send;
mod stopwatch;
#[cfg(test)]
mod tricks;

pub use client::Outbound;
pub use send::Request;
