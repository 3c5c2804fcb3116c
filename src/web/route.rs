//! Row of the route table: one method at one path, the credential that it accepts, and its handler.

use std::sync::Arc;

use actix_web::Route;
use actix_web::http::Method;

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

/// Pattern of the matched route, stored with the resource: computing it again takes as long as routing.
#[derive(Debug, Clone)]
pub struct Pattern(pub Arc<str>);
