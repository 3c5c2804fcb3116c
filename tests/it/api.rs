//! JSON API and routes for API keys, used as programs use them.

mod access_tokens;
mod addresses;
mod api_keys;
mod audit;
mod bulk;
mod deliveries;
mod events;
mod gate;
mod idempotency;
mod inbound;
mod key_life;
mod key_lists;
mod key_uses;
mod limits;
mod login;
mod lookup;
mod members;
mod messages;
mod null_fields;
mod odd_input;
mod paging;
mod plans;
mod requirements;
mod search;
mod shares;
mod tenants;
mod upgrade_offers;
mod usage;
mod usage_requests;
mod verification;
mod verifications;
mod waiting;
mod webhooks;

use serde_json::{Value, json};

use crate::support::{Person, TestApp};

/// Returns a program with a token of Ada, an admin of `acme`.
async fn admin(app: &TestApp) -> Person {
    let ada = app.admin("ada").await;
    app.token_of(&ada, &["*"])
}

/// Creates a key with these additional fields.
async fn mint(token: &Person, extra: Value) -> Value {
    let mut body = json!({"name": "ci"});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    token.post_json("/api/keys", body).await.assert_status(201).json()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field} in {value}"))
}

fn path(key: &Value, act: &str) -> String {
    format!("/api/keys/{}{act}", key["id"])
}
