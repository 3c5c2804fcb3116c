//! The JSON API for programs: one file per resource.

use actix_web::web::to;

use super::routes::{Door, Entry, delete, get, patch, post};

pub mod health;
pub mod list;
pub mod tenants;
pub mod tokens;
pub mod users;

/// The routes for programs. A literal segment comes before a parameter in its place.
pub fn routes() -> Vec<Entry> {
    vec![
        get(Door::Open, "/healthz", || to(health::alive)),
        get(Door::Open, "/readyz", || to(health::ready)),
        get(Door::Open, "/metrics", || to(health::metrics)),
        get(Door::Api, "/api/tenants", || to(tenants::index)),
        post(Door::Api, "/api/tenants", || to(tenants::create)),
        get(Door::Api, "/api/tenants/{id}", || to(tenants::show)),
        patch(Door::Api, "/api/tenants/{id}", || to(tenants::update)),
        get(Door::Api, "/api/tenants/{id}/members", || to(tenants::members)),
        post(Door::Api, "/api/tenants/{id}/members", || to(tenants::add_member)),
        get(Door::Api, "/api/tokens", || to(tokens::index)),
        post(Door::Api, "/api/tokens", || to(tokens::create)),
        get(Door::Api, "/api/tokens/{id}", || to(tokens::show)),
        delete(Door::Api, "/api/tokens/{id}", || to(tokens::destroy)),
        get(Door::Api, "/api/users", || to(users::index)),
        post(Door::Api, "/api/users", || to(users::create)),
        get(Door::Api, "/api/users/{id}", || to(users::show)),
        patch(Door::Api, "/api/users/{id}", || to(users::update)),
        get(Door::Open, "/static/{path:.*}", || to(super::assets::show)),
    ]
}
