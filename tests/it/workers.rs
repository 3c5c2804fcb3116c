//! What happens behind the doors.

mod claims;
mod delivering;
mod keeping;
mod pruning;
mod retries;
mod signatures;
