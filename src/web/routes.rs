//! Table of all routes. The server registers them from it, and the access test iterates over it.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::guard::{self, fn_guard};
use actix_web::http::Method;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, Resource, Route};

use super::api::body::IDEMPOTENCY_KEY;
use super::problem::{Answer, Fail, Problem};
use super::{api, forward_auth, pages};
use crate::domain::{Error, Rejection};

/// Kind of credential that a route accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Session of a user. Visitors are redirected to the sign-in page.
    Page,
    /// Access token as a bearer token.
    Api,
    /// API key, verified by the gate.
    Key,
    /// Access token, or an API key with the required scope.
    ApiOrKey,
    /// No credential.
    Open,
}

/// Route: one method at one path, with the credential that it accepts.
#[derive(Clone)]
pub struct Entry {
    /// Credential that the route accepts.
    pub door: Door,
    /// HTTP method, or [`ANY`] for all methods.
    pub method: Method,
    /// Path pattern of actix-web.
    pub path: String,
    /// Creates the route with its handler.
    pub route: fn() -> Route,
    /// True: a request with an `Idempotency-Key` is carried out once. Other API writes refuse that header.
    pub is_replayed: bool,
}

impl Entry {
    fn new(door: Door, method: Method, path: &str, route: fn() -> Route) -> Self {
        Self { door, method, path: path.to_owned(), route, is_replayed: false }
    }

    /// Lets the route replay responses by `Idempotency-Key`.
    pub fn replayed(self) -> Self {
        Self { is_replayed: true, ..self }
    }

    /// True for an API write that would repeat its effect despite an `Idempotency-Key`, and so refuses that header.
    pub fn refuses_idempotency_keys(&self) -> bool {
        let is_of_programs = matches!(self.door, Door::Api | Door::ApiOrKey) || self.path.starts_with("/api/");
        is_of_programs && self.method != Method::GET && !self.is_replayed
    }
}

/// Method name that stands for all methods, including unregistered ones.
pub const ANY: &str = "ANY";

/// Shorthand for a row of the tables in `pages` and `api`.
pub fn get(door: Door, path: &str, route: fn() -> Route) -> Entry {
    Entry::new(door, Method::GET, path, route)
}

pub fn post(door: Door, path: &str, route: fn() -> Route) -> Entry {
    Entry::new(door, Method::POST, path, route)
}

pub fn patch(door: Door, path: &str, route: fn() -> Route) -> Entry {
    Entry::new(door, Method::PATCH, path, route)
}

pub fn delete(door: Door, path: &str, route: fn() -> Route) -> Entry {
    Entry::new(door, Method::DELETE, path, route)
}

pub fn any(door: Door, path: &str, route: fn() -> Route) -> Entry {
    // HTTP allows any token as a method, so this cannot fail.
    let method = Method::from_bytes(ANY.as_bytes()).unwrap_or(Method::GET);
    Entry::new(door, method, path, route)
}

/// Busiest paths among those that reach the router (`web::direct` serves the others). Routes are tried one after
/// another, so these are registered first.
const BUSY: [&str; 3] = ["/protected/", "/api/data", "/api/events"];

/// Pattern of the matched route, stored with the resource: computing it again takes as long as routing.
#[derive(Debug, Clone)]
pub struct Pattern(pub Arc<str>);

/// Returns all routes, aliases included.
pub fn all() -> Vec<Entry> {
    let mut all = with_aliases(api::routes());
    all.extend(forward_auth::routes());
    all.extend(pages::routes());
    all
}

/// Adds the aliases `/api/api-keys` and `/api-keys` of `/api/keys`.
fn with_aliases(entries: Vec<Entry>) -> Vec<Entry> {
    let aliases = entries.iter().flat_map(|entry| {
        let rest = entry.path.strip_prefix("/api/keys").filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let names = rest.map(|rest| [format!("/api/api-keys{rest}"), format!("/api-keys{rest}")]);
        names.into_iter().flatten().map(|path| Entry { path, ..entry.clone() })
    });
    let aliases: Vec<_> = aliases.collect();
    entries.into_iter().chain(aliases).collect()
}

/// Registers the entries that `wanted` accepts, as one resource per path. Busy paths come first. The others follow in
/// table order, where a literal segment must come before a parameter.
pub fn configure(config: &mut ServiceConfig, wanted: impl Fn(&Entry) -> bool) {
    let mut order: Vec<String> = Vec::new();
    let mut by_path: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for entry in all().into_iter().filter(wanted) {
        if !by_path.contains_key(&entry.path) {
            order.push(entry.path.clone());
        }
        by_path.entry(entry.path.clone()).or_default().push(entry);
    }
    order.sort_by_key(|path| BUSY.iter().position(|busy| busy == path).unwrap_or(BUSY.len()));
    for path in order {
        config.service(resource(&path, by_path.remove(&path).unwrap_or_default()));
    }
}

fn resource(path: &str, entries: Vec<Entry>) -> Resource {
    let mut allowed: Vec<Method> = entries.iter().map(|entry| entry.method.clone()).collect();
    if allowed.contains(&Method::GET) {
        allowed.push(Method::HEAD);
    }
    let mut resource = web::resource(path).app_data(Pattern(path.into()));
    for entry in entries {
        if entry.refuses_idempotency_keys() {
            let asks = fn_guard(|context| context.head().headers.contains_key(IDEMPOTENCY_KEY));
            let guard = guard::All(asks).and(guard::Method(entry.method.clone()));
            resource = resource.route(web::to(no_idempotency_key).guard(guard));
        }
        let method = entry.method;
        let answers = fn_guard(move |context| {
            let asked = &context.head().method;
            *asked == method || method.as_str() == ANY || (*asked == Method::HEAD && method == Method::GET)
        });
        resource = resource.route((entry.route)().guard(answers));
    }
    resource.default_service(web::to(move |_: HttpRequest| {
        let refusal = Problem::method_not_allowed(&allowed);
        async move { Err::<actix_web::HttpResponse, Fail>(refusal.into()) }
    }))
}

/// Refuses an `Idempotency-Key`. A client that sends one relies on a retry having no second effect, which only some
/// routes guarantee.
async fn no_idempotency_key() -> Answer {
    let says = "is not supported by this request: leave the header out, and look for the effect before you repeat it";
    Err(Error::field("Idempotency-Key", Rejection::new("not_supported", says)).into())
}
