//! The JSON API for programs: one file per resource.

use actix_web::web::to;

use super::routes::{Door, Entry, get};

pub mod health;

/// The routes for programs. A literal segment comes before a parameter in its place.
pub fn routes() -> Vec<Entry> {
    vec![
        get(Door::Open, "/healthz", || to(health::alive)),
        get(Door::Open, "/readyz", || to(health::ready)),
        get(Door::Open, "/metrics", || to(health::metrics)),
        get(Door::Open, "/static/{path:.*}", || to(super::assets::show)),
    ]
}
