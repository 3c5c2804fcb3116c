//! Background workers: deliveries, mail, pruning.

mod backlog;
mod cancelled;
mod claims;
mod delivering;
mod keeping;
mod mail;
mod news;
mod odd_answers;
mod outbox;
mod pruning;
mod retries;
mod samples;
mod signatures;
mod tenants;
