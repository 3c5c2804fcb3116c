//! Mail server on loopback with the parts of SMTP that a sender needs. Tests can make it refuse mails.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Received mail.
#[derive(Debug, Clone)]
pub struct Received {
    pub from: String,
    pub to: String,
    /// Headers and body, as sent.
    pub raw: String,
    /// Credentials that the sender presented with `AUTH PLAIN`.
    pub auth: Option<String>,
}

impl Received {
    /// Returns the text, with soft line breaks of quoted-printable joined.
    pub fn text(&self) -> String {
        let (_, body) = self.raw.split_once("\r\n\r\n").unwrap();
        body.replace("=\r\n", "").replace("=3D", "=")
    }
}

#[derive(Default)]
struct Inner {
    letters: Mutex<Vec<Received>>,
    /// Responses to the next mails, which are then not accepted.
    refusals: Mutex<VecDeque<&'static str>>,
    /// Responses to the next recipients, which are then not accepted.
    unknown: Mutex<VecDeque<&'static str>>,
}

pub struct Mailbox {
    pub url: String,
    inner: Arc<Inner>,
}

impl Mailbox {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://me:hunter2hunter2@{}", listener.local_addr().unwrap());
        let inner = Arc::new(Inner::default());
        let accepting = Arc::clone(&inner);
        actix_web::rt::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                actix_web::rt::spawn(converse(connection, Arc::clone(&accepting)));
            }
        });
        Self { url, inner }
    }

    /// Refuses the next mail with this response.
    pub fn refuse(&self, with: &'static str) {
        self.inner.refusals.lock().unwrap().push_back(with);
    }

    /// Refuses the next recipient with this response.
    pub fn refuse_recipient(&self, with: &'static str) {
        self.inner.unknown.lock().unwrap().push_back(with);
    }

    pub fn has_refused(&self) -> bool {
        self.inner.refusals.lock().unwrap().is_empty()
    }

    pub fn letters(&self) -> Vec<Received> {
        self.inner.letters.lock().unwrap().clone()
    }

    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        for _ in 0..1_000 {
            let letters = self.letters();
            if count <= letters.len() {
                return letters;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{count} letters were expected: {:?}", self.letters());
    }
}

async fn converse(connection: TcpStream, inner: Arc<Inner>) {
    let (reader, mut writer) = connection.into_split();
    let mut lines = BufReader::new(reader).lines();
    let (mut from, mut to, mut auth) = (String::new(), String::new(), None);
    writer.write_all(b"220 mailbox ready\r\n").await.unwrap();
    while let Ok(Some(line)) = lines.next_line().await {
        let upper = line.to_uppercase();
        let answer = if upper.starts_with("EHLO") {
            "250-mailbox\r\n250-AUTH PLAIN\r\n250 8BITMIME\r\n".to_owned()
        } else if upper.starts_with("AUTH PLAIN") {
            auth = line.split_whitespace().nth(2).map(str::to_owned);
            "235 welcome\r\n".to_owned()
        } else if upper.starts_with("MAIL FROM:") {
            from = between(&line);
            "250 ok\r\n".to_owned()
        } else if upper.starts_with("RCPT TO:") {
            to = between(&line);
            let refusal = inner.unknown.lock().unwrap().pop_front();
            format!("{}\r\n", refusal.unwrap_or("250 ok"))
        } else if upper == "DATA" {
            writer.write_all(b"354 go on\r\n").await.unwrap();
            let mut raw = String::new();
            while let Ok(Some(line)) = lines.next_line().await {
                if line == "." {
                    break;
                }
                raw.push_str(line.strip_prefix('.').unwrap_or(&line));
                raw.push_str("\r\n");
            }
            let refusal = inner.refusals.lock().unwrap().pop_front();
            if refusal.is_none() {
                let (from, to, auth) = (from.clone(), to.clone(), auth.clone());
                inner.letters.lock().unwrap().push(Received { from, to, raw, auth });
            }
            format!("{}\r\n", refusal.unwrap_or("250 taken"))
        } else if upper == "QUIT" {
            let _ = writer.write_all(b"221 bye\r\n").await;
            return;
        } else {
            "250 ok\r\n".to_owned()
        };
        if writer.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Returns the text between angle brackets.
fn between(line: &str) -> String {
    line.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(inside, _)| inside.to_owned()).unwrap()
}
