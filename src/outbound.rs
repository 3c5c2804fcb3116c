//! Outgoing HTTP and mail. The HTTP client connects only to vetted addresses, with limits on time and size.

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
