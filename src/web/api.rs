//! Routes of the JSON API, with one file per resource.

use actix_web::web::to;

use super::route::{Door, Entry, delete, get, patch, post};

pub mod api_keys;
pub mod audit;
pub mod body;
pub mod data;
pub mod deliveries;
pub mod events;
pub mod health;
pub mod list;
pub mod login;
pub mod members;
pub mod plans;
pub mod protected;
pub mod tenants;
pub mod tokens;
pub mod usage;
pub mod usage_records;
pub mod users;
pub mod verification;
pub mod webhook_logs;
pub mod webhooks;

/// Returns every API route. actix-web takes the first match, so a literal segment stands before a parameter.
pub fn routes() -> Vec<Entry> {
    let mut routes = vec![
        get(Door::Open, "/healthz", || to(health::alive)),
        get(Door::Open, "/readyz", || to(health::ready)),
        get(Door::Open, "/metrics", || to(health::metrics)),
        get(Door::Api, "/api/audit", || to(audit::index)),
        post(Door::Open, "/api/auth/login", || to(login::create)),
        get(Door::Key, "/api/data", || to(data::index)),
        get(Door::Api, "/api/keys", || to(api_keys::listing::index)),
        post(Door::Api, "/api/keys", || to(api_keys::create)).replayed(),
        post(Door::Api, "/api/keys/bulk-deletion", || to(api_keys::bulk::delete)),
        post(Door::Api, "/api/keys/bulk-revocation", || to(api_keys::bulk::revoke)),
        post(Door::Api, "/api/keys/bulk-tagging", || to(api_keys::bulk::tag)),
        get(Door::Api, "/api/keys/count", || to(api_keys::listing::count)),
        post(Door::Api, "/api/keys/count", || to(api_keys::listing::count_search)),
        post(Door::Api, "/api/keys/lookup", || to(api_keys::lookup::create)),
        post(Door::Api, "/api/keys/search", || to(api_keys::listing::search)),
        post(Door::Api, "/api/keys/verification", || to(verification::create)),
        post(Door::Api, "/api/keys/verifications", || to(verification::create_batch)),
        post(Door::Api, "/api/keys/verify", || to(verification::create)),
        get(Door::Api, "/api/keys/{id}", || to(api_keys::show)),
        patch(Door::Api, "/api/keys/{id}", || to(api_keys::update)),
        delete(Door::Api, "/api/keys/{id}", || to(api_keys::destroy)),
        post(Door::Api, "/api/keys/{id}/activate", || to(api_keys::activate)),
        post(Door::Api, "/api/keys/{id}/activation", || to(api_keys::activate)),
        post(Door::Api, "/api/keys/{id}/deactivate", || to(api_keys::deactivate)),
        post(Door::Api, "/api/keys/{id}/deactivation", || to(api_keys::deactivate)),
        post(Door::Api, "/api/keys/{id}/restoration", || to(api_keys::restore)),
        post(Door::Api, "/api/keys/{id}/revocation", || to(api_keys::revoke)),
        post(Door::Api, "/api/keys/{id}/revoke", || to(api_keys::revoke)),
        post(Door::Api, "/api/keys/{id}/rotation", || to(api_keys::rotation::create)).replayed(),
        get(Door::Api, "/api/keys/{id}/usage", || to(usage::of_key)),
        get(Door::Api, "/api/plans", || to(plans::index)),
        patch(Door::Api, "/api/plans/{name}", || to(plans::update)),
        get(Door::Api, "/api/tenants", || to(tenants::index)),
        post(Door::Api, "/api/tenants", || to(tenants::create)),
        get(Door::Api, "/api/tenants/{id}", || to(tenants::show)),
        patch(Door::Api, "/api/tenants/{id}", || to(tenants::update)),
        delete(Door::Api, "/api/tenants/{id}", || to(tenants::destroy)),
        post(Door::Api, "/api/tenants/{id}/activation", || to(tenants::resume)),
        get(Door::Api, "/api/tenants/{id}/plan", || to(plans::of_tenant)),
        post(Door::Api, "/api/tenants/{id}/restoration", || to(tenants::restore)),
        post(Door::Api, "/api/tenants/{id}/suspension", || to(tenants::suspend)),
        get(Door::Api, "/api/tenants/{id}/invitations", || to(members::invited)),
        post(Door::Api, "/api/tenants/{id}/invitations", || to(members::invite)).replayed(),
        delete(Door::Api, "/api/tenants/{id}/invitations/{invitation}", || to(members::uninvite)),
        get(Door::Api, "/api/tenants/{id}/members", || to(members::index)),
        post(Door::Api, "/api/tenants/{id}/members", || to(members::create)),
        patch(Door::Api, "/api/tenants/{id}/members/{user}", || to(members::update)),
        delete(Door::Api, "/api/tenants/{id}/members/{user}", || to(members::destroy)),
        get(Door::Api, "/api/tokens", || to(tokens::index)),
        post(Door::Api, "/api/tokens", || to(tokens::create)).replayed(),
        get(Door::Api, "/api/tokens/{id}", || to(tokens::show)),
        delete(Door::Api, "/api/tokens/{id}", || to(tokens::destroy)),
        get(Door::Api, "/api/usage", || to(usage::index)),
        post(Door::ApiOrKey, "/api/usage", || to(usage_records::create)).replayed(),
        get(Door::Api, "/api/usage/records", || to(usage_records::index)),
        get(Door::Api, "/api/users", || to(users::index)),
        post(Door::Api, "/api/users", || to(users::create)),
        get(Door::Api, "/api/users/{id}", || to(users::show)),
        patch(Door::Api, "/api/users/{id}", || to(users::update)),
        get(Door::Key, "/protected/", || to(protected::show)),
        get(Door::Key, "/protected", || to(protected::show)),
        get(Door::Open, "/static/{path:.*}", || to(super::assets::show)),
    ];
    routes.extend(of_delivery());
    routes
}

/// Routes for events, deliveries and webhooks.
fn of_delivery() -> Vec<Entry> {
    vec![
        get(Door::Api, "/api/deliveries", || to(deliveries::index)),
        get(Door::Api, "/api/deliveries/{id}", || to(deliveries::show)),
        post(Door::Api, "/api/deliveries/{id}/cancellation", || to(deliveries::cancel)),
        post(Door::Api, "/api/deliveries/{id}/redelivery", || to(deliveries::redeliver)),
        get(Door::ApiOrKey, "/api/events", || to(events::index)),
        post(Door::ApiOrKey, "/api/events", || to(events::create)).replayed(),
        post(Door::ApiOrKey, "/api/events/batch", || to(events::create_batch)).replayed(),
        get(Door::ApiOrKey, "/api/events/{id}", || to(events::show)),
        get(Door::Api, "/api/webhook-logs", || to(webhook_logs::index)),
        get(Door::Api, "/api/webhook-logs/{id}", || to(webhook_logs::show)),
        get(Door::Api, "/api/webhooks", || to(webhooks::index)),
        post(Door::Api, "/api/webhooks", || to(webhooks::create)).replayed(),
        get(Door::Api, "/api/webhooks/{id}", || to(webhooks::show)),
        patch(Door::Api, "/api/webhooks/{id}", || to(webhooks::update)),
        delete(Door::Api, "/api/webhooks/{id}", || to(webhooks::destroy)),
        post(Door::Api, "/api/webhooks/{id}/activation", || to(webhooks::activate)),
        post(Door::Api, "/api/webhooks/{id}/deactivation", || to(webhooks::deactivate)),
        get(Door::Api, "/api/webhooks/{id}/deliveries", || to(deliveries::index_of_webhook)),
        get(Door::Api, "/api/webhooks/{id}/headers", || to(webhooks::secrets::reveal_headers)),
        delete(Door::Api, "/api/webhooks/{id}/key", || to(webhooks::secrets::remove_key)),
        post(Door::Api, "/api/webhooks/{id}/key-rotation", || to(webhooks::secrets::rotate_key)),
        get(Door::Api, "/api/webhooks/{id}/secret", || to(webhooks::secrets::reveal)),
        post(Door::Api, "/api/webhooks/{id}/secret-rotation", || to(webhooks::secrets::rotate)),
        get(Door::Api, "/api/webhooks/{id}/statistics", || to(webhooks::statistics::show)),
        post(Door::Api, "/api/webhooks/{id}/test", || to(webhooks::test)),
    ]
}
