//! Responses: status, headers, and a body that is JSON or a page.

use reqwest::header::{CONTENT_TYPE, LOCATION};
use scraper::{Html, Selector};
use serde_json::Value;

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
}

impl Answer {
    pub async fn read(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, body: response.text().await.expect("a body of text") }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    #[track_caller]
    pub fn assert_status(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }

    #[track_caller]
    pub fn assert_ok(&self) -> &Self {
        self.assert_status(200)
    }

    #[track_caller]
    pub fn assert_see_other(&self, url: impl AsRef<str>) -> &Self {
        self.assert_status(303);
        assert_eq!(self.header(LOCATION.as_str()), url.as_ref());
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("JSON expected: {}", self.body))
    }

    /// Asserts that the response is a problem document with this status and code, and returns it.
    #[track_caller]
    pub fn assert_problem(&self, status: u16, code: &str) -> Value {
        self.assert_status(status);
        assert_eq!(self.header(CONTENT_TYPE.as_str()), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status);
        assert!(!problem["request_id"].as_str().unwrap_or_default().is_empty(), "{problem}");
        problem
    }

    /// Asserts that the response is a 422 that names this field, and returns it.
    #[track_caller]
    pub fn assert_invalid(&self, field: &str) -> Value {
        let problem = self.assert_problem(422, "invalid");
        let fields: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|error| error["field"].clone()).collect();
        assert!(fields.contains(&Value::from(field)), "{field} in {problem}");
        problem
    }

    pub fn html(&self) -> Page {
        assert!(self.header(CONTENT_TYPE.as_str()).starts_with("text/html"), "a page expected: {}", self.body);
        Page(Html::parse_document(&self.body))
    }
}

/// Parsed page, read by CSS selectors.
pub struct Page(pub Html);

impl Page {
    pub fn select(&self, css: &str) -> Vec<scraper::ElementRef<'_>> {
        self.0.select(&Selector::parse(css).expect("a selector")).collect()
    }

    pub fn has(&self, css: &str) -> bool {
        !self.select(css).is_empty()
    }

    /// Returns the text of the first match, with white space collapsed.
    #[track_caller]
    pub fn text(&self, css: &str) -> String {
        let found = self.select(css);
        let first = found.first().unwrap_or_else(|| panic!("no {css} in {}", self.0.html()));
        words(&first.text().collect::<String>())
    }

    pub fn texts(&self, css: &str) -> Vec<String> {
        self.select(css).iter().map(|found| words(&found.text().collect::<String>())).collect()
    }

    /// Returns all visible text of the page.
    pub fn all_text(&self) -> String {
        self.text("body")
    }

    /// Returns the value of a form field.
    #[track_caller]
    pub fn value(&self, name: &str) -> String {
        let found = self.select(&format!("[name='{name}']"));
        let first = found.first().unwrap_or_else(|| panic!("no field {name} in {}", self.0.html()));
        match first.value().name() {
            "textarea" => first.text().collect(),
            _ => first.value().attr("value").unwrap_or_default().to_owned(),
        }
    }

    /// Returns the error message at a field.
    pub fn error_at(&self, name: &str) -> String {
        let found = self.select(&format!("[name='{name}']"));
        let described = found.first().and_then(|field| field.value().attr("aria-describedby")).unwrap_or_default();
        described
            .split_whitespace()
            .filter(|id| id.contains("error"))
            .map(|id| self.text(&format!("[id='{id}']")))
            .collect()
    }
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
