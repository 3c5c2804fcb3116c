//! Every route of the product, as data: what registers them, and what the access test goes through.

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

/// Which kind of caller a route is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// A person with a session; a stranger is sent to sign in.
    Page,
    /// A bearer access token.
    Api,
    /// An API key, through the gate.
    Key,
    /// An access token, or an API key with the scope.
    ApiOrKey,
    /// Anybody.
    Open,
}

/// One method at one path.
#[derive(Clone)]
pub struct Entry {
    pub door: Door,
    /// [`ANY`] for all of them.
    pub method: Method,
    pub path: String,
    pub route: fn() -> Route,
    /// True: a request with an `Idempotency-Key` is carried out once. Other writes of the API refuse that header.
    pub is_replayed: bool,
}

impl Entry {
    fn new(door: Door, method: Method, path: &str, route: fn() -> Route) -> Self {
        Self { door, method, path: path.to_owned(), route, is_replayed: false }
    }

    pub fn replayed(self) -> Self {
        Self { is_replayed: true, ..self }
    }

    /// True for a write of the API that would repeat its effect however often the same `Idempotency-Key` comes.
    pub fn refuses_idempotency_keys(&self) -> bool {
        let is_of_programs = matches!(self.door, Door::Api | Door::ApiOrKey) || self.path.starts_with("/api/");
        is_of_programs && self.method != Method::GET && !self.is_replayed
    }
}

/// What stands for all methods, those that nobody has thought of included.
pub const ANY: &str = "ANY";

/// Shorthands for the tables in `pages` and `api`.
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
    // Any token is a method.
    let method = Method::from_bytes(ANY.as_bytes()).unwrap_or(Method::GET);
    Entry::new(door, method, path, route)
}

/// The paths that most requests are for which come this far (`web::direct`). Routes are tried one after the other: these come
/// first.
const BUSY: [&str; 3] = ["/protected/", "/api/data", "/api/events"];

/// The pattern of the route that answers, kept with it: to work it out again takes as long as to route.
#[derive(Debug, Clone)]
pub struct Pattern(pub Arc<str>);

/// All routes, aliases included.
pub fn all() -> Vec<Entry> {
    let mut all = with_aliases(api::routes());
    all.extend(forward_auth::routes());
    all.extend(pages::routes());
    all
}

/// `/api/api-keys` and `/api-keys` are other names of `/api/keys`.
fn with_aliases(entries: Vec<Entry>) -> Vec<Entry> {
    let aliases = entries.iter().flat_map(|entry| {
        let rest = entry.path.strip_prefix("/api/keys").filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let names = rest.map(|rest| [format!("/api/api-keys{rest}"), format!("/api-keys{rest}")]);
        names.into_iter().flatten().map(|path| Entry { path, ..entry.clone() })
    });
    let aliases: Vec<_> = aliases.collect();
    entries.into_iter().chain(aliases).collect()
}

/// Registers what `wanted` picks, one resource a path: busy ones first, then in the order of the table, where a literal
/// segment must come before a parameter in its place.
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

/// The client trusts that a repetition has no second effect, which only some routes promise.
async fn no_idempotency_key() -> Answer {
    let says = "is not supported by this request: leave the header out, and look for the effect before you repeat it";
    Err(Error::field("Idempotency-Key", Rejection::new("not_supported", says)).into())
}
