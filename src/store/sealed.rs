//! Secrets that the master key has sealed, in all tables: read and replaced in batches.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Bytea, Nullable, Text};
use serde_json::Value;

use crate::domain::{Result, TenantId, WebhookId};
use crate::schema::webhooks;

/// A table with sealed secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretTable {
    /// Signing secrets of webhooks.
    SigningSecrets,
    /// Second factors of users.
    SecondFactors,
    /// Mails that wait to be sent.
    Mails,
}

impl SecretTable {
    /// All of these tables.
    pub const ALL: [Self; 3] = [Self::SigningSecrets, Self::SecondFactors, Self::Mails];

    /// Returns the table, its key, the tenant, and the id of the row to which the vault binds a secret.
    const fn columns(self) -> [&'static str; 4] {
        match self {
            Self::SigningSecrets => ["signing_secrets", "id", "tenant_id", "webhook_id"],
            Self::SecondFactors => ["second_factors", "user_id", "0::bigint", "user_id"],
            Self::Mails => ["mails", "id", "coalesce(tenant_id, 0)", "id"],
        }
    }
}

/// SQL of all sealed values, header values of webhooks included.
const EVERYTHING: &str = "SELECT sealed FROM signing_secrets UNION ALL SELECT sealed FROM second_factors
     UNION ALL SELECT sealed FROM mails
     UNION ALL SELECT decode(value ->> 'sealed', 'base64') FROM webhooks, jsonb_each(headers)
     WHERE jsonb_typeof(value) = 'object'";

/// One sealed secret.
#[derive(QueryableByName)]
pub struct Sealed {
    /// Key of the row.
    #[diesel(sql_type = BigInt)]
    pub key: i64,
    /// Tenant of the secret; 0 for users, who belong to no tenant.
    #[diesel(sql_type = BigInt)]
    pub tenant: TenantId,
    /// Id to which the secret is bound: a webhook, a user or a mail.
    #[diesel(sql_type = BigInt)]
    pub owner: i64,
    /// The sealed bytes.
    #[diesel(sql_type = Bytea)]
    pub sealed: Vec<u8>,
}

/// Lists up to `limit` secrets with a key after `after` that don't start with this mark, ordered by key.
pub fn list_others(
    conn: &mut PgConnection,
    kept: SecretTable,
    mark: &[u8],
    after: i64,
    limit: i64,
) -> Result<Vec<Sealed>> {
    let [table, key, tenant, owner] = kept.columns();
    let query = diesel::sql_query(format!(
        "SELECT {key} AS key, {tenant} AS tenant, {owner} AS owner, sealed FROM {table}
         WHERE {key} > $2 AND substring(sealed FROM 1 FOR octet_length($1)) <> $1 ORDER BY {key} LIMIT $3"
    ));
    Ok(query.bind::<Bytea, _>(mark).bind::<BigInt, _>(after).bind::<BigInt, _>(limit).load(conn)?)
}

/// Locks up to `limit` webhooks after `after` with a header value that doesn't start with this mark, and returns their
/// headers. Deleted webhooks are included.
pub fn lock_headers(
    conn: &mut PgConnection,
    mark: &[u8],
    after: i64,
    limit: i64,
) -> Result<Vec<(TenantId, WebhookId, Value)>> {
    let is_other =
        sql::<Bool>("EXISTS (SELECT FROM jsonb_each(headers) WHERE jsonb_typeof(value) = 'object' AND position(")
            .bind::<Bytea, _>(mark)
            .sql(" in decode(value ->> 'sealed', 'base64')) <> 1)");
    let rows =
        webhooks::table.filter(webhooks::id.gt(WebhookId(after))).filter(is_other).order(webhooks::id).limit(limit);
    Ok(rows.select((webhooks::tenant_id, webhooks::id, webhooks::headers)).for_update().load(conn)?)
}

/// Replaces a sealed secret. Returns false if it has changed meanwhile.
pub fn replace(conn: &mut PgConnection, kept: SecretTable, row: &Sealed, sealed: &[u8]) -> Result<bool> {
    let [table, key, ..] = kept.columns();
    let query = diesel::sql_query(format!("UPDATE {table} SET sealed = $1 WHERE {key} = $2 AND sealed = $3"));
    let bound = query.bind::<Bytea, _>(sealed).bind::<BigInt, _>(row.key).bind::<Bytea, _>(&row.sealed);
    Ok(bound.execute(conn)? == 1)
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Counts secrets that name a key which is none of these. Form 2 is the one that names keys: `domain::vault`.
pub fn count_foreign(conn: &mut PgConnection, marks: &[Vec<u8>]) -> Result<i64> {
    let query = diesel::sql_query(format!(
        "SELECT count(*) AS count FROM ({EVERYTHING}) s
         WHERE get_byte(sealed, 0) = 2 AND substring(sealed FROM 1 FOR 9) <> ALL ($1)"
    ));
    Ok(query.bind::<Array<Bytea>, _>(marks).get_result::<Count>(conn)?.count)
}

/// Number of secrets that one key has sealed.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct OfKey {
    /// Id of the key in hexadecimal; `None` for secrets of the older form, which names no key.
    #[diesel(sql_type = Nullable<Text>)]
    pub key: Option<String>,
    /// Number of secrets.
    #[diesel(sql_type = BigInt)]
    pub count: i64,
}

/// Counts all sealed secrets by key.
pub fn count_by_key(conn: &mut PgConnection) -> Result<Vec<OfKey>> {
    let query = diesel::sql_query(format!(
        "SELECT CASE get_byte(sealed, 0) WHEN 2 THEN encode(substring(sealed FROM 2 FOR 8), 'hex') END AS key, count(*) AS count
         FROM ({EVERYTHING}) s GROUP BY 1 ORDER BY 1"
    ));
    Ok(query.load(conn)?)
}
