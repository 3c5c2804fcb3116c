//! Filters in the URLs of pages: each filters its list, and the page names an unreadable one.

use std::collections::BTreeSet;

use gatepost::web::routes::{self, Door};
use serde_json::json;

use crate::support::{Answer, Person, Receiver, TestApp};

/// Pages with lists.
const LISTS: [&str; 9] =
    ["/keys", "/webhooks", "/events", "/deliveries", "/members", "/tokens", "/usage", "/usage/records", "/audit"];

fn notice(answer: &Answer) -> String {
    answer.assert_ok().html().texts(".flash-bad").join(" ")
}

#[actix_web::test]
async fn an_unknown_parameter_is_named_on_the_page() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    for list in LISTS.into_iter().chain(["/"]) {
        let says = notice(&ada.visit(format!("{list}?colour=red&size=9")).await);
        assert!(says.contains("colour") && says.contains("size"), "{list}: {says}");
        assert_eq!(notice(&ada.visit(list).await), "", "{list}");
    }
    let grace = app.operator("grace").await;
    for list in ["/operator/tenants", "/operator/users"] {
        assert!(notice(&grace.visit(format!("{list}?colour=red")).await).contains("colour"), "{list}");
    }
}

/// Pages for visitors, which have no place for a notice.
const OF_VISITORS: [&str; 6] =
    ["/setup", "/sign-in", "/sign-in/code", "/password-reset", "/password-reset/request", "/invitation"];

/// Covers new pages automatically.
#[actix_web::test]
async fn every_page_names_an_unknown_parameter() {
    let app = TestApp::start().await;
    let (ada, grace) = (app.owner("ada").await, app.operator("grace").await);
    let mut seen = 0;
    for entry in routes::all() {
        let is_page = entry.method.as_str() == "GET" && matches!(entry.door, Door::Page);
        if !is_page || entry.path.contains(['{', '.']) || OF_VISITORS.contains(&&*entry.path) {
            continue;
        }
        let person = if entry.path.starts_with("/operator") { &grace } else { &ada };
        let answer = person.visit(format!("{}?colour=red", entry.path)).await;
        assert!(answer.body.to_lowercase().contains("colour"), "{}: {} {}", entry.path, answer.status, answer.body);
        seen += 1;
    }
    assert!(20 < seen, "{seen} pages");
}

#[actix_web::test]
async fn pages_of_a_single_object_name_an_unknown_parameter() {
    let app = TestApp::start().await;
    let (ada, grace) = (app.admin("ada").await, app.operator("grace").await);
    let token = app.token_of(&ada, &["*"]);
    let key = token.post_json("/api/keys", json!({"name": "ci"})).await.assert_status(201).json();
    let hook = json!({"url": "https://example.com/", "events": ["a.b"]});
    let hook = token.post_json("/api/webhooks", hook).await.assert_status(201).json();
    let (key, hook) = (format!("/keys/{}", key["id"]), format!("/webhooks/{}", hook["id"]));
    let acts = ["", "/edit", "/deactivation", "/deletion"];
    for page in acts.iter().flat_map(|act| [format!("{key}{act}"), format!("{hook}{act}")]) {
        assert!(notice(&ada.visit(format!("{page}?colour=red")).await).contains("colour"), "{page}");
        assert_eq!(notice(&ada.visit(&page).await), "", "{page}");
    }
    for page in [format!("/operator/tenants/{}", app.tenant), "/operator/plans/free".to_owned()] {
        assert!(notice(&grace.visit(format!("{page}?colour=red")).await).contains("colour"), "{page}");
    }
}

#[actix_web::test]
async fn a_page_names_a_repeated_unknown_parameter_once() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let says = notice(&ada.visit("/settings?colour=red&colour=blue").await);
    assert_eq!(says.matches("colour").count(), 1, "{says}");
}

#[actix_web::test]
async fn the_proof_page_does_not_report_its_own_parameter() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    assert_eq!(notice(&ada.visit("/sign-in/proof?back=/account").await), "");
}

#[actix_web::test]
async fn an_invalid_cursor_is_named_on_the_page() {
    let app = TestApp::start().await;
    let (ada, grace) = (app.admin("ada").await, app.operator("grace").await);
    for (person, list) in [
        (&ada, "/keys"),
        (&ada, "/webhooks"),
        (&ada, "/events"),
        (&ada, "/deliveries"),
        (&ada, "/members"),
        (&ada, "/tokens"),
        (&ada, "/audit"),
        (&ada, "/usage/records"),
        (&grace, "/operator/tenants"),
        (&grace, "/operator/users"),
    ] {
        for name in ["before", "after"] {
            let says = notice(&person.visit(format!("{list}?{name}=zzz")).await);
            assert!(says.contains(&format!("{name} is not a cursor of this list")), "{list}: {says}");
        }
    }
}

#[actix_web::test]
async fn an_unreadable_filter_is_named_with_what_to_write() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    for (query, says) in [
        ("/keys?state=asleep", "state must be one of active"),
        ("/keys?environment=moon", "environment must be one of live, test"),
        ("/keys?sort=color", "sort must be one of"),
        ("/keys?unused_days=x", "unused_days must be a number of days"),
        ("/keys?expiring_days=0", "expiring_days must be a number of days"),
        ("/webhooks?state=sad", "state must be one of active, paused, failing"),
        ("/deliveries?state=sad", "state must be one of"),
        ("/deliveries?status=6xx", "status must be one of 2xx"),
        ("/deliveries?webhook=x", "webhook is not an id"),
        ("/deliveries?event=x", "event is not an id"),
        ("/deliveries?since=soon", "since must be a time"),
        ("/deliveries?until=soon", "until must be a time"),
        ("/usage/records?outcome=SAD", "outcome must be one of"),
        ("/usage/records?key=x", "key is not an id"),
        ("/usage?range=9y", "range must be one of 1h, 24h"),
        ("/usage?from=soon", "from must be a day, as in"),
        ("/usage?group=color", "group must be one of"),
        ("/audit?from=soon", "from must be a day, as in"),
        ("/audit?of=moon", "of must be instance"),
        ("/?range=9y", "range must be one of"),
    ] {
        let shown = notice(&ada.visit(query).await);
        assert!(shown.contains(says), "{query}: {shown}");
    }
}

#[actix_web::test]
async fn a_download_refuses_an_unknown_filter() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    for query in ["/keys.csv?state=asleep", "/keys.csv?colour=red", "/audit.csv?from=soon", "/usage.csv?range=9y"] {
        ada.visit(query).await.assert_status(422);
    }
}

#[actix_web::test]
async fn webhooks_are_filtered_by_state() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let token = app.token_of(&ada, &["*"]);
    for (name, is_active) in [("Orders", true), ("Stock", false)] {
        let hook = json!({"name": name, "url": "https://example.com/", "events": ["a.b"], "is_active": is_active});
        token.post_json("/api/webhooks", hook).await.assert_status(201);
    }
    let names = |state: &'static str| {
        let ada = ada.clone();
        async move { ada.visit(format!("/webhooks?state={state}")).await.assert_ok().html().texts("tbody .cell-title a") }
    };
    assert_eq!(names("active").await, ["Orders"]);
    assert_eq!(names("paused").await, ["Stock"]);
    assert_eq!(names("failing").await, [""; 0]);
    let page = ada.visit("/webhooks?state=failing").await.html();
    assert!(page.has("option[value=failing][selected]") && page.text(".chip").contains("Failing"));
}

/// Returns the page's links that have a query.
fn links(answer: &Answer) -> BTreeSet<String> {
    let page = answer.html();
    let hrefs = page.select("a[href]").into_iter().filter_map(|link| link.attr("href").map(str::to_owned));
    hrefs.filter(|href| href.starts_with('/') && href.contains('?')).collect()
}

/// Creates rows, so that pages show all their links.
async fn start_with_rows() -> (TestApp, Receiver, Person, Vec<String>) {
    let app = TestApp::start_with(&[("GATEPOST_ALLOW_PRIVATE_NETWORKS", "127.0.0.0/8")]).await;
    let (ada, receiver) = (app.admin("ada").await, Receiver::start().await);
    let token = app.token_of(&ada, &["*"]);
    let key = token.post_json("/api/keys", json!({"name": "ci", "tags": ["eu"]})).await.assert_status(201).json();
    app.key(key["secret"].as_str().unwrap()).get("/api/data").await.assert_ok();
    app.stranger().with("x-api-key", "sk_live_nonsense").get("/api/data").await.assert_status(401);
    let hook = json!({"url": receiver.url, "events": ["*"]});
    let hook = token.post_json("/api/webhooks", hook).await.assert_status(201).json();
    let event = token.post_json("/api/events", json!({"type": "a.b", "data": {}})).await.assert_status(202).json();
    receiver.wait_for(1).await;
    let own = [format!("/keys/{}", key["id"]), format!("/webhooks/{}", hook["id"]), "/".to_owned()];
    let event = format!("/events/{}", event["id"].as_str().unwrap());
    let pages = LISTS.iter().map(|list| (*list).to_owned()).chain(own).chain([event, "/keys/lookup".to_owned()]);
    (app, receiver, ada, pages.collect())
}

#[actix_web::test]
async fn every_link_with_a_query_leads_to_a_page_that_understands_all_of_it() {
    let (_app, _receiver, ada, pages) = start_with_rows().await;
    let mut found = BTreeSet::new();
    for page in pages {
        let answer = ada.visit(&page).await;
        if answer.status == 200 {
            found.extend(links(&answer));
        }
    }
    assert!(10 < found.len(), "{found:?}");
    for link in found.iter().filter(|link| !link.contains(".csv")) {
        assert_eq!(notice(&ada.visit(link).await), "", "{link}");
    }
    for link in found.iter().filter(|link| link.contains(".csv")) {
        ada.visit(link).await.assert_ok();
    }
}
