//! The product's one error type. It knows no HTTP, and its text never contains its cause.

use std::borrow::Borrow;
use std::fmt;
use std::time::Duration;

/// Result with the product's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Cause of an [`Error`]: logged once at the boundary, never sent.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// Error of a service, a query or a check.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields of the request that do not fit.
    #[error("the request has invalid fields")]
    Invalid(FieldErrors),
    /// No valid session or credential.
    #[error("sign in, or present a valid access token")]
    Unauthenticated,
    /// Missing rights. The sentence names the role or scope.
    #[error("{0}")]
    Forbidden(String),
    /// A row does not exist, or belongs to another tenant.
    #[error("no such {0}")]
    NotFound(Noun),
    /// A collision with existing data, which the sentence names.
    #[error("{0}")]
    Conflict(String),
    /// A limit of the tenant's plan is reached.
    #[error("{0}")]
    LimitReached(String),
    /// An idempotency key was used for another request.
    #[error("this idempotency key was already used for another request")]
    IdempotencyMismatch,
    /// A request with this idempotency key is in progress.
    #[error("a request with this idempotency key is still in progress: try again in a moment")]
    IdempotencyInFlight,
    /// Too many attempts; `retry_after` is the wait until the next one.
    #[error("too many attempts: wait and try again")]
    Throttled { retry_after: Duration },
    /// The tenant's share of the connection pool is used up.
    #[error("this tenant has too many concurrent requests: try again in a moment")]
    TenantBusy,
    /// A statement reached its time limit.
    #[error(
        "this request took longer than the server allows: request less, such as a shorter time span or a single key"
    )]
    StatementTimeout,
    /// The database or another dependency is unreachable. A retry can succeed.
    #[error("the service is not available just now: try again in a moment")]
    Unavailable(#[source] Source),
    /// An error of the program.
    #[error("something went wrong on our side")]
    Bug(#[source] Source),
}

impl Error {
    /// Creates an error for an outage.
    pub fn unavailable(source: impl Into<Source>) -> Self {
        Self::Unavailable(source.into())
    }

    /// Creates an error for a bug.
    pub fn bug(source: impl Into<Source>) -> Self {
        Self::Bug(source.into())
    }

    /// Creates an error for missing rights.
    pub fn forbidden(sentence: impl Into<String>) -> Self {
        Self::Forbidden(sentence.into())
    }

    /// Creates an error for missing scopes.
    pub fn missing_scopes<S: Borrow<str>>(missing: &[S]) -> Self {
        Self::forbidden(format!("Missing required scopes: {}", missing.join(", ")))
    }

    /// Creates an error for a collision.
    pub fn conflict(sentence: impl Into<String>) -> Self {
        Self::Conflict(sentence.into())
    }

    /// Turns `Throttled` into a refusal of the field that was tried too often; other errors stay.
    pub fn throttled_at(self, field: &str, says: impl FnOnce(u64) -> String) -> Self {
        let Self::Throttled { retry_after } = self else { return self };
        let detail = says(whole_seconds(retry_after));
        let (field, retry_after) = (field.to_owned(), Some(retry_after));
        FieldErrors(vec![FieldError { field, code: "throttled", detail, retry_after }]).into()
    }

    /// Creates an error for one field that does not fit.
    pub fn field(field: impl Into<String>, rejection: Rejection) -> Self {
        let mut errors = FieldErrors::default();
        errors.add(field, rejection);
        Self::Invalid(errors)
    }
}

/// Seconds to wait, rounded up: the next attempt must not come too early.
pub fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add((0 < wait.subsec_nanos()).into()).max(1)
}

/// Refusal of a value: a stable code, and a sentence that says what would fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Code for programs.
    pub code: &'static str,
    /// Sentence for people, without the field's name.
    pub detail: String,
}

impl Rejection {
    /// Creates a refusal.
    pub fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }

    /// Creates the refusal of an absent value.
    pub fn required() -> Self {
        Self::new("required", "is required")
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Rejection {}

/// Refusal of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Name of the field as the client wrote it: `name`, `events[0]`.
    pub field: String,
    /// Code for programs.
    pub code: &'static str,
    /// Sentence for people, without the field's name.
    pub detail: String,
    /// Time after which another attempt is let in, where attempts came too fast.
    pub retry_after: Option<Duration>,
}

/// All fields of a request that do not fit, in the order in which they were found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldErrors(Vec<FieldError>);

impl FieldErrors {
    /// Adds the refusal of a field.
    pub fn add(&mut self, field: impl Into<String>, rejection: Rejection) {
        let (field, Rejection { code, detail }) = (field.into(), rejection);
        self.0.push(FieldError { field, code, detail, retry_after: None });
    }

    /// Returns the longest wait of fields that were tried too often.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.iter().filter_map(|error| error.retry_after).max()
    }

    /// Returns the parsed value, or records its refusal.
    pub fn take<T>(&mut self, field: impl Into<String>, parsed: Result<T, Rejection>) -> Option<T> {
        parsed.map_err(|rejection| self.add(field, rejection)).ok()
    }

    /// Parses each item, and records refusals as `field[index]`.
    pub fn take_each<A: AsRef<str>, T>(
        &mut self,
        field: &str,
        items: &[A],
        parse: impl Fn(&str) -> Result<T, Rejection>,
    ) -> Vec<T> {
        let parsed = items.iter().enumerate();
        parsed.filter_map(|(index, item)| self.take(format!("{field}[{index}]"), parse(item.as_ref()))).collect()
    }

    /// Adds the refusals of an item: its `name` becomes `items[3].name`.
    pub fn extend_inside(&mut self, item: &str, more: Self) {
        let inside = |error: FieldError| FieldError { field: format!("{item}.{}", error.field), ..error };
        self.0.extend(more.0.into_iter().map(inside));
    }

    /// Adds the refusals of another check.
    pub fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    /// True if nothing was refused.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Fails unless nothing was refused.
    pub fn refuse(self) -> Result<(), Error> {
        if self.is_empty() { Ok(()) } else { Err(Error::from(self)) }
    }

    /// Returns the refusals in order.
    pub fn iter(&self) -> std::slice::Iter<'_, FieldError> {
        self.0.iter()
    }

    /// Returns the message for a form's field; `events` also finds `events[2]`.
    pub fn of(&self, field: &str) -> Option<&str> {
        let is_same =
            |name: &str| name.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with('['));
        self.0.iter().find(|error| is_same(&error.field)).map(|error| error.detail.as_str())
    }
}

impl From<FieldErrors> for Error {
    fn from(errors: FieldErrors) -> Self {
        Self::Invalid(errors)
    }
}

/// Kinds of objects that can be absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noun {
    AccessToken,
    ApiKey,
    Attempt,
    Delivery,
    Event,
    Invitation,
    Membership,
    Page,
    Plan,
    ResetLink,
    SetupLink,
    Tenant,
    User,
    Webhook,
}

impl fmt::Display for Noun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AccessToken => "access token",
            Self::ApiKey => "API key",
            Self::Attempt => "attempt",
            Self::Delivery => "delivery",
            Self::Event => "event",
            Self::Invitation => "invitation (its link works once, until it expires or is revoked)",
            Self::Membership => "membership",
            Self::Page => "page",
            Self::Plan => "plan (the plans are free, pro and unlimited)",
            Self::ResetLink => "link (it sets a password once, within a day)",
            Self::SetupLink => "setup link (it works once, until the first operator exists)",
            Self::Tenant => "tenant",
            Self::User => "user",
            Self::Webhook => "webhook",
        })
    }
}
