//! Pages, as people use them.

mod access_tokens;
mod api_keys;
mod events;
mod overview;
mod sessions;
mod setup;
mod webhooks;
