//! Overview and usage page.

use crate::support::TestApp;

#[actix_web::test]
async fn a_new_tenant_sees_the_first_steps_until_they_are_done() {
    let app = TestApp::start().await;
    let ada = app.developer("ada").await;
    assert_eq!(ada.visit("/").await.html().texts(".step-title").len(), 3);
    let token = app.token_of(&ada, &["*"]);

    token.post_json("/api/keys", serde_json::json!({"name": "ci"})).await.assert_status(201);
    assert_eq!(ada.visit("/").await.html().texts(".step-done .step-title"), ["Create an API key"]);
    let hook = serde_json::json!({"url": "http://127.0.0.1:9/hook", "events": ["never.happens"]});
    token.post_json("/api/webhooks", hook).await.assert_status(201);
    token.post_json("/api/events", serde_json::json!({"type": "order.created", "data": {}})).await.assert_status(202);

    assert!(!ada.visit("/").await.html().has(".steps"));
}

#[actix_web::test]
async fn every_range_draws_at_most_sixty_bars_with_their_numbers_as_a_table() {
    let app = TestApp::start().await;
    let ada = app.viewer("ada").await;

    for range in ["1h", "24h", "7d", "30d", "nonsense"] {
        let page = ada.visit(format!("/usage?range={range}")).await;
        let page = page.assert_ok().html();
        let (bars, rows) = (page.select(".bar").len(), page.select(".numbers tbody tr").len());
        assert!((24..=60).contains(&bars), "{range}: {bars}");
        assert_eq!(bars, rows, "{range}");
    }
    assert_eq!(ada.visit("/?range=7d").await.html().texts(".segments [aria-current]"), ["7 d"]);
}

#[actix_web::test]
async fn the_style_sheet_is_loaded_again_only_after_a_change() {
    let app = TestApp::start().await;
    let anyone = app.stranger();

    let sheet = anyone.get("/static/gatepost.css").await;

    sheet.assert_ok();
    assert!(sheet.header("content-type").starts_with("text/css") && sheet.body.contains(".timeline"));
    anyone.with("if-none-match", sheet.header("etag")).get("/static/gatepost.css").await.assert_status(304);
    for file in ["js/gatepost.js", "img/logo.svg", "img/favicon.svg", "img/chevron.svg"] {
        anyone.get(format!("/static/{file}")).await.assert_ok();
    }
}

/// Makes this number of webhooks fail, and this number of keys expire soon.
fn make_problems(app: &TestApp, count: i64) {
    let sql = format!(
        "UPDATE webhooks SET failing_since = now() - interval '1 hour'
             WHERE id IN (SELECT id FROM webhooks ORDER BY id LIMIT {count});
         UPDATE api_keys SET expires_at = now() + interval '2 days'
             WHERE id IN (SELECT id FROM api_keys WHERE name LIKE 'expiring%' ORDER BY id LIMIT {count});"
    );
    diesel::connection::SimpleConnection::batch_execute(&mut app.conn(), &sql).unwrap();
}

#[actix_web::test]
async fn the_overview_says_which_of_its_lists_of_problems_are_cut_at_five() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let token = app.token_of(&ada, &["*"]);
    for number in 0..6 {
        let key = serde_json::json!({"name": format!("expiring {number}")});
        token.post_json("/api/keys", key).await.assert_status(201);
        let hook = serde_json::json!({"url": "https://example.com/", "events": ["a.b"]});
        token.post_json("/api/webhooks", hook).await.assert_status(201);
    }
    make_problems(&app, 5);
    let five = ada.visit("/").await.assert_ok().html();
    assert_eq!((five.texts("#attention").len(), five.has(".panel .help")), (1, false));
    make_problems(&app, 6);
    let six = ada.visit("/").await.assert_ok().html();
    let links = six.texts(".panel .help a");
    assert_eq!(links, ["Failing webhooks", "Disabled webhooks", "Keys that expire within 7 days"]);
    for link in six.select(".panel .help a") {
        let list = ada.visit(link.attr("href").unwrap()).await.assert_ok().html();
        assert!(!list.has(".flash-bad"), "{link:?}");
    }
    let expiring = ada.visit("/keys?state=active&expiring_days=7").await.assert_ok().html();
    assert_eq!(expiring.texts("tbody .cell-title a").len(), 6);
}
