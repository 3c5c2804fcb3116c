//! Parsers for the text of settings. Errors say what is accepted.

use std::fmt::{self, Display};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;
use url::Url;

use super::sources::Environment;
use crate::domain::Rejection;
use crate::domain::address::network;
use crate::domain::digest::HashAlgorithm;

crate::text_enum! {
    /// Format of log lines.
    pub enum LogFormat {
        Text = "text",
        Json = "json",
    }
}

pub fn path(text: &str) -> Result<PathBuf, String> {
    Ok(PathBuf::from(text))
}

pub fn truth(text: &str) -> Result<bool, String> {
    match text.to_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

pub fn number<T: FromStr + PartialOrd + Display>(text: &str, least: T, most: T) -> Result<T, String> {
    match text.trim().parse() {
        Ok(number) if least <= number && number <= most => Ok(number),
        _ => Err(format!("must be a number from {least} to {most}")),
    }
}

pub fn key_hash(text: &str) -> Result<HashAlgorithm, String> {
    text.parse().map_err(|rejection: Rejection| rejection.detail)
}

pub fn log_format(text: &str) -> Result<LogFormat, String> {
    text.parse().map_err(|rejection: Rejection| rejection.detail)
}

/// Parses an address with a port. A host name such as `localhost` is resolved.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let refused = || "must be an address and a port, as in 127.0.0.1:8000".to_owned();
    text.parse().or_else(|_| text.to_socket_addrs().map_err(|_| refused())?.next().ok_or_else(refused))
}

/// Parses a list of networks. A single address counts as a network of one.
pub fn networks(text: &str) -> Result<Networks, String> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty() && *item != "none");
    let parsed: Result<Vec<IpNet>, String> = items
        .map(|item| network(item).ok_or_else(|| format!("\"{item}\" is not a network, as in 10.0.0.0/8")))
        .collect();
    parsed.map(Networks)
}

/// Names of all packages in this build, one `name = "…"` per line.
const PACKAGES: &str = include_str!("../../Cargo.lock");

/// Parses a level or a list of tracing directives with levels. A directive that matches nothing is refused, since it
/// would mute all that it leaves out.
pub fn log(text: &str) -> Result<String, String> {
    let directives: Vec<&str> = text.split(',').map(str::trim).filter(|directive| !directive.is_empty()).collect();
    directives.iter().try_for_each(|directive| check_directive(directive))?;
    // Without a level of its own, a filter mutes everything that its directives do not match, such as a mistyped module.
    let has_level = directives.iter().any(|directive| !directive.contains('='));
    let written = directives.join(",");
    let filter = if has_level || written.is_empty() { written } else { format!("info,{written}") };
    match filter.parse::<tracing_subscriber::EnvFilter>() {
        Ok(_) if !filter.is_empty() => Ok(filter),
        _ => Err(format!("must be {LEVELS}, or directives such as info,gatepost::workers=debug")),
    }
}

const LEVELS: &str = "one of trace, debug, info, warn, error, off";

fn check_directive(directive: &str) -> Result<(), String> {
    let (matched, level) = directive.rsplit_once('=').unzip();
    let level = level.unwrap_or(directive);
    if !["trace", "debug", "info", "warn", "error", "off"].iter().any(|known| known.eq_ignore_ascii_case(level)) {
        return Err(format!(
            "\"{directive}\" has no known level: write {LEVELS}, or directives such as info,gatepost::workers=debug"
        ));
    }
    let Some(matched) = matched else { return Ok(()) };
    let target = matched.split('[').next().unwrap_or_default();
    let package = target.split("::").next().unwrap_or_default();
    let names = PACKAGES.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    if target.split("::").skip(1).any(|segment| segment.is_empty() || segment.contains(':')) {
        return Err(format!("\"{directive}\" has an empty part: write a target without one, as in gatepost=debug"));
    }
    let is_known = names.map(|name| name.replace('-', "_")).any(|name| name == package);
    if is_known || (target.is_empty() && !matched.is_empty()) {
        Ok(())
    } else {
        Err(format!("\"{directive}\" matches nothing: its target must begin with a crate, as in gatepost=debug"))
    }
}

pub fn public_url(text: &str) -> Result<Url, String> {
    let refused = || "must be an http or https URL without a path, as in https://keys.example.com".to_owned();
    let url = Url::parse(text).map_err(|_| refused())?;
    let is_plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if is_plain { Ok(url) } else { Err(refused()) }
}

/// Returns the URL under which a browser on this machine reaches a listening address.
pub fn url_of(bind: SocketAddr) -> Option<Url> {
    let text = match bind.ip() {
        ip if ip.is_unspecified() => format!("http://localhost:{}", bind.port()),
        _ => format!("http://{bind}"),
    };
    Url::parse(&text).ok()
}

/// Returns the system's data directory for root, else the user's.
pub fn default_data_dir(environment: &Environment) -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some(PathBuf::from("/var/lib/gatepost"));
    }
    let home = environment.path("HOME");
    if cfg!(target_os = "macos") {
        return home.map(|home| home.join("Library/Application Support/gatepost"));
    }
    let data = environment.path("XDG_DATA_HOME").filter(|path| path.is_absolute());
    data.or_else(|| home.map(|home| home.join(".local/share"))).map(|data| data.join("gatepost"))
}

/// Networks that print as they were written.
#[derive(Debug, Clone, Default)]
pub struct Networks(pub Vec<IpNet>);

impl Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let shown: Vec<String> = self.0.iter().map(IpNet::to_string).collect();
        f.write_str(&shown.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_single_addresses_are_accepted() {
        assert_eq!(networks("10.0.0.0/8, ::1").unwrap().to_string(), "10.0.0.0/8,::1/128");
        assert!(networks("localhost").unwrap_err().contains("localhost"));
    }

    #[test]
    fn a_public_url_has_no_path() {
        assert!(public_url("https://keys.example.com").is_ok());
        for text in ["ftp://x", "https://x/app", "https://u@x", "keys.example.com", "https://x/?a"] {
            assert!(public_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn log_directives_have_known_levels_and_targets() {
        for (given, meant) in [
            ("warn", "warn"),
            (" INFO ", "INFO"),
            ("off", "off"),
            ("info,gatepost::workers=debug", "info,gatepost::workers=debug"),
            ("warn, rustls=TRACE,", "warn,rustls=TRACE"),
            ("gatepost::wokers=debug", "info,gatepost::wokers=debug"),
            ("[nothing]=debug", "info,[nothing]=debug"),
            ("warn,gatepost[request{id=1}]=trace,[{id}]=debug", "warn,gatepost[request{id=1}]=trace,[{id}]=debug"),
        ] {
            assert_eq!(log(given).as_deref(), Ok(meant), "{given}");
        }
        for wrong in [
            "",
            " ",
            ",",
            "warning",
            "verbose",
            "3",
            "gatepost",
            "gatepost=",
            "=info",
            "gatepost=verbose",
            "info,warning",
            "info,gatepsot=debug",
            "GATEPOST=debug",
            "gate=debug",
            "gatepost:debug",
            "info;warn",
            "=====",
            "info,gatepost[=debug",
            "gatepost::=debug",
            "info,gatepost:::x=debug",
        ] {
            let refusal = log(wrong).unwrap_err();
            assert!(refusal.contains("trace, debug, info, warn, error, off") || refusal.contains("gatepost=debug"));
        }
    }

    #[test]
    fn every_address_has_a_url() {
        assert_eq!(url_of("0.0.0.0:80".parse().unwrap()).unwrap().as_str(), "http://localhost/");
        assert_eq!(url_of("[::1]:8000".parse().unwrap()).unwrap().as_str(), "http://[::1]:8000/");
    }
}
