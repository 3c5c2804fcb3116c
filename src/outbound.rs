//! HTTP going out: one client, which reaches vetted addresses only and never waits or reads without bound. And mail.

pub mod client;
pub mod fault;
pub mod guard;
mod lookups;
pub mod mail;
pub mod send;
mod stopwatch;
#[cfg(test)]
mod tricks;

pub use client::{Outbound, http};
pub use mail::Mailer;
pub use send::Request;
