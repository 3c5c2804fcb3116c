//! Paging in the API: every list works with `limit` and `cursor`, from newest to oldest, without loss.

use std::collections::BTreeSet;

use gatepost::domain::{Role, UserId};
use gatepost::web::routes::{self, Door};
use serde_json::{Value, json};

use super::{mint, text};
use crate::support::{Person, Receiver, TestApp};

const ROWS: usize = 7;

/// Lists of a tenant or of the instance. `{tenant}` and `{webhook}` are replaced with ids.
const LISTS: [&str; 15] = [
    "/api/audit",
    "/api/deliveries",
    "/api/events",
    "/api/keys",
    "/api/api-keys",
    "/api-keys",
    "/api/plans",
    "/api/tenants",
    "/api/tenants/{tenant}/invitations",
    "/api/tenants/{tenant}/members",
    "/api/tokens",
    "/api/usage/records",
    "/api/users",
    "/api/webhook-logs",
    "/api/webhooks",
];
const OF_WEBHOOK: &str = "/api/webhooks/{webhook}/deliveries";

/// Program with an instance token, and rows in every list.
struct FilledInstance {
    program: Person,
    lists: Vec<String>,
    _app: TestApp,
    _receiver: Receiver,
}

impl FilledInstance {
    async fn start() -> Self {
        let app = TestApp::start_with(&[("GATEPOST_ALLOW_PRIVATE_NETWORKS", "127.0.0.0/8")]).await;
        let (grace, ada, receiver) = (app.operator("grace").await, app.admin("ada").await, Receiver::start().await);
        let token = app.token_of(&ada, &["*"]);
        let program = app.instance_token_of(&grace, &["*"]);
        let mut webhook = Value::Null;
        for row in 0..ROWS {
            let key = mint(&token, json!({"rate_limit": 1000})).await;
            app.key(text(&key, "secret")).get("/api/data").await.assert_ok();
            let events = if row == 0 { json!(["a.b"]) } else { json!(["never"]) };
            let made = token.post_json("/api/webhooks", json!({"url": receiver.url, "events": events})).await;
            webhook = if row == 0 { made.assert_status(201).json() } else { webhook };
            app.make_tenant(&format!("tenant-{row}"));
            let user = app.make_user(&format!("user-{row}"), false);
            app.make_member(app.tenant, user, Role::Viewer);
            app.mint_token(UserId(grace.user_id), None, &["keys:read"]);
            let invitation = json!({"email": format!("guest-{row}@example.com"), "role": "viewer"});
            let path = format!("/api/tenants/{}/invitations", app.tenant);
            token.post_json(path, invitation).await.assert_status(201);
        }
        for _ in 0..ROWS {
            token.post_json("/api/events", json!({"type": "a.b", "data": {}})).await.assert_status(202);
        }
        receiver.wait_for(ROWS).await;
        while token.get("/api/webhook-logs").await.json()["data"].as_array().unwrap().len() < ROWS {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let named = |path: &str| {
            path.replace("{tenant}", &app.tenant.to_string()).replace("{webhook}", &webhook["id"].to_string())
        };
        let lists = LISTS.into_iter().chain([OF_WEBHOOK]).map(named).collect();
        Self { program, lists, _app: app, _receiver: receiver }
    }
}

/// Returns a value that identifies the row.
fn name_of(row: &Value) -> String {
    let name = ["id", "user_id", "request_id", "name"].iter().find_map(|field| row.get(field));
    name.unwrap_or_else(|| panic!("no name in {row}")).to_string()
}

fn names(page: &Value) -> Vec<String> {
    page["data"].as_array().unwrap_or_else(|| panic!("no list: {page}")).iter().map(name_of).collect()
}

#[actix_web::test]
async fn paging_through_every_list_loses_and_repeats_nothing() {
    let full = FilledInstance::start().await;
    for list in &full.lists {
        let all = names(&full.program.get(format!("{list}?limit=100")).await.assert_ok().json());
        let size = if list == "/api/plans" { 1 } else { 3 };
        assert!(size < all.len(), "{list} has {all:?}");
        let (mut walked, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = full.program.get(format!("{list}?limit={size}{cursor}")).await.assert_ok().json();
            let found = names(&page);
            assert!(found.len() <= size && !found.is_empty(), "{list}: {page}");
            walked.extend(found);
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(walked, all, "{list}");
        assert_eq!(walked.iter().collect::<BTreeSet<_>>().len(), walked.len(), "{list}");
    }
}

#[actix_web::test]
async fn every_list_skips_rows_by_offset() {
    let full = FilledInstance::start().await;
    for list in &full.lists {
        let all = names(&full.program.get(format!("{list}?limit=100")).await.assert_ok().json());
        let page = full.program.get(format!("{list}?limit=100&offset=2")).await.assert_ok().json();
        assert_eq!(names(&page), all[2..], "{list}");
    }
}

#[actix_web::test]
async fn every_list_has_the_same_limits_of_paging() {
    let full = FilledInstance::start().await;
    for list in &full.lists {
        for (query, field) in [
            ("limit=0", "limit"),
            ("limit=101", "limit"),
            ("limit=-1", "limit"),
            ("limit=x", "limit"),
            ("limit=1&limit=2", "limit"),
            ("cursor=junk!", "cursor"),
            ("cursor=MQ&offset=1", "offset"),
            ("offset=-1", "offset"),
            ("offset=100001", "offset"),
            ("page=2", "page"),
            ("colour=red", "colour"),
        ] {
            let answer = full.program.get(format!("{list}?{query}")).await;
            assert_eq!(answer.status, 422, "{list}?{query}: {}", answer.body);
            answer.assert_invalid(field);
        }
    }
}

#[actix_web::test]
async fn sixty_one_tenants_and_users_fill_more_than_one_page() {
    let app = TestApp::start().await;
    let grace = app.operator("grace").await;
    let program = app.instance_token_of(&grace, &["*"]);
    for row in 0..60 {
        app.make_tenant(&format!("tenant-{row}"));
        app.make_user(&format!("user-{row}"), false);
    }
    for list in ["/api/tenants", "/api/users"] {
        let first = program.get(list).await.assert_ok().json();
        assert_eq!((names(&first).len(), &first["total"]), (50, &json!(61)), "{list}");
        let next = first["next_cursor"].as_str().unwrap();
        let second = program.get(format!("{list}?cursor={next}")).await.assert_ok().json();
        assert_eq!((names(&second).len(), &second["next_cursor"]), (11, &Value::Null), "{list}");
    }
}

/// True for logs, which have no total, since counting would read the whole log.
fn is_log(list: &str) -> bool {
    ["/audit", "/deliveries", "/events", "/usage/records", "/webhook-logs"].iter().any(|log| list.ends_with(log))
}

#[actix_web::test]
async fn every_list_except_logs_has_a_total_with_an_offset() {
    let full = FilledInstance::start().await;
    for list in &full.lists {
        let all = names(&full.program.get(format!("{list}?limit=100")).await.assert_ok().json()).len();
        let page = full.program.get(format!("{list}?limit=1&offset=1")).await.assert_ok().json();
        let expected = if is_log(list) { Value::Null } else { json!(all) };
        assert_eq!(page["total"], expected, "{list}");
    }
}

#[actix_web::test]
async fn the_total_of_members_counts_only_found_members() {
    let full = FilledInstance::start().await;
    let members = full.lists.iter().find(|list| list.ends_with("/members")).unwrap();
    let page = full.program.get(format!("{members}?q=user-3&offset=0")).await.assert_ok().json();
    assert_eq!((names(&page).len(), &page["total"]), (1, &json!(1)));
}

/// Fails if a route with a list is missing in `LISTS`.
#[actix_web::test]
async fn every_route_with_a_list_is_in_the_table() {
    let full = FilledInstance::start().await;
    for entry in routes::all() {
        let is_read = entry.method.as_str() == "GET" && matches!(entry.door, Door::Api | Door::ApiOrKey);
        if !is_read || entry.path.contains('{') {
            continue;
        }
        let answer = full.program.get(&entry.path).await;
        if answer.body.contains("\"next_cursor\"") {
            assert!(full.lists.contains(&entry.path), "{} is a list", entry.path);
        }
    }
}
