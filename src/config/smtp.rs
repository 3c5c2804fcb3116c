//! Where mail goes out: a server, and who it is from.

use std::fmt;
use std::str::FromStr;

use lettre::message::Mailbox;
use lettre::{AsyncSmtpTransport, Tokio1Executor};
use zeroize::Zeroizing;

use super::conninfo::has_stray_at;

/// A mail server. Its address may hold a password: it is never printed.
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

/// `smtps://user:password@host`, `smtp://…?tls=required`, or, without encryption, `smtp://host`.
pub struct ServerUrl(Zeroizing<String>);

pub fn server(text: &str) -> Result<ServerUrl, String> {
    // The refusal of the library may quote the address, and with it the password.
    let is_known = AsyncSmtpTransport::<Tokio1Executor>::from_url(text).is_ok() && !has_stray_at(text);
    if !is_known {
        return Err(
            "must be smtps://user:password@host, smtp://user:password@host?tls=required, or smtp://host for one that \
             is near; percent-encode odd characters of the password"
                .to_owned(),
        );
    }
    Ok(ServerUrl(Zeroizing::new(text.to_owned())))
}

/// `gatepost@example.com` or `Gatepost <gatepost@example.com>`.
pub fn sender(text: &str) -> Result<Mailbox, String> {
    Mailbox::from_str(text.trim()).map_err(|_| "must be an address such as Gatepost <gatepost@example.com>".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_server_is_an_address_of_its_own_kind_and_never_printed() {
        for fine in ["smtps://me:hunter2@mail.example.com", "smtp://mail.example.com:25", "smtp://a:b@c?tls=required"] {
            assert!(server(fine).is_ok(), "{fine}");
        }
        for wrong in [
            "mail.example.com",
            "https://me:hunter2@mail.example.com",
            "smtp://a:b@c?tls=maybe",
            "smtp://a:1/hunter2@c",
        ] {
            assert!(!server(wrong).err().unwrap().contains("hunter2"), "{wrong}");
        }
        let smtp = Smtp::new(server("smtps://me:hunter2@x.example").unwrap(), sender("G <g@x.example>").unwrap());
        assert_eq!(format!("{smtp:?}"), "Smtp(from G <g@x.example>)");
        assert!(sender("nobody").is_err());
    }
}
