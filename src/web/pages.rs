//! Pages for people, and helpers for their responses.

use std::time::Duration;

use actix_session::Session;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use actix_web::web::to;
use askama::Template;
use url::Url;

use super::flash::{self, Flash};
use super::problem::Answer;
use super::route::{Door, Entry, get, post};
use super::view::text;
use crate::domain::Error;
use crate::domain::error::whole_seconds;

pub mod access_tokens;
pub mod account;
pub mod api_keys;
pub mod audit;
pub mod confirmations;
pub mod deliveries;
pub mod events;
pub mod members;
pub mod operator;
pub mod overview;
pub mod paging;
pub mod password_resets;
pub mod proof;
pub mod sessions;
pub mod settings;
pub mod setup;
pub mod spans;
pub mod usage;
pub mod webhooks;

/// Returns every page route. actix-web takes the first match, so a literal segment stands before a parameter.
pub fn routes() -> Vec<Entry> {
    vec![
        get(Door::Page, "/setup", || to(setup::new)),
        post(Door::Page, "/setup", || to(setup::create)),
        get(Door::Page, "/sign-in", || to(sessions::new)),
        post(Door::Page, "/sign-in", || to(sessions::create)),
        get(Door::Page, "/sign-in/code", || to(sessions::code::new)),
        post(Door::Page, "/sign-in/code", || to(sessions::code::create)),
        get(Door::Page, "/sign-in/proof", || to(proof::new)),
        post(Door::Page, "/sign-in/proof", || to(proof::create)),
        post(Door::Page, "/sign-out", || to(sessions::destroy)),
        post(Door::Page, "/tenant", || to(sessions::switch)),
        get(Door::Page, "/", || to(overview::index)),
        get(Door::Page, "/keys", || to(api_keys::listing::index)),
        post(Door::Page, "/keys", || to(api_keys::create)),
        get(Door::Page, "/keys.csv", || to(api_keys::listing::csv)),
        get(Door::Page, "/keys/new", || to(api_keys::new)),
        get(Door::Page, "/keys/lookup", || to(api_keys::lookup::new)),
        post(Door::Page, "/keys/lookup", || to(api_keys::lookup::create)),
        get(Door::Page, "/keys/bulk-revocation", || to(api_keys::bulk::ask_revoke)),
        post(Door::Page, "/keys/bulk-revocation", || to(api_keys::bulk::revoke)),
        get(Door::Page, "/keys/bulk-tagging", || to(api_keys::bulk::ask_tag)),
        post(Door::Page, "/keys/bulk-tagging", || to(api_keys::bulk::tag)),
        get(Door::Page, "/keys/bulk-deletion", || to(api_keys::bulk::ask_delete)),
        post(Door::Page, "/keys/bulk-deletion", || to(api_keys::bulk::delete)),
        get(Door::Page, "/keys/{id}", || to(api_keys::show)),
        post(Door::Page, "/keys/{id}", || to(api_keys::update)),
        get(Door::Page, "/keys/{id}/edit", || to(api_keys::edit)),
        get(Door::Page, "/keys/{id}/rotation", || to(api_keys::rotation::new)),
        post(Door::Page, "/keys/{id}/rotation", || to(api_keys::rotation::create)),
        post(Door::Page, "/keys/{id}/activation", || to(api_keys::acts::enable)),
        get(Door::Page, "/keys/{id}/deactivation", || to(api_keys::acts::ask_disable)),
        post(Door::Page, "/keys/{id}/deactivation", || to(api_keys::acts::disable)),
        get(Door::Page, "/keys/{id}/revocation", || to(api_keys::acts::ask_revoke)),
        post(Door::Page, "/keys/{id}/revocation", || to(api_keys::acts::revoke)),
        get(Door::Page, "/keys/{id}/deletion", || to(api_keys::acts::ask_delete)),
        post(Door::Page, "/keys/{id}/deletion", || to(api_keys::acts::delete)),
        post(Door::Page, "/keys/{id}/restoration", || to(api_keys::acts::restore)),
        get(Door::Page, "/webhooks", || to(webhooks::index)),
        post(Door::Page, "/webhooks", || to(webhooks::create)),
        get(Door::Page, "/webhooks/new", || to(webhooks::new)),
        get(Door::Page, "/webhooks/{id}", || to(webhooks::show)),
        post(Door::Page, "/webhooks/{id}", || to(webhooks::update)),
        get(Door::Page, "/webhooks/{id}/edit", || to(webhooks::edit)),
        post(Door::Page, "/webhooks/{id}/activation", || to(webhooks::acts::resume)),
        get(Door::Page, "/webhooks/{id}/deactivation", || to(webhooks::acts::ask_pause)),
        post(Door::Page, "/webhooks/{id}/deactivation", || to(webhooks::acts::pause)),
        get(Door::Page, "/webhooks/{id}/deletion", || to(webhooks::acts::ask_delete)),
        post(Door::Page, "/webhooks/{id}/deletion", || to(webhooks::acts::delete)),
        post(Door::Page, "/webhooks/{id}/headers", || to(webhooks::secrets::reveal_headers)),
        get(Door::Page, "/webhooks/{id}/key-removal", || to(webhooks::secrets::ask_remove_key)),
        post(Door::Page, "/webhooks/{id}/key-removal", || to(webhooks::secrets::remove_key)),
        get(Door::Page, "/webhooks/{id}/key-rotation", || to(webhooks::secrets::ask_rotate_key)),
        post(Door::Page, "/webhooks/{id}/key-rotation", || to(webhooks::secrets::rotate_key)),
        post(Door::Page, "/webhooks/{id}/secret", || to(webhooks::secrets::reveal)),
        get(Door::Page, "/webhooks/{id}/secret-rotation", || to(webhooks::secrets::ask_rotate)),
        post(Door::Page, "/webhooks/{id}/secret-rotation", || to(webhooks::secrets::rotate)),
        post(Door::Page, "/webhooks/{id}/test", || to(webhooks::acts::test)),
        get(Door::Page, "/deliveries", || to(deliveries::index)),
        get(Door::Page, "/deliveries/{id}", || to(deliveries::show)),
        get(Door::Page, "/deliveries/{id}/cancellation", || to(deliveries::ask_cancel)),
        post(Door::Page, "/deliveries/{id}/cancellation", || to(deliveries::cancel)),
        post(Door::Page, "/deliveries/{id}/redelivery", || to(deliveries::redeliver)),
        get(Door::Page, "/events", || to(events::index)),
        post(Door::Page, "/events", || to(events::create)),
        get(Door::Page, "/events/new", || to(events::new)),
        get(Door::Page, "/events/{id}", || to(events::show)),
        get(Door::Page, "/usage", || to(usage::index)),
        get(Door::Page, "/usage.csv", || to(usage::export)),
        get(Door::Page, "/usage/records", || to(usage::records::index)),
        get(Door::Page, "/password-reset/request", || to(password_resets::request::new)),
        post(Door::Page, "/password-reset/request", || to(password_resets::request::create)),
        get(Door::Page, "/password-reset", || to(password_resets::new)),
        post(Door::Page, "/password-reset", || to(password_resets::create)),
        get(Door::Page, "/account", || to(account::index)),
        post(Door::Page, "/account", || to(account::rename)),
        post(Door::Page, "/account/password", || to(account::change_password)),
        get(Door::Page, "/account/second-factor", || to(account::second_factor::show)),
        post(Door::Page, "/account/second-factor", || to(account::second_factor::create)),
        post(Door::Page, "/account/second-factor/activation", || to(account::second_factor::activate)),
        post(Door::Page, "/account/second-factor/deactivation", || to(account::second_factor::deactivate)),
        post(Door::Page, "/account/second-factor/recovery-codes", || to(account::second_factor::renew_codes)),
        post(Door::Page, "/account/sessions/deletion", || to(account::sign_out_elsewhere)),
        post(Door::Page, "/account/sessions/{id}/deletion", || to(account::sign_out)),
        get(Door::Page, "/settings", || to(settings::edit)),
        post(Door::Page, "/settings", || to(settings::update)),
        get(Door::Page, "/settings/deletion", || to(settings::ask_delete)),
        post(Door::Page, "/settings/deletion", || to(settings::delete)),
        get(Door::Page, "/operator/plans", || to(operator::plans::index)),
        get(Door::Page, "/operator/plans/{name}", || to(operator::plans::edit)),
        post(Door::Page, "/operator/plans/{name}", || to(operator::plans::update)),
        get(Door::Page, "/operator/tenants", || to(operator::tenants::index)),
        post(Door::Page, "/operator/tenants", || to(operator::tenants::create)),
        get(Door::Page, "/operator/tenants/new", || to(operator::tenants::new)),
        get(Door::Page, "/operator/tenants/{id}", || to(operator::tenants::show)),
        post(Door::Page, "/operator/tenants/{id}", || to(operator::tenants::update)),
        get(Door::Page, "/operator/tenants/{id}/suspension", || to(operator::tenants::acts::ask_suspend)),
        post(Door::Page, "/operator/tenants/{id}/suspension", || to(operator::tenants::acts::suspend)),
        post(Door::Page, "/operator/tenants/{id}/activation", || to(operator::tenants::acts::resume)),
        get(Door::Page, "/operator/tenants/{id}/deletion", || to(operator::tenants::acts::ask_delete)),
        post(Door::Page, "/operator/tenants/{id}/deletion", || to(operator::tenants::acts::delete)),
        post(Door::Page, "/operator/tenants/{id}/restoration", || to(operator::tenants::acts::restore)),
        get(Door::Page, "/operator/users", || to(operator::users::index)),
        post(Door::Page, "/operator/users/{id}/activation", || to(operator::users::activate)),
        get(Door::Page, "/operator/users/{id}/deactivation", || to(operator::users::ask_deactivate)),
        post(Door::Page, "/operator/users/{id}/deactivation", || to(operator::users::deactivate)),
        get(Door::Page, "/operator/users/{id}/promotion", || to(operator::users::ask_promote)),
        post(Door::Page, "/operator/users/{id}/promotion", || to(operator::users::promote)),
        get(Door::Page, "/operator/users/{id}/demotion", || to(operator::users::ask_demote)),
        post(Door::Page, "/operator/users/{id}/demotion", || to(operator::users::demote)),
        get(Door::Page, "/operator/users/{id}/second-factor-removal", || to(operator::users::ask_remove_factor)),
        post(Door::Page, "/operator/users/{id}/second-factor-removal", || to(operator::users::remove_factor)),
        get(Door::Page, "/operator/users/{id}/reset-link", || to(operator::users::ask_reset)),
        post(Door::Page, "/operator/users/{id}/reset-link", || to(operator::users::reset)),
        get(Door::Page, "/invitation", || to(members::invitations::show)),
        post(Door::Page, "/invitation", || to(members::invitations::accept)),
        get(Door::Page, "/members", || to(members::index)),
        post(Door::Page, "/members/invitations", || to(members::invitations::create)),
        get(Door::Page, "/members/invitations/new", || to(members::invitations::new)),
        get(Door::Page, "/members/invitations/{id}/revocation", || to(members::invitations::ask_revoke)),
        post(Door::Page, "/members/invitations/{id}/revocation", || to(members::invitations::revoke)),
        get(Door::Page, "/members/{id}/role", || to(members::ask_change)),
        post(Door::Page, "/members/{id}/role", || to(members::change)),
        get(Door::Page, "/members/{id}/removal", || to(members::ask_removal)),
        post(Door::Page, "/members/{id}/removal", || to(members::remove)),
        get(Door::Page, "/audit", || to(audit::index)),
        get(Door::Page, "/audit.csv", || to(audit::csv)),
        get(Door::Page, "/tokens", || to(access_tokens::index)),
        post(Door::Page, "/tokens", || to(access_tokens::create)),
        get(Door::Page, "/tokens/new", || to(access_tokens::new)),
        get(Door::Page, "/tokens/{id}/revocation", || to(access_tokens::ask_revoke)),
        post(Door::Page, "/tokens/{id}/revocation", || to(access_tokens::revoke)),
    ]
}

/// Returns a base URL without its trailing slash, to append paths to.
pub fn stem(base: &Url) -> &str {
    base.as_str().trim_end_matches('/')
}

/// Responds with a page. Caches must not store it, since every page is private.
pub fn page(view: &impl Template) -> Answer {
    rendered(StatusCode::OK, view)
}

/// Responds 422 with a form and its error messages.
pub fn unprocessable(view: &impl Template) -> Answer {
    rendered(StatusCode::UNPROCESSABLE_ENTITY, view)
}

/// Renders a form that is refused: with 429 and `Retry-After` where it was sent too often, else as [`unprocessable`].
pub fn refused(retry_after: Option<Duration>, view: &impl Template) -> Answer {
    let Some(wait) = retry_after else { return unprocessable(view) };
    let mut response = rendered(StatusCode::TOO_MANY_REQUESTS, view)?;
    response.headers_mut().insert(RETRY_AFTER, whole_seconds(wait).into());
    Ok(response)
}

/// Responds with a page and this status. Caches must not store it.
pub fn rendered(status: StatusCode, view: &impl Template) -> Answer {
    let html = view.render().map_err(Error::bug)?;
    Ok(HttpResponse::build(status)
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(html))
}

/// Redirects after a change and shows a message there.
pub fn see_other(session: &Session, url: impl AsRef<str>, said: Flash) -> Answer {
    flash::set(session, &said);
    go(url)
}

/// Redirects to the page of the button with the reason why the change was refused. Other errors become error pages.
pub fn back(session: &Session, url: impl AsRef<str>, error: Error) -> Answer {
    match error {
        Error::Conflict(says) | Error::LimitReached(says) => see_other(session, url, Flash::bad(text::sentence(&says))),
        error => Err(error.into()),
    }
}

/// Redirects to a URL after a POST.
pub fn go(url: impl AsRef<str>) -> Answer {
    Ok(HttpResponse::SeeOther().insert_header((LOCATION, url.as_ref())).finish())
}
