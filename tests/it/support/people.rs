//! Users of the server: people with their own browser, and programs with a token or key.

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Method};
use serde_json::Value;

use super::Answer;

pub const PASSWORD: &str = "correct horse battery staple";

/// Person at a browser, or a program with a token or key. The client keeps cookies and follows no redirects.
#[derive(Clone)]
pub struct Person {
    pub base: String,
    pub email: String,
    pub user_id: i64,
    pub client: Client,
    pub headers: HeaderMap,
}

impl Person {
    pub fn stranger(base: &str) -> Self {
        // Load no root certificates: tests use no TLS, and loading them takes longer than a request.
        let builder = gatepost::outbound::http().cookie_store(true).redirect(Policy::none());
        let client = builder.tls_certs_only([]).build().unwrap();
        Self { base: base.to_owned(), email: String::new(), user_id: 0, client, headers: HeaderMap::new() }
    }

    /// Returns a copy that sends this header with every request.
    pub fn with(&self, name: &'static str, value: &str) -> Self {
        let mut other = self.clone();
        other.headers.insert(name, HeaderValue::from_str(value).unwrap());
        other
    }

    /// Returns a program with this access token and no cookies.
    pub fn with_token(base: &str, token: &str) -> Self {
        Self::stranger(base).with(AUTHORIZATION.as_str().to_owned().leak(), &format!("Bearer {token}"))
    }

    pub async fn send(&self, method: Method, path: &str, body: Option<(&str, String)>) -> Answer {
        let mut request = self.client.request(method, format!("{}{path}", self.base)).headers(self.headers.clone());
        if let Some((kind, body)) = body {
            request = request.header("content-type", kind).body(body);
        }
        Answer::read(request.send().await.expect("the server answers")).await
    }

    pub async fn get(&self, path: impl AsRef<str>) -> Answer {
        self.send(Method::GET, path.as_ref(), None).await
    }

    /// Repeats a request until the response has this status: a replica must learn of a change within a second. Counts
    /// its pauses instead of reading the clock, so that a stalled machine does not fail the test.
    pub async fn within_a_second(&self, path: &str, status: u16) -> Answer {
        for _ in 0..40 {
            let answer = self.get(path).await;
            if answer.status == status {
                return answer;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        panic!("{path} is not answered {status} after a second");
    }

    /// Requests a page as a browser does.
    pub async fn visit(&self, path: impl AsRef<str>) -> Answer {
        self.with("accept", "text/html").get(path).await
    }

    pub async fn post_json(&self, path: impl AsRef<str>, body: Value) -> Answer {
        self.send(Method::POST, path.as_ref(), Some(("application/json", body.to_string()))).await
    }

    pub async fn patch_json(&self, path: impl AsRef<str>, body: Value) -> Answer {
        self.send(Method::PATCH, path.as_ref(), Some(("application/json", body.to_string()))).await
    }

    pub async fn delete(&self, path: impl AsRef<str>) -> Answer {
        self.send(Method::DELETE, path.as_ref(), None).await
    }

    /// Sends a form with this session's token, as its page would.
    pub async fn submit(&self, path: impl AsRef<str>, fields: &[(&str, &str)]) -> Answer {
        let token = self.form_token().await;
        let mut all = vec![("_csrf", token.as_str())];
        all.extend_from_slice(fields);
        self.submit_exactly(path, &all).await
    }

    /// Sends a form with exactly these fields.
    pub async fn submit_exactly(&self, path: impl AsRef<str>, fields: &[(&str, &str)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let browser = self.with("accept", "text/html");
        browser.send(Method::POST, path.as_ref(), Some(("application/x-www-form-urlencoded", body))).await
    }

    /// Returns the form token of this browser's session, which is on every page.
    pub async fn form_token(&self) -> String {
        let mut page = self.visit("/").await;
        // Visitors find it on the sign-in page, and people without a tenant on their account page.
        for place in ["/sign-in", "/account"] {
            if page.status != 200 {
                page = self.visit(place).await;
            }
        }
        page.html().value("_csrf")
    }
}
