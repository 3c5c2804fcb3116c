//! Settings of outgoing mail: the server and the sender.

use std::fmt;
use std::str::FromStr;

use lettre::message::Mailbox;
use lettre::{AsyncSmtpTransport, Tokio1Executor};
use url::Url;
use zeroize::Zeroizing;

use super::conninfo::has_stray_at;
use crate::domain::email;

/// Mail server with the sender of mails. The URL may hold a password, so it is never printed.
#[derive(Clone)]
pub struct Smtp {
    url: Zeroizing<String>,
    pub from: Mailbox,
}

impl Smtp {
    pub fn new(url: ServerUrl, from: Mailbox) -> Self {
        Self { url: url.0, from }
    }

    pub fn url(&self) -> &str {
        &self.url
    }
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Smtp(from {})", self.from)
    }
}

/// Checked URL: `smtps://user:password@host`, `smtp://…?tls=required`, or without encryption `smtp://host`.
pub struct ServerUrl(Zeroizing<String>);

pub fn server(text: &str) -> Result<ServerUrl, String> {
    // The library's error may quote the URL with its password.
    let is_known = AsyncSmtpTransport::<Tokio1Executor>::from_url(text).is_ok() && !has_stray_at(text);
    if !is_known || !Url::parse(text).is_ok_and(|url| is_whole(&url)) {
        return Err(
            "must be smtps://user:password@host, smtp://user:password@host?tls=required, or smtp://host for one that \
             is near; percent-encode odd characters of the password"
                .to_owned(),
        );
    }
    Ok(ServerUrl(Zeroizing::new(text.to_owned())))
}

/// Returns true if the library uses every part of the URL. It ignores a user without a password, and parameters other
/// than `tls`.
fn is_whole(url: &Url) -> bool {
    let has_both = url.username().is_empty() == url.password().is_none();
    let is_tls_alone =
        url.query_pairs().all(|(name, value)| name == "tls" && (url.scheme() == "smtp" || value == "required"));
    has_both && is_tls_alone && url.query_pairs().count() <= 1 && url.fragment().is_none()
}

/// Parses `gatepost@example.com` or `Gatepost <gatepost@example.com>`.
pub fn sender(text: &str) -> Result<Mailbox, String> {
    let refused = || "must be an address such as Gatepost <gatepost@example.com>".to_owned();
    let sender = Mailbox::from_str(text.trim()).map_err(|_| refused())?;
    let address = email::address(sender.email.as_ref()).map_err(|_| refused())?;
    Ok(Mailbox::new(sender.name, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_server_url_is_checked_and_never_printed() {
        for fine in ["smtps://me:hunter2@mail.example.com", "smtp://mail.example.com:25", "smtp://a:b@c?tls=required"] {
            assert!(server(fine).is_ok(), "{fine}");
        }
        for wrong in [
            "mail.example.com",
            "https://me:hunter2@mail.example.com",
            "smtp://a:b@c?tls=maybe",
            "smtp://a:1/hunter2@c",
            "smtp://me:hunter2@c?tsl=required",
            "smtp://me:hunter2@c?tls=required&tls=",
            "smtp://me@c",
            "smtps://me:hunter2@c?tls=opportunistic",
        ] {
            assert!(!server(wrong).err().unwrap().contains("hunter2"), "{wrong}");
        }
        let smtp = Smtp::new(server("smtps://me:hunter2@x.example").unwrap(), sender("G <g@x.example>").unwrap());
        assert_eq!(format!("{smtp:?}"), "Smtp(from G <g@x.example>)");
        assert_eq!(sender("G <G@b\u{fc}cher.example>").unwrap().to_string(), "G <G@xn--bcher-kva.example>");
        for wrong in [
            "nobody",
            "g@127.0.0.1",
            "g@[127.0.0.1]",
            "g..h@x.example",
            "g@x.",
            "<g@x.example",
            "a@x.example, b@x.example",
        ] {
            assert!(sender(wrong).is_err(), "{wrong}");
        }
    }
}
