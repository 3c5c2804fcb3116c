//! New rows for the placeholders of the table's paths, and request bodies for the routes.

use std::cell::RefCell;

use diesel::pg::PgConnection;
use diesel::prelude::*;
use gatepost::domain::access_token::{NewToken, TokenDraft};
use gatepost::domain::actor::Authority;
use gatepost::domain::address::AddressPolicy;
use gatepost::domain::api_key::{KeyDraft, NewKey};
use gatepost::domain::page::Paging;
use gatepost::domain::scope::ScopeSet;
use gatepost::domain::{Actor, AttemptId, DeliveryId, Role, TenantId, UserId, Via, WebhookId};
use gatepost::schema::attempts;
use gatepost::services::events::NewEvent;
use gatepost::services::tenants::life;
use gatepost::services::webhooks::WebhookFields;
use gatepost::services::{Operator, access_tokens, api_keys, deliveries, events, invitations, webhooks};
use gatepost::store::deliveries::DeliveryFilter;
use gatepost::store::{self, Scope, Tx};
use gatepost::web::routes::Door;
use serde_json::{Value, json};

use super::callers::{Body, Caller, Callers};
use super::pattern;
use crate::support::TestApp;
use crate::support::people::PASSWORD;

/// Text in the names and payloads of all rows of `acme`. Callers of other tenants must never see it.
pub const MARK: &str = "for-acme-only";

/// Returns an actor who can do everything in a tenant.
pub fn owner_of(tenant: TenantId, user: Option<UserId>) -> Actor {
    Actor {
        tenant,
        user,
        is_operator: false,
        authority: Authority::Person { role: Role::Owner, scopes: ScopeSet::all() },
        via: Via::Api,
        label: "test".to_owned(),
        ip: None,
        request_id: None,
    }
}

/// Webhook, an event sent to it, and their delivery with one attempt.
struct DeliveryRows {
    webhook: i64,
    event: String,
    delivery: DeliveryId,
    attempt: AttemptId,
}

pub struct Rows<'a> {
    app: &'a TestApp,
    conn: RefCell<PgConnection>,
    /// Owner of rows that are not the caller's own.
    ada: UserId,
}

impl<'a> Rows<'a> {
    pub fn new(app: &'a TestApp, callers: &Callers) -> Self {
        Self { app, conn: RefCell::new(app.conn()), ada: callers.user("admin") }
    }

    /// Replaces `{key}`, `{own-webhook}` and other placeholders with ids of new rows.
    pub fn fill(&self, path: &str, caller: &Caller) -> String {
        let Some((before, rest)) = path.split_once('{') else { return path.to_owned() };
        let (what, after) = rest.split_once('}').unwrap();
        let (kind, user) = match what.strip_prefix("own-") {
            Some(kind) => (kind, caller.user.unwrap_or(self.ada)),
            None => (what, self.ada),
        };
        let id = self.make(kind, &owner_of(self.app.tenant, Some(user)));
        format!("{before}{id}{}", self.fill(after, caller))
    }

    fn make(&self, kind: &str, actor: &Actor) -> String {
        match kind {
            "tenant" => self.app.tenant.to_string(),
            "plan" => "pro".to_owned(),
            "spare-tenant" => self.app.make_tenant(&unique("spare")).to_string(),
            "suspended-tenant" => {
                let tenant = self.app.make_tenant(&unique("suspended"));
                let who = Operator::at_the_console();
                self.tx(|tx| life::suspend(tx, &who, tenant, None)).unwrap().id.to_string()
            }
            "deleted-tenant" => {
                let tenant = self.app.make_tenant(&unique("deleted"));
                let who = Operator::at_the_console();
                self.tx(|tx| life::delete(tx, &who, tenant)).unwrap().id.to_string()
            }
            "member" => {
                let user = self.app.make_user(&unique("member"), false);
                self.app.make_member(self.app.tenant, user, Role::Viewer);
                user.to_string()
            }
            // Id of no session, so that no caller is signed out.
            "session" => "4611686018427387904".to_owned(),
            "invitation" => self.invitation(actor),
            "user" => self.app.make_user(&unique("user"), false).to_string(),
            "key" => self.key(actor),
            "deleted-key" => self.deleted_key(actor),
            "token" => self.token(actor),
            "webhook" => self.delivery_rows(actor, true).webhook.to_string(),
            "event" => self.delivery_rows(actor, true).event,
            // A waiting delivery can be cancelled, and an ended one can be sent again.
            "waiting-delivery" => self.delivery_rows(actor, false).delivery.to_string(),
            "delivery" => self.delivery_rows(actor, true).delivery.to_string(),
            "attempt" => self.delivery_rows(actor, true).attempt.to_string(),
            "file" => "gatepost.css".to_owned(),
            "original" => "orders/7".to_owned(),
            _ => panic!("nobody knows how to make a {kind}"),
        }
    }

    fn key(&self, actor: &Actor) -> String {
        let (hasher, now) = (&self.app.running().state.hasher, self.app.clock.now());
        let ask = NewKey::parse(KeyDraft { name: Some(MARK.to_owned()), ..KeyDraft::default() }, now).unwrap();
        self.tx(|tx| api_keys::mint(tx, actor, hasher, ask)).unwrap().key.id.to_string()
    }

    fn deleted_key(&self, actor: &Actor) -> String {
        let id = self.key(actor);
        self.tx(|tx| api_keys::delete(tx, actor, id.parse().unwrap())).unwrap();
        id
    }

    /// Creates a key that belongs to another member of `acme`, for bulk changes.
    fn some_key(&self) -> i64 {
        self.key(&owner_of(self.app.tenant, Some(self.ada))).parse().unwrap()
    }

    fn token(&self, actor: &Actor) -> String {
        let (hasher, now) = (&self.app.running().state.hasher, self.app.clock.now());
        let draft = TokenDraft { name: Some(MARK.to_owned()), tenant: Some(actor.tenant), ..TokenDraft::default() };
        let (ask, who) = (NewToken::parse(draft, now).unwrap(), Operator::at_the_console());
        let user = actor.user.unwrap();
        // The admin of the other tenant cannot have tokens in this one.
        let user = if self.is_member(user) { user } else { self.ada };
        self.tx(|tx| access_tokens::mint_for(tx, &who, hasher, user, ask)).unwrap().token.id.to_string()
    }

    fn invitation(&self, actor: &Actor) -> String {
        let ask = invitations::InvitationRequest::parse(
            &format!("{}@{MARK}.example", unique("guest")),
            "viewer",
            ("days", None),
        )
        .unwrap();
        self.tx(|tx| invitations::create(tx, actor, &ask)).unwrap().invitation.id.to_string()
    }

    fn tx<T>(&self, work: impl FnOnce(&mut Tx<'_>) -> gatepost::domain::Result<T>) -> gatepost::domain::Result<T> {
        Tx::run(&mut self.conn.borrow_mut(), self.app.clock.now(), work)
    }

    fn is_member(&self, user: UserId) -> bool {
        store::memberships::find(&mut self.conn.borrow_mut(), self.app.tenant, user).unwrap().is_some()
    }

    /// Creates all rows in one transaction, so that the worker never sees a due delivery.
    fn delivery_rows(&self, actor: &Actor, is_active: bool) -> DeliveryRows {
        self.tx(|tx| Ok(self.insert_delivery(tx, actor, is_active))).unwrap()
    }

    fn insert_delivery(&self, tx: &mut Tx<'_>, actor: &Actor, is_active: bool) -> DeliveryRows {
        let (state, now) = (&self.app.running().state, self.app.clock.now());
        let kind = unique("event").replace('-', "_");
        let fields = WebhookFields {
            name: Some(MARK.to_owned()),
            url: Some("http://127.0.0.1:9/hook".to_owned()),
            events: Some(vec![kind.clone()]),
            ..WebhookFields::default()
        };
        let policy =
            AddressPolicy { private_networks: state.settings.allow_private_networks.clone(), allow_http: true };
        let webhook = webhooks::subscribe(tx, &state.vault, &policy, actor, &fields).unwrap().webhook;
        let data = json!({"mark": MARK}).to_string();
        let event = events::publish(tx, actor, &NewEvent::parse(Some(&kind), Some(&data), None).unwrap()).unwrap();
        let filter = DeliveryFilter { event: Some(event.id), ..DeliveryFilter::default() };
        let found = deliveries::list(tx, Scope::Tenant(actor.tenant), &filter, &Paging::default()).unwrap();
        let delivery = found.rows.first().unwrap().id;
        if is_active {
            deliveries::cancel(tx, actor, delivery).unwrap();
        } else {
            webhooks::deactivate(tx, actor, webhook.id).unwrap();
        }
        let (id, WebhookId(webhook_id)) = (AttemptId::generate(), webhook.id);
        let attempt = (
            attempts::id.eq(id),
            attempts::tenant_id.eq(actor.tenant),
            attempts::delivery_id.eq(delivery),
            attempts::event_id.eq(event.id),
            attempts::event_type.eq(kind),
            attempts::webhook_id.eq(webhook.id),
            attempts::number.eq(1_i64),
            attempts::request_url.eq(webhook.url),
            attempts::created_at.eq(now),
        );
        diesel::insert_into(attempts::table).values(attempt).execute(&mut **tx).unwrap();
        let webhook = webhook_id;
        DeliveryRows { webhook, event: event.id.to_string(), delivery, attempt: id }
    }

    /// Returns a body that succeeds if the caller is allowed.
    pub fn body(&self, method: &str, path: &str, door: Door) -> Body {
        if method == "GET" || method == "DELETE" {
            return Body::Nothing;
        }
        let path = pattern(path);
        if door == Door::Page {
            return Body::Form(self.form(&path));
        }
        // Alternative paths take the same bodies.
        let path = path.replace("/api/api-keys", "/api/keys");
        let path = path.strip_prefix("/api-keys").map_or_else(|| path.clone(), |rest| format!("/api/keys{rest}"));
        self.json(method, &path).map_or(Body::Nothing, Body::Json)
    }

    fn json(&self, method: &str, path: &str) -> Option<Value> {
        let tenant = self.app.tenant;
        Some(match (method, path) {
            // A new address each time, since repeated guesses would be rate-limited.
            (_, "/api/auth/login") => {
                json!({"email": format!("{}@example.com", unique("nobody")), "password": "no password of anybody's"})
            }
            ("PATCH", "/api/tenants/{}/members/{}") => json!({"role": "developer"}),
            (_, "/api/tenants/{}/invitations") => {
                json!({"email": format!("{}@example.com", unique("guest")), "role": "viewer"})
            }
            ("PATCH", "/api/plans/{}") => json!({"max_keys": 1000}),
            ("PATCH", "/api/tenants/{}") => json!({"name": "acme"}),
            (_, "/api/tenants/{}/suspension") => json!({"reason": "unpaid"}),
            ("PATCH", _) => json!({"name": "another name"}),
            (_, "/api/keys" | "/api/tokens") => json!({"name": "new", "tenant_id": tenant}),
            (_, "/api/keys/bulk-revocation" | "/api/keys/bulk-deletion") => {
                json!({"ids": [self.some_key()], "tenant_id": tenant})
            }
            (_, "/api/keys/bulk-tagging") => json!({"ids": [self.some_key()], "add": ["new"], "tenant_id": tenant}),
            (_, "/api/keys/lookup") => json!({"key": self.some_key().to_string(), "tenant_id": tenant}),
            (_, "/api/keys/search" | "/api/keys/count") => json!({"q": "x", "tenant_id": tenant}),
            (_, "/api/keys/verification" | "/api/keys/verify") => json!({"key": "sk_nonsense", "tenant_id": tenant}),
            (_, "/api/keys/verifications") => json!({"verifications": [{"key": "sk_nonsense", "tenant_id": tenant}]}),
            (_, "/api/webhooks") => {
                json!({"url": "http://127.0.0.1:9/hook", "events": ["never.happens"], "tenant_id": tenant})
            }
            (_, "/api/events") => json!({"type": "never.wanted", "data": {}, "tenant_id": tenant}),
            (_, "/api/events/batch") => json!({"events": [{"type": "never.wanted", "data": {}}], "tenant_id": tenant}),
            (_, "/api/usage") => {
                let key: i64 = self.key(&owner_of(tenant, Some(self.ada))).parse().unwrap();
                json!({"records": [{"key_id": key}], "tenant_id": tenant})
            }
            (_, "/api/tenants") => json!({"name": unique("tenant")}),
            (_, "/api/tenants/{}/members") => {
                json!({"user_id": self.app.make_user(&unique("member"), false).0, "role": "viewer"})
            }
            (_, "/api/users") => {
                json!({"email": format!("{}@example.com", unique("new")), "password": PASSWORD})
            }
            _ => return None,
        })
    }

    fn form(&self, path: &str) -> Vec<(&'static str, String)> {
        let text = |text: &str| text.to_owned();
        match path {
            "/setup" => vec![
                ("token", text("a guess")),
                ("email", format!("{}@example.com", unique("new"))),
                ("password", text(PASSWORD)),
                ("tenant", text("New")),
            ],
            // A new address each time, since repeated guesses would be rate-limited.
            "/sign-in" => {
                vec![
                    ("email", format!("{}@example.com", unique("nobody"))),
                    ("password", text("no password of anybody's")),
                ]
            }
            "/account/second-factor/activation" | "/account/second-factor/deactivation" | "/sign-in/code" => {
                vec![("code", text("no code"))]
            }
            "/account/second-factor" => vec![("current_password", text(PASSWORD))],
            "/account" => vec![("name", text("somebody"))],
            // Lacks the current password on purpose: the request must not change the password.
            "/account/password" => vec![("password", text(PASSWORD))],
            "/password-reset/request" => vec![("email", format!("{}@example.com", unique("nobody")))],
            "/password-reset" => vec![("token", text("a guess")), ("password", text(PASSWORD))],
            "/members/{}/role" => vec![("role", text("developer"))],
            "/members/invitations" => vec![
                ("nonce", unique("nonce-of-this-test")),
                ("email", format!("{}@example.com", unique("guest"))),
                ("role", text("viewer")),
                ("days", text("7")),
            ],
            "/invitation" => vec![("token", text("a guess")), ("name", text("x")), ("password", text(PASSWORD))],
            "/settings" => vec![("name", text("acme")), ("key_prefix", text("sk"))],
            "/settings/deletion" | "/operator/tenants/{}/deletion" => vec![("confirmation", text("another slug"))],
            "/operator/tenants" => vec![("name", unique("tenant")), ("plan", text("pro"))],
            "/operator/tenants/{}" => vec![("name", text("acme")), ("plan", text("unlimited"))],
            "/operator/plans/{}" => vec![("default_rate_limit", text("1000"))],
            "/operator/tenants/{}/suspension" => vec![("reason", text("unpaid"))],
            "/tenant" => vec![("tenant", self.app.tenant.to_string())],
            "/keys/lookup" => vec![("clue", self.some_key().to_string())],
            "/keys/bulk-revocation" | "/keys/bulk-deletion" => vec![("ids", self.some_key().to_string())],
            "/keys/bulk-tagging" => vec![("ids", self.some_key().to_string()), ("add", text("new"))],
            "/keys/{}/rotation" => vec![("nonce", unique("nonce-of-this-test")), ("overlap_seconds", text("86400"))],
            // Deletion asks to type the name again.
            "/keys/{}/deletion" | "/webhooks/{}/deletion" => vec![("confirmation", text(MARK))],
            "/keys" | "/keys/{}" => vec![
                ("nonce", unique("nonce-of-this-test")),
                ("name", text("new")),
                ("environment", text("live")),
                ("expiry", text("never")),
                ("rate_limit", text("1000")),
                ("rate_window_seconds", text("3600")),
            ],
            "/webhooks" | "/webhooks/{}" => vec![
                ("nonce", unique("nonce-of-this-test")),
                ("url", text("http://127.0.0.1:9/hook")),
                ("events", text("never.happens")),
                ("payload_format", text("standard")),
                ("signature_style", text("prefixed")),
                ("timeout_seconds", text("30")),
                ("max_in_flight", text("10")),
            ],
            "/webhooks/{}/test" => vec![("type", text("webhook.test"))],
            "/events" => {
                vec![("nonce", unique("nonce-of-this-test")), ("type", text("never.wanted")), ("data", text("{}"))]
            }
            "/tokens" => vec![
                ("nonce", unique("nonce-of-this-test")),
                ("name", text("new")),
                ("reach", text("tenant")),
                ("scopes", text("keys:read")),
                ("expiry", text("90")),
            ],
            _ => Vec::new(),
        }
    }
}

fn unique(stem: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{stem}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
