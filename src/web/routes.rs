//! Table of all routes. The server registers them from it, and the access test iterates over it.

use std::collections::BTreeMap;

use actix_web::guard::{self, fn_guard};
use actix_web::http::Method;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, Resource};

use super::api::body::IDEMPOTENCY_KEY;
use super::problem::{Answer, Fail, Problem};
use super::route::{ANY, Pattern};
pub use super::route::{Door, Entry};
use super::{api, forward_auth, pages};
use crate::domain::{Error, Rejection};

/// Busiest paths among those that reach the router (`web::direct` serves the others). Routes are tried one after
/// another, so these are registered first.
const BUSY: [&str; 3] = ["/protected/", "/api/data", "/api/events"];

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
    let says =
        "is not supported by this request: remove the header, and check the result before you repeat the request";
    Err(Error::field("Idempotency-Key", Rejection::new("not_supported", says)).into())
}
