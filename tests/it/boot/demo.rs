//! `gatepost demo`: the URLs and commands in its greeting work.

use std::io::{BufRead, BufReader};

use reqwest::Method;

use super::command::Gatepost;
use super::serving::{Served, data_dir};
use crate::support::Person;

/// Starts a demo, and reads its greeting up to the last line.
fn start_demo(gatepost: &Gatepost) -> Served {
    let mut child = gatepost.start(&["demo", "--bind", "127.0.0.1:0"]);
    let (mut printed, mut lines) = (String::new(), BufReader::new(child.stdout.take().unwrap()).lines());
    while !printed.contains("Access token") {
        let line = lines.next().unwrap_or_else(|| panic!("it ended after {printed}")).unwrap();
        printed.push_str(&line);
        printed.push('\n');
    }
    let base = text_after(&printed, "Open ").trim_end_matches('/').to_owned();
    Served { child, base, printed }
}

/// Returns the rest of the line after these words.
fn text_after<'a>(printed: &'a str, words: &str) -> &'a str {
    let line =
        printed.lines().find_map(|line| line.split_once(words)).unwrap_or_else(|| panic!("{words} in {printed}"));
    line.1.trim()
}

/// Sends the request of a `curl` command from the greeting, and returns the status.
async fn status_of_curl(command: &str) -> u16 {
    let between = |from: &str, to: char| Some(command.split_once(from)?.1.split_once(to)?.0.to_owned());
    let url = command.split(' ').find(|word| word.starts_with("http://")).unwrap();
    let holder = Person::stranger(url).with("x-api-key", &between("X-API-Key: ", '\'').unwrap());
    let body = between("-d '", '\'').map(|body| ("application/json", body));
    let method = if command.contains("-X POST") { Method::POST } else { Method::GET };
    holder.send(method, "", body).await.status
}

#[actix_web::test]
async fn the_greeting_of_a_demo_is_true() {
    let (folder, data_dir) = data_dir();
    let demo = start_demo(&Gatepost::in_dir(&data_dir));
    let (email, password) = text_after(&demo.printed, "Sign in ").split_once(" / ").unwrap();
    let ada = Person::stranger(&demo.base);
    ada.submit("/sign-in", &[("email", email), ("password", password)]).await.assert_see_other("/");
    for page in ["/", "/keys", "/usage", "/webhooks", "/deliveries", "/events", "/audit"] {
        ada.visit(page).await.assert_ok();
    }
    assert!(3 < ada.visit("/keys").await.html().select("tbody tr").len(), "it has keys");

    let commands: Vec<_> = demo.printed.lines().filter(|line| line.trim().starts_with("curl ")).collect();
    assert_eq!(commands.len(), 3);
    for command in commands {
        let status = status_of_curl(command).await;
        assert!((200..300).contains(&status), "{status}: {command}");
    }
    let program = Person::with_token(&demo.base, text_after(&demo.printed, "Access token for the API:"));
    assert!(!program.get("/api/keys").await.assert_ok().json()["data"].as_array().unwrap().is_empty());

    for webhook in program.get("/api/webhooks").await.json()["data"].as_array().unwrap() {
        let id = &webhook["id"];
        let delivered = program.get(format!("/api/deliveries?webhook_id={id}&state=delivered")).await.json();
        assert!(!delivered["data"].as_array().unwrap().is_empty(), "{webhook}");
        assert!(webhook["last_success_at"].is_string(), "{webhook}");
        let hours = program.get(format!("/api/webhooks/{id}/statistics")).await.json()["hours"].clone();
        let total: i64 = hours.as_array().unwrap().iter().map(|hour| hour["delivered"].as_i64().unwrap()).sum();
        assert!(0 < total, "{hours}");
    }
    for path in ["/api/deliveries?state=failed", "/api/usage/records?refused=true", "/api/webhook-logs?success=false"] {
        assert!(!program.get(path).await.json()["data"].as_array().unwrap().is_empty(), "{path}");
    }
    for key in program.get("/api/keys?state=active").await.json()["data"].as_array().unwrap() {
        let usage = program.get(format!("/api/keys/{}/usage", key["id"])).await.assert_ok().json();
        assert!(0 < usage["total"].as_i64().unwrap() && key["last_used_at"].is_string(), "{key}");
    }

    let kept: Vec<_> = folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(kept, ["data-demo"], "its data is apart");
    assert_eq!(demo.stop(), 0);
}
