//! Page of the audit log.

use serde_json::json;

use crate::support::TestApp;

#[actix_web::test]
async fn a_change_is_shown_with_the_values_before_it() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let token = app.token_of(&ada, &["*"]);
    token.post_json("/api/keys", json!({"name": "Billing"})).await.assert_status(201);
    token.patch_json("/api/keys/1", json!({"rate_limit": 5, "metadata": {"note": "hush"}})).await.assert_ok();

    let page = ada.visit("/audit?target=api_key:1").await;

    assert!(!page.body.contains("hush"), "values of metadata may be secrets");
    let html = page.assert_ok().html();
    let rows = html.texts("tbody .cell-main > b");
    assert_eq!(rows, ["Changed a key: Billing", "Created a key: Billing"]);
    let changed = html.texts("tbody tr:first-child dd");
    assert!(changed.contains(&"1000 → 5".to_owned()), "{changed:?}");
    assert!(html.texts("tbody [data-label=Who]").iter().all(|who| who.starts_with("ada@example.com")));
    assert_eq!(html.texts("tbody [data-label=Address]"), ["127.0.0.1", "127.0.0.1"]);
}

#[actix_web::test]
async fn the_log_is_filtered_and_paged_and_says_if_nothing_matches() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let token = app.token_of(&ada, &["*"]);
    for index in 0..60 {
        token.post_json("/api/keys", json!({"name": format!("key {index}")})).await.assert_status(201);
    }

    let first = ada.visit("/audit?action=api_key.minted").await.html();
    assert_eq!(first.select("tbody tr").len(), 50);
    assert_eq!(first.texts(".chip")[0], "Action: Created a keyRemove this filter");
    let next = first.select("a[rel=next]")[0].value().attr("href").unwrap().to_owned();
    let second = ada.visit(&next).await.html();
    assert_eq!(second.select("tbody tr").len(), 10);
    assert_eq!(second.text("tbody tr:last-child .cell-main > b"), "Created a key: key 0");

    let by_nobody = ada.visit("/audit?actor=nobody@example.com").await.html();
    assert_eq!(by_nobody.select(".empty a[href='/audit']").len(), 1);
    let today = app.clock.now().format("%Y-%m-%d").to_string();
    let yesterday = (app.clock.now() - chrono::TimeDelta::days(1)).format("%Y-%m-%d").to_string();
    assert!(ada.visit(format!("/audit?from={today}&to={today}")).await.html().has("tbody tr"));
    assert!(!ada.visit(format!("/audit?to={yesterday}")).await.html().has("tbody tr"));
    ada.visit("/audit?from=nonsense&to=1&actor=%00&before=x").await.assert_ok();
}

#[actix_web::test]
async fn the_download_contains_every_matching_entry() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let token = app.token_of(&ada, &["*"]);
    for index in 0..130 {
        token.post_json("/api/keys", json!({"name": format!("=key {index}")})).await.assert_status(201);
    }

    let file = ada.get("/audit.csv?action=api_key.minted").await;

    assert!(file.assert_ok().header("content-type").starts_with("text/csv"));
    assert_eq!(file.body.lines().count(), 131);
    assert!(file.body.lines().skip(1).all(|line| line.contains("api_key.minted")));
}

#[actix_web::test]
async fn operators_can_read_the_log_of_the_instance() {
    let app = TestApp::start().await;
    let grace = app.operator("grace").await;
    let page = grace.visit("/audit?of=instance").await.assert_ok().html();
    assert_eq!(page.texts("tbody .cell-main > b"), ["Created a user"]);
    assert_eq!(page.texts("tbody [data-label=Who]"), ["consoleon the command line"]);
    assert!(grace.visit("/audit").await.html().texts("tbody .cell-main > b").contains(&"Created a tenant".to_owned()));
}

/// Reads the actions from the source of the services, and expects the page to have words for exactly these.
#[test]
fn every_recorded_action_has_a_description() {
    let mut recorded = std::collections::BTreeSet::new();
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/services")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = std::fs::read_to_string(&path).unwrap();
            let quoted = source.split('"').skip(1).step_by(2);
            let is_action = |text: &&str| {
                matches!(text.split_once('.'), Some((noun, verb)) if !noun.is_empty() && !verb.is_empty())
                    && text.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c == '.')
            };
            recorded.extend(quoted.filter(is_action).map(str::to_owned));
        }
    }
    // Types of events, which are not actions.
    for news in ["webhook.failing", "api_key.created", "api_key.expiring"] {
        recorded.remove(news);
    }
    recorded.remove("webhook.test");
    recorded.remove("webhook.probe");
    recorded.remove("order.created");
    let known: std::collections::BTreeSet<_> =
        gatepost::domain::audit::ACTIONS.iter().map(|(action, _)| (*action).to_owned()).collect();
    assert_eq!(recorded, known);
}
