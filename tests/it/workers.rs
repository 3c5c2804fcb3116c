//! What happens behind the doors.

mod claims;
mod delivering;
mod keeping;
mod mail;
mod outbox;
mod pruning;
mod retries;
mod signatures;
mod tenants;
