//! Settings of Redis or Valkey, where replicas count rate limits together.

use std::fmt;
use std::time::Duration;

use super::conninfo::has_stray_at;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, io::tcp::TcpSettings};

crate::text_enum! {
    /// Behaviour of calls while Redis cannot be reached.
    pub enum Outage {
        /// Each process counts alone.
        FailOpen = "fail_open",
        /// Calls get a 503 response.
        FailClosed = "fail_closed",
    }
}

/// Redis that counts rate limits.
#[derive(Debug, Clone)]
pub struct Redis {
    pub server: Server,
    pub outage: Outage,
    /// Time that a call waits for a response. After that, Redis counts as away for all calls.
    pub timeout: Duration,
}

/// Server with its credentials. It prints as its address only.
#[derive(Clone)]
pub struct Server(ConnectionInfo);

impl Server {
    pub fn info(&self) -> ConnectionInfo {
        self.0.clone()
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.addr().fmt(f)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({self})")
    }
}

pub fn server(text: &str) -> Result<Server, String> {
    // The library's error may quote the URL with its password.
    let parsed = text.into_connection_info().ok().filter(|info| {
        let is_socket = matches!(info.addr(), ConnectionAddr::Unix(_));
        is_socket || !has_stray_at(text)
    });
    let info = parsed.ok_or(
        "must be redis://user:password@host:6379/0 with odd characters of the password percent-encoded, rediss:// where it \
         speaks TLS, or unix:///path/of/a/socket",
    )?;
    match info.addr() {
        ConnectionAddr::TcpTls { insecure: true, .. } => {
            Err("must not end with #insecure: certificates are always looked at (SSL_CERT_FILE may name your own)"
                .to_owned())
        }
        // All calls share one connection: without TCP_NODELAY a small packet waits for the previous response.
        _ => Ok(Server(info.set_tcp_settings(TcpSettings::default().set_nodelay(true)))),
    }
}

pub fn outage(text: &str) -> Result<Outage, String> {
    text.parse().map_err(|_| "must be fail_open or fail_closed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redis_url_is_checked_and_its_password_never_printed() {
        for (fine, shown) in [
            ("redis://:hunter2@redis.example.com", "redis.example.com:6379"),
            ("rediss://me:hunter2@10.0.0.7:6380/3", "10.0.0.7:6380"),
            ("valkey://localhost", "localhost:6379"),
            ("unix:///run/redis.sock?db=1&pass=hunter2", "/run/redis.sock"),
        ] {
            let server = server(fine).unwrap();
            assert_eq!(server.to_string(), shown);
            assert_eq!(format!("{server:?}"), format!("Server({shown})"));
        }
        for wrong in [
            "redis.example.com:6379",
            "http://:hunter2@redis",
            "rediss://:hunter2@redis#insecure",
            "redis://me:1?hunter2@redis",
            "",
        ] {
            assert!(!server(wrong).unwrap_err().contains("hunter2"), "{wrong}");
        }
    }
}
