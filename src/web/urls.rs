//! URLs of pages, all built here.

use url::form_urlencoded::byte_serialize;

use crate::domain::{AccessTokenId, ApiKeyId, DeliveryId, EventId, InvitationId, TenantId, UserId, WebhookId};

pub const OVERVIEW: &str = "/";
pub const SETUP: &str = "/setup";
pub const SIGN_IN: &str = "/sign-in";
pub const SIGN_OUT: &str = "/sign-out";
pub const TENANT: &str = "/tenant";
pub const KEYS: &str = "/keys";
pub const NEW_KEY: &str = "/keys/new";
pub const KEYS_CSV: &str = "/keys.csv";
pub const KEY_LOOKUP: &str = "/keys/lookup";
pub const DELETED_KEYS: &str = "/keys?state=deleted";
pub const WEBHOOKS: &str = "/webhooks";
pub const NEW_WEBHOOK: &str = "/webhooks/new";
pub const DELIVERIES: &str = "/deliveries";
pub const EVENTS: &str = "/events";
pub const NEW_EVENT: &str = "/events/new";
pub const USAGE: &str = "/usage";
pub const USAGE_CSV: &str = "/usage.csv";
pub const USAGE_RECORDS: &str = "/usage/records";
pub const TOKENS: &str = "/tokens";
pub const AUDIT: &str = "/audit";
pub const AUDIT_CSV: &str = "/audit.csv";
pub const ACCOUNT: &str = "/account";
pub const SECOND_FACTOR: &str = "/account/second-factor";
pub const SIGN_IN_CODE: &str = "/sign-in/code";
pub const PROOF: &str = "/sign-in/proof";
pub const PASSWORD_RESET: &str = "/password-reset";
pub const LOST_PASSWORD: &str = "/password-reset/request";
pub const USERS: &str = "/operator/users";
pub const TENANTS: &str = "/operator/tenants";
pub const NEW_TENANT: &str = "/operator/tenants/new";
pub const PLANS: &str = "/operator/plans";
pub const SETTINGS: &str = "/settings";
pub const SETTINGS_DELETION: &str = "/settings/deletion";
pub const MEMBERS: &str = "/members";
pub const INVITATION: &str = "/invitation";
pub const NEW_TOKEN: &str = "/tokens/new";

/// Returns the sign-in page that leads back to this path.
pub fn sign_in_back_to(path: &str) -> String {
    if path == "/" {
        return SIGN_IN.to_owned();
    }
    back_to(SIGN_IN, path)
}

/// Returns the page that asks for a proof of identity and leads back to this path.
pub fn proof_back_to(path: &str) -> String {
    back_to(PROOF, path)
}

fn back_to(page: &str, path: &str) -> String {
    let path: String = byte_serialize(path.as_bytes()).collect();
    format!("{page}?back={path}")
}

pub fn setup_with(token: &str) -> String {
    format!("{SETUP}?token={token}")
}

pub fn key(id: ApiKeyId) -> String {
    format!("/keys/{id}")
}

/// Returns the URL of an act on a key: `edit`, `rotation`, `revocation`, `activation`, `deactivation`, `deletion` or
/// `restoration`.
pub fn key_act(id: ApiKeyId, act: &str) -> String {
    format!("/keys/{id}/{act}")
}

pub fn webhook(id: WebhookId) -> String {
    format!("/webhooks/{id}")
}

/// Returns the URL of an act on a webhook: `edit`, `activation`, `deactivation`, `deletion`, `test`, `secret` or
/// `secret-rotation`.
pub fn webhook_act(id: WebhookId, act: &str) -> String {
    format!("/webhooks/{id}/{act}")
}

pub fn delivery(id: DeliveryId) -> String {
    format!("/deliveries/{id}")
}

/// Returns the URL of an act on a delivery: `redelivery` or `cancellation`.
pub fn delivery_act(id: DeliveryId, act: &str) -> String {
    format!("/deliveries/{id}/{act}")
}

pub fn event(id: EventId) -> String {
    format!("/events/{id}")
}

pub fn token_act(id: AccessTokenId, act: &str) -> String {
    format!("/tokens/{id}/{act}")
}

/// Returns the URL of an act on a member: `role` or `removal`.
pub fn member_act(id: UserId, act: &str) -> String {
    format!("/members/{id}/{act}")
}

pub fn invitation_revocation(id: InvitationId) -> String {
    format!("/members/invitations/{id}/revocation")
}

pub fn reset_with(token: &str) -> String {
    format!("{PASSWORD_RESET}?token={token}")
}

/// Returns the URL of an act on a user: `activation`, `deactivation`, `promotion`, `demotion` or `reset-link`.
pub fn user_act(id: UserId, act: &str) -> String {
    format!("/operator/users/{id}/{act}")
}

pub fn tenant(id: TenantId) -> String {
    format!("{TENANTS}/{id}")
}

/// Returns the URL of an act on a tenant: `suspension`, `activation`, `deletion` or `restoration`.
pub fn tenant_act(id: TenantId, act: &str) -> String {
    format!("{TENANTS}/{id}/{act}")
}

pub fn plan(name: &str) -> String {
    format!("{PLANS}/{name}")
}

pub fn invitation_with(token: &str) -> String {
    format!("{INVITATION}?token={token}")
}

/// True if a redirect to the path stays on this instance: no scheme, host, backslash or control character.
pub fn is_local(path: &str) -> bool {
    path.starts_with('/')
        && !path.starts_with("//")
        // Browsers treat a backslash like a slash, so `/\host` would leave this instance.
        && !path.contains('\\')
        && !path.chars().any(|c| c.is_control() || c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_this_instance_are_local() {
        assert!(is_local("/keys?q=a"));
        for trick in ["//evil.example", "/\\evil.example", "https://evil.example", "keys", "/\t/evil.example", ""] {
            assert!(!is_local(trick), "{trick}");
        }
    }
}
