//! Custom headers of a webhook: their names are visible to all who see it, their values are sealed.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use diesel::pg::PgConnection;
use serde_json::{Map, Value, json};

use super::super::audit::{self, AuditedAct};
use super::{target, to_reveal};
use crate::domain::vault::Vault;
use crate::domain::webhook;
use crate::domain::{Actor, Error, Rejection, Result, TenantId, WebhookId};
use crate::model::Webhook;
use crate::store::{self, Tx};

/// Parsed headers: new values, and names whose stored values stay.
pub struct Given {
    pub fresh: BTreeMap<String, String>,
    pub kept: Vec<String>,
}

/// Parses the headers of a request. `before` holds the stored headers, or null. Returns `None` if the request names
/// none.
pub(super) fn given(
    asked: Option<&BTreeMap<String, String>>,
    before: &Value,
) -> std::result::Result<Option<Given>, Rejection> {
    let Some(asked) = asked else { return Ok(None) };
    let (mut fresh, mut kept) = (BTreeMap::new(), Vec::new());
    for (name, value) in webhook::custom_headers(asked)? {
        match value {
            Some(value) => drop(fresh.insert(name, value)),
            None if before.get(&name).is_some() => kept.push(name),
            None => return Err(Rejection::new("header", format!("must have a value for {name}: none is stored"))),
        }
    }
    Ok(Some(Given { fresh, kept }))
}

/// Refuses to send sealed values to another URL. One origin can serve several tenants, so path and query count too.
pub(super) fn must_be_new(before: &Webhook, url: &str, given: Option<&Given>) -> Result<()> {
    let keeps = given.map_or_else(|| !before.header_names().is_empty(), |given| !given.kept.is_empty());
    if !keeps || before.url == url {
        return Ok(());
    }
    let detail = "must be entered again or removed: stored values are not sent to another URL";
    Err(Error::field("headers", Rejection::new("header", detail)))
}

/// Seals the headers of a new webhook.
pub(super) fn keep(
    conn: &mut PgConnection,
    vault: &Vault,
    webhook: Webhook,
    values: &BTreeMap<String, String>,
) -> Result<Webhook> {
    let given = Given { fresh: values.clone(), kept: Vec::new() };
    if values.is_empty() { Ok(webhook) } else { change(conn, vault, webhook, given) }
}

pub(super) fn change(conn: &mut PgConnection, vault: &Vault, webhook: Webhook, given: Given) -> Result<Webhook> {
    let mut values = seal(vault, webhook.tenant_id, webhook.id, &given.fresh)?;
    for name in given.kept {
        if let Some(kept) = webhook.headers.get(&name) {
            values.insert(name, kept.clone());
        }
    }
    let headers = Value::Object(values);
    store::webhooks::update_headers(conn, webhook.tenant_id, webhook.id, &headers)?;
    Ok(Webhook { headers, ..webhook })
}

/// Seals values as `{"x-team": {"sealed": "…"}}`, each bound to its tenant, webhook and name.
fn seal(
    vault: &Vault,
    tenant: TenantId,
    id: WebhookId,
    values: &BTreeMap<String, String>,
) -> Result<Map<String, Value>> {
    let one = |(name, value): (&String, &String)| {
        let sealed = vault.seal(tenant, &vault_name(id, name), value.as_bytes())?;
        Ok((name.clone(), json!({"sealed": STANDARD.encode(sealed)})))
    };
    values.iter().map(one).collect()
}

fn vault_name(id: WebhookId, name: &str) -> String {
    format!("{}/header:{name}", Webhook::vault_name(id))
}

/// Opens the values to send. Values stored by early versions are plain text.
pub(in crate::services) fn open(
    vault: &Vault,
    tenant: TenantId,
    id: WebhookId,
    kept: &Value,
) -> Result<BTreeMap<String, String>> {
    let one = |(name, value): (&String, &Value)| {
        let text = match value {
            Value::String(plain) => plain.clone(),
            value => {
                let sealed = value.get("sealed").and_then(Value::as_str).and_then(|text| STANDARD.decode(text).ok());
                let sealed = sealed.ok_or_else(|| Error::bug("a header's value is kept in no known form"))?;
                String::from_utf8(vault.open(tenant, &vault_name(id, name), &sealed)?).map_err(Error::bug)?
            }
        };
        Ok((name.clone(), text))
    };
    kept.as_object().into_iter().flatten().map(one).collect()
}

/// Reveals header values. Each call is recorded in the audit log.
pub fn reveal(tx: &mut Tx<'_>, vault: &Vault, actor: &Actor, id: WebhookId) -> Result<BTreeMap<String, String>> {
    let webhook = to_reveal(tx, actor, id)?;
    let values = open(vault, actor.tenant, id, &webhook.headers)?;
    let deed = AuditedAct::new("webhook.headers_revealed", target(id)).with("name", webhook.name.as_str());
    audit::record(tx, actor, deed.with("headers", values.keys().cloned().collect::<Vec<_>>()))?;
    Ok(values)
}

/// Seals the same values with the current master key.
pub(in crate::services) fn reseal(vault: &Vault, tenant: TenantId, id: WebhookId, kept: &Value) -> Result<Value> {
    Ok(Value::Object(seal(vault, tenant, id, &open(vault, tenant, id, kept)?)?))
}

/// Seals values that an earlier version stored as plain text, in all tenants. Returns the number of webhooks.
pub fn seal_plain(conn: &mut PgConnection, vault: &Vault) -> Result<usize> {
    let open_ones = store::webhooks::lock_with_plain_headers(conn)?;
    for (tenant, id, headers) in &open_ones {
        let values = open(vault, *tenant, *id, headers)?;
        let sealed = Value::Object(seal(vault, *tenant, *id, &values)?);
        store::webhooks::update_headers(conn, *tenant, *id, &sealed)?;
    }
    Ok(open_ones.len())
}
