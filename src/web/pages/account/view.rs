//! View types of the account page.

use askama::Template;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::domain::FieldErrors;
use crate::services::account::UserSession;
use crate::web::shell::Shell;
use crate::web::view::When;

/// Page of the user's account.
#[derive(Template)]
#[template(path = "account/index.html")]
pub struct Index {
    pub shell: Shell,
    pub form: NameForm,
    pub rows: Vec<Row>,
    pub has_others: bool,
    pub has_factor: bool,
    pub errors: FieldErrors,
}

/// Form to change the user's name.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NameForm {
    pub name: String,
}

/// Form to change the user's password.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PasswordForm {
    pub current_password: String,
    pub password: String,
}

/// Browser in which the user is signed in.
pub struct Row {
    pub id: i64,
    /// Browser and system, such as `Firefox on Linux`.
    pub device: String,
    pub user_agent: String,
    pub address: String,
    pub is_here: bool,
    pub since: When,
    pub last_seen: When,
}

impl Row {
    pub fn new(place: UserSession, now: DateTime<Utc>) -> Self {
        Self {
            id: place.id,
            device: device(&place.device),
            user_agent: place.device,
            address: place.address,
            is_here: place.is_here,
            since: When::new(place.since, now),
            last_seen: When::new(place.last_seen, now),
        }
    }
}

/// Marks of browsers in a user agent. Order matters: most browsers also claim to be others.
const BROWSERS: [(&str, &str); 8] = [
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("CriOS/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
];
/// Marks of systems in a user agent, in order of precedence.
const SYSTEMS: [(&str, &str); 7] = [
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
];

/// Returns browser and system of a user agent.
fn device(user_agent: &str) -> String {
    let first = |known: &[(&str, &'static str)]| {
        known.iter().find(|(sign, _)| user_agent.contains(sign)).map(|(_, name)| *name)
    };
    match (first(&BROWSERS), first(&SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => "Unknown browser".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_recognized() {
        let linux = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
        let edge = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36 Edg/126.0";
        let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Mobile/15E148 Safari/604.1";
        assert_eq!(
            [device(linux), device(edge), device(phone), device("")],
            ["Firefox on Linux", "Edge on Windows", "Safari on iPhone", "Unknown browser"]
        );
    }
}
