//! Pages, as people use them.

mod access_tokens;
mod api_keys;
mod audit;
mod events;
mod key_life;
mod members;
mod overview;
mod sessions;
mod setup;
mod usage;
mod webhooks;
