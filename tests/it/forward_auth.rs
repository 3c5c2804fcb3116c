//! Forward-auth at `/auth`: responses to gateways, usage records, and a real nginx in front.

mod contract;
mod gateways;
mod nginx;
mod recipes;
mod recording;
mod requirements;

use std::collections::BTreeMap;

use diesel::prelude::*;
use gatepost::model::usage_log::usage_logs;
use serde_json::{Value, json};

use crate::support::{Answer, Person, TestApp};

/// Creates a key of `acme` with these additional fields.
async fn mint(app: &TestApp, extra: Value) -> Value {
    let token = app.program().await;
    mint_as(&token, extra).await
}

async fn mint_as(token: &Person, extra: Value) -> Value {
    let mut body = json!({"name": "ci"});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    token.post_json("/api/keys", body).await.assert_status(201).json()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field} in {value}"))
}

/// Returns the usage records, oldest first: method, endpoint, status, outcome.
async fn recorded(app: &TestApp) -> Vec<(String, String, i16, String)> {
    app.running().state.gate.flush().await;
    let columns = (usage_logs::method, usage_logs::endpoint, usage_logs::status, usage_logs::outcome);
    usage_logs::table.order(usage_logs::id).select(columns).load(&mut app.conn()).unwrap()
}

/// Headers of every HTTP response.
const EVERYWHERE: [&str; 2] = ["date", "content-length"];

/// Returns status, headers and the body's fields in alphabetical order. Varying values are checked and replaced with
/// `<id>`, `<reset>` or `<t>`.
fn said(app: &TestApp, answer: &Answer) -> String {
    let now = app.clock.now().timestamp();
    let mut body = answer.body.clone();
    if answer.header("content-type") == "application/problem+json" {
        let id = answer.json()["request_id"].as_str().unwrap().to_owned();
        assert_eq!(id.len(), 36, "a UUID: {id}");
        let fields: BTreeMap<String, Value> = serde_json::from_str(&body).unwrap();
        body = serde_json::to_string(&fields).unwrap().replace(&id, "<id>");
    }
    let reset = answer.header("x-ratelimit-reset").to_owned();
    if !reset.is_empty() {
        let wait = reset.parse::<i64>().unwrap() - now;
        assert!((-5..=3_700).contains(&wait), "{reset} is {wait} s away");
    }
    let seconds = answer.header("ratelimit").rsplit_once("t=").map_or("", |(_, seconds)| seconds).to_owned();
    let mut lines: Vec<String> = answer
        .headers
        .iter()
        .filter(|(name, _)| !EVERYWHERE.contains(&name.as_str()))
        .map(|(name, value)| {
            let value = value.to_str().unwrap();
            let value = match name.as_str() {
                "x-ratelimit-reset" => "<reset>".to_owned(),
                "ratelimit" => value.replace(&format!("t={seconds}"), "t=<t>"),
                "retry-after" if value == seconds => "<t>".to_owned(),
                _ => value.to_owned(),
            };
            format!("{name}: {value}")
        })
        .collect();
    lines.sort();
    if !seconds.is_empty() {
        body = body.replace(&format!("in {seconds} seconds"), "in <t> seconds");
    }
    format!("{}\n{}\n\n{body}", answer.status, lines.join("\n")).trim_end().to_owned()
}

/// Removes the indentation of a text in a test.
fn plain(text: &str) -> String {
    text.trim().lines().map(str::trim).collect::<Vec<_>>().join("\n")
}
