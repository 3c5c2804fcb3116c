//! What happens behind the doors.

mod claims;
mod delivering;
mod keeping;
mod retries;
mod signatures;
