//! What happens behind the doors.

mod claims;
mod delivering;
mod retries;
mod signatures;
