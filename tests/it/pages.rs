//! Pages, used as people use them.

mod access_tokens;
mod account;
mod api_keys;
mod audit;
mod cookies;
mod deliveries;
mod devices;
mod events;
mod filters;
mod key_life;
mod members;
mod operator_users;
mod origins;
mod overview;
mod passwords;
mod plans;
mod proof;
pub mod second_factor;
mod sessions;
mod setup;
mod strengthening;
mod tenants;
mod usage;
mod webhooks;
