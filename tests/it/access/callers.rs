//! Callers of the access table: people with sessions and tokens, programs with tokens and keys.

use std::collections::HashMap;
use std::sync::Mutex;

use gatepost::domain::access_token::SCOPES;
use gatepost::domain::api_key::{KeyDraft, NewKey};
use gatepost::domain::scope::ScopeSet;
use gatepost::domain::{Role, TenantId, UserId};
use gatepost::services::tenants::{self, TenantChange};
use gatepost::services::{Operator, api_keys};
use gatepost::web::routes::Door;
use reqwest::Method;
use serde_json::Value;

use super::rows;
use crate::support::{Answer, Person, TestApp};

pub const CALLERS: [&str; 13] = [
    "stranger",
    "other",
    "viewer",
    "developer",
    "admin",
    "owner",
    "operator",
    "token",
    "bare-token",
    "instance",
    "key",
    "bare-key",
    "suspended",
];

/// Body of a request.
pub enum Body {
    Nothing,
    Json(Value),
    Form(Vec<(&'static str, String)>),
}

/// Caller with credentials for one kind of route.
pub struct Caller {
    pub person: Person,
    /// Token for forms. `None` for visitors, who read it from the sign-in page.
    form: Option<String>,
    /// User whose rows the placeholders `{own-…}` mean.
    pub user: Option<UserId>,
}

impl Caller {
    pub async fn ask(&self, method: &str, path: &str, body: Body) -> Answer {
        let method: Method = method.parse().unwrap();
        match body {
            Body::Nothing if method == Method::GET => {
                self.person.with("accept", "text/html, application/json").get(path).await
            }
            Body::Nothing => self.person.send(method, path, None).await,
            Body::Json(value) => self.person.send(method, path, Some(("application/json", value.to_string()))).await,
            Body::Form(fields) => {
                let token = match &self.form {
                    Some(token) => token.clone(),
                    None => self.person.visit("/sign-in").await.html().value("_csrf"),
                };
                let fields = fields.iter().map(|(name, value)| (*name, value.as_str()));
                let all: Vec<_> = std::iter::once(("_csrf", token.as_str())).chain(fields).collect();
                self.person.submit_exactly(path, &all).await
            }
        }
    }
}

pub struct Callers {
    people: HashMap<&'static str, Person>,
    /// Form tokens by caller. They stay the same for a whole session.
    forms: HashMap<&'static str, String>,
    /// Client without a session. Programs use it with a header added, since creating a client is slow.
    visitor: Person,
    closed: TenantId,
    /// Credentials by caller and scope, created at the first use.
    made: Mutex<HashMap<String, String>>,
}

impl Callers {
    pub async fn gather(app: &TestApp) -> Self {
        let (beta, closed) = (app.make_tenant("beta"), app.make_tenant("closed"));
        let people = HashMap::from([
            ("other", app.person("olga", beta, Role::Admin).await),
            ("viewer", app.viewer("vera").await),
            ("developer", app.developer("dora").await),
            ("admin", app.admin("ada").await),
            ("owner", app.owner("otto").await),
            ("operator", app.operator("oscar").await),
        ]);
        let mut forms = HashMap::new();
        for (name, person) in &people {
            forms.insert(*name, person.form_token().await);
        }
        let callers = Self { people, forms, visitor: app.stranger(), closed, made: Mutex::default() };
        // Create keys before the tenant is suspended, since it cannot create any afterwards.
        for scope in SCOPES {
            callers.key(app, "suspended", scope);
        }
        callers.key(app, "suspended", "-");
        let change = TenantChange { is_active: Some(false), ..TenantChange::default() };
        app.tx(|tx| tenants::update(tx, &Operator::at_the_console(), closed, change)).unwrap();
        callers
    }

    pub fn user(&self, name: &str) -> UserId {
        UserId(self.people[name].user_id)
    }

    /// Returns the caller of this name, with credentials for this kind of route and scope.
    pub fn named(&self, name: &'static str, scope: &str, door: Door, app: &TestApp) -> Caller {
        let bearing = |token: String| self.visitor.with("authorization", &format!("Bearer {token}"));
        let person = match name {
            "stranger" => self.visitor.clone(),
            "token" | "bare-token" | "instance" => bearing(self.token(app, name, scope)),
            "key" | "bare-key" | "suspended" => self.visitor.with("x-api-key", &self.key(app, name, scope)),
            _ if door == Door::Page => self.people[name].clone(),
            _ => bearing(self.token(app, name, "-")),
        };
        let user = match name {
            "token" | "bare-token" => Some(self.user("owner")),
            "instance" => Some(self.user("operator")),
            _ => self.people.get(name).map(|person| UserId(person.user_id)),
        };
        Caller { person, form: self.forms.get(name).cloned(), user }
    }

    fn token(&self, app: &TestApp, name: &str, scope: &str) -> String {
        let make = || {
            let scopes = scopes(scope, name == "bare-token");
            match name {
                "instance" => app.mint_token(self.user("operator"), None, &scopes),
                "token" | "bare-token" => app.mint_token(self.user("owner"), Some(app.tenant), &scopes),
                "other" => {
                    let beta = tenants::find(&mut app.conn(), &tenants::TenantRef::Slug("beta".to_owned())).unwrap();
                    app.mint_token(self.user(name), Some(beta.id), &scopes)
                }
                _ => app.mint_token(self.user(name), Some(app.tenant), &scopes),
            }
        };
        self.cached(name, scope, make)
    }

    fn key(&self, app: &TestApp, name: &str, scope: &str) -> String {
        let make = || {
            let tenant = if name == "suspended" { self.closed } else { app.tenant };
            let scopes = match scope {
                "-" => Vec::new(),
                _ => scopes(scope, name == "bare-key").into_iter().map(str::to_owned).collect(),
            };
            let draft = KeyDraft { name: Some(format!("{name} {scope}")), scopes, ..KeyDraft::default() };
            let ask = NewKey::parse(draft, app.clock.now()).unwrap();
            let actor = rows::owner_of(tenant, None);
            let hasher = &app.running().state.hasher;
            app.tx(|tx| api_keys::mint(tx, &actor, hasher, ask)).unwrap().secret.reveal_once()
        };
        self.cached(name, scope, make)
    }

    fn cached(&self, name: &str, scope: &str, make: impl FnOnce() -> String) -> String {
        let mut made = self.made.lock().unwrap();
        made.entry(format!("{name} {scope}")).or_insert_with(make).clone()
    }
}

/// Returns the scopes in `scope` (`a:read+a:write`), or all scopes for `-`. With `is_bare`, returns all scopes that do
/// not allow any of them.
fn scopes(scope: &str, is_bare: bool) -> Vec<&str> {
    let needed: Vec<&str> = scope.split('+').collect();
    let gives_none = |held: &&str| {
        let held = ScopeSet::new(vec![(*held).to_owned()]);
        !needed.iter().any(|needed| held.allows(needed))
    };
    match (scope, is_bare) {
        ("-", _) => vec!["*"],
        (_, true) => SCOPES.into_iter().filter(gives_none).collect(),
        (_, false) => needed,
    }
}
