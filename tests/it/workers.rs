//! What happens behind the doors.

mod claims;
mod delivering;
mod pruning;
mod retries;
mod signatures;
