//! From the text of a setting to its value; the error says what would fit.

use std::fmt::{self, Display};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;
use url::Url;

use super::LogFormat;
use super::sources::Environment;
use crate::domain::Rejection;
use crate::domain::address::network;
use crate::domain::digest::HashAlgorithm;

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

/// An address and port; a name such as `localhost` is looked up.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let refused = || "must be an address and a port, as in 127.0.0.1:8000".to_owned();
    text.parse().or_else(|_| text.to_socket_addrs().map_err(|_| refused())?.next().ok_or_else(refused))
}

/// Single addresses count as networks of one.
pub fn networks(text: &str) -> Result<Networks, String> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty() && *item != "none");
    let parsed: Result<Vec<IpNet>, String> = items
        .map(|item| network(item).ok_or_else(|| format!("\"{item}\" is not a network, as in 10.0.0.0/8")))
        .collect();
    parsed.map(Networks)
}

pub fn log(text: &str) -> Result<String, String> {
    match text.parse::<tracing_subscriber::EnvFilter>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("must be error, warn, info, debug, trace or tracing directives".to_owned()),
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

/// How a browser on this machine reaches an address that is listened on.
pub fn url_of(bind: SocketAddr) -> Option<Url> {
    let text = match bind.ip() {
        ip if ip.is_unspecified() => format!("http://localhost:{}", bind.port()),
        _ => format!("http://{bind}"),
    };
    Url::parse(&text).ok()
}

/// As root the system's place, otherwise the user's.
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
    fn every_address_has_a_url() {
        assert_eq!(url_of("0.0.0.0:80".parse().unwrap()).unwrap().as_str(), "http://localhost/");
        assert_eq!(url_of("[::1]:8000".parse().unwrap()).unwrap().as_str(), "http://[::1]:8000/");
    }
}
