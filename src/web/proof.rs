//! Proof of identity. Acts that weaken a sign-in require the password within the last ten minutes, and a code if a
//! second factor is on. An open session alone is not enough for them.
//!
//! Each of these acts calls [`Proof::must_be_recent`]; `tests/it/pages/proof.rs` lists them all.

use actix_session::Session;
use actix_web::HttpRequest;
use actix_web::http::header::LOCATION;
use actix_web::http::{Method, StatusCode};
use chrono::{DateTime, TimeDelta, Utc};

use super::problem::{Fail, Problem};
use super::route::{Door, Pattern};
use super::routes;
use super::urls;
use crate::domain::{Error, Result};

/// How long a proof of identity counts.
pub const LASTS: TimeDelta = TimeDelta::minutes(10);

/// Session entry: time of the user's last proof of identity.
const PROVEN: &str = "proven";

/// Records that the session's user has just proved their identity.
pub fn note(session: &Session, now: DateTime<Utc>) -> Result<()> {
    session.insert(PROVEN, now).map_err(|error| Error::bug(error.to_string()))
}

/// State of a session's latest proof, with the request that may need a recent one.
#[derive(Debug, Clone)]
pub struct Proof {
    /// True if the proof is younger than [`LASTS`].
    is_recent: bool,
    /// True if the request is a GET.
    is_get: bool,
    /// Path and query of the request.
    path: String,
    /// Pattern of the route that serves the request.
    pattern: String,
}

impl Proof {
    /// Reads the state of the session's proof.
    pub fn of(request: &HttpRequest, session: &Session, now: DateTime<Utc>) -> Self {
        let proven = session.get::<DateTime<Utc>>(PROVEN).ok().flatten();
        Self {
            // Replicas' clocks differ, so a proof can seem to lie in the future.
            is_recent: proven.is_some_and(|at| (now - at).abs() < LASTS),
            is_get: request.method() == Method::GET,
            path: request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            pattern: request.app_data::<Pattern>().map(|pattern| pattern.0.to_string()).unwrap_or_default(),
        }
    }

    pub const fn is_recent(&self) -> bool {
        self.is_recent
    }

    /// Redirects a user without a recent proof to the page that asks for one. That page leads back to the form.
    pub fn must_be_recent(&self) -> Result<(), Fail> {
        if self.is_recent {
            return Ok(());
        }
        let problem = Problem::new(StatusCode::SEE_OTHER, "unauthenticated", "confirm your identity first");
        Err(problem.header(LOCATION, urls::proof_back_to(&self.page())).into())
    }

    /// Returns the page that the request came from: a GET's own path, or for a form the nearest page above its path.
    fn page(&self) -> String {
        if self.is_get {
            return self.path.clone();
        }
        let pages: Vec<_> = routes::all()
            .into_iter()
            .filter(|entry| entry.door == Door::Page && entry.method == Method::GET)
            .map(|entry| entry.path)
            .collect();
        let (mut path, mut pattern) = (self.path.split('?').next().unwrap_or_default(), self.pattern.as_str());
        while !pages.iter().any(|page| page == pattern) {
            match (path.rsplit_once('/'), pattern.rsplit_once('/')) {
                (Some((above, _)), Some((pattern_above, _))) => (path, pattern) = (above, pattern_above),
                _ => return urls::OVERVIEW.to_owned(),
            }
        }
        path.to_owned()
    }
}
