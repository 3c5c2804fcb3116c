//! Pages about usage: the chart with its breakdown, and the reason of a refused call.

use serde_json::json;

use crate::support::TestApp;

#[actix_web::test]
async fn chart_and_breakdown_show_the_chosen_time_span() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let program = app.program().await;
    let empty = ada.visit("/usage").await.html();
    assert!(empty.text(".empty").contains("No verifications in this time span"));
    assert!(empty.all_text().contains("No call was refused in this time span."));
    let key = program.post_json("/api/keys", json!({"name": "Billing worker", "rate_limit": 2})).await.json();
    let holder = app.key(key["secret"].as_str().unwrap());
    for _ in 0..3 {
        holder.get("/protected/").await;
    }
    program.get("/api/usage").await.assert_ok();

    let page = ada.visit("/usage?range=1h&group=key").await.html();
    assert_eq!(page.texts(".segments [aria-current]"), ["1 h", "Key"]);
    let row = page.text("section[aria-labelledby=breakdown] tbody tr");
    assert!(row.contains("Billing worker") && row.contains('3') && row.contains('1'), "{row}");
    assert!(page.text("section[aria-labelledby=refusals]").contains("Limit at 3/2 in 3600 s."));
    let today = app.clock.now().format("%Y-%m-%d");
    let chosen = ada.visit(format!("/usage?from={today}&to={today}")).await.html();
    assert_eq!((chosen.value("from"), chosen.value("to")), (today.to_string(), today.to_string()));
    assert!(chosen.text(".stats").contains('3'));
    let csv = ada.get("/usage.csv?range=24h&group=outcome").await;
    assert_eq!(
        csv.body,
        "outcome,label,total,valid,refused\r\nVALID,VALID,2,2,0\r\nRATE_LIMITED,RATE_LIMITED,1,0,1\r\n"
    );
}

#[actix_web::test]
async fn keys_near_their_limits_come_first_and_a_key_s_page_shows_its_latest_calls() {
    let app = TestApp::start().await;
    let (ada, program) = (app.admin("ada").await, app.program().await);
    let mut keys = Vec::new();
    for (name, calls) in [("Unused", 0), ("Half full", 5), ("Nearly full", 9)] {
        let key = program.post_json("/api/keys", json!({"name": name, "rate_limit": 10})).await.json();
        keys.push((key, calls));
    }
    // A later notification of their creation would remove the keys from the cache.
    app.until_all_is_heard(&program).await;
    for (key, calls) in &keys {
        for _ in 0..*calls {
            app.key(key["secret"].as_str().unwrap()).get("/protected/").await.assert_ok();
        }
    }
    app.running().state.gate.flush().await;

    let mut rows = ada.visit("/usage").await.html().texts("section[aria-labelledby=limits] tbody tr");
    // The marker key used for waiting may still be in the cache.
    rows.retain(|row| !row.contains("marker"));
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(rows[0].contains("Nearly full") && rows[0].contains("90 %"), "{rows:?}");
    assert!(rows[1].contains("Half full") && rows[1].contains("50 %"), "{rows:?}");
    let other = app.make_tenant("beta");
    assert!(app.running().state.gate.nearest_to_limits(other, 8).is_empty());

    let unused = ada.visit(format!("/keys/{}", keys[0].0["id"])).await.html();
    assert!(unused.text("#calls").contains("No calls yet."));
    let half = ada.visit(format!("/keys/{}", keys[1].0["id"])).await.html();
    assert_eq!(half.texts("#calls tbody tr").len(), 5);
    let full = ada.visit(format!("/keys/{}", keys[2].0["id"])).await.html();
    assert_eq!(full.texts("#calls tbody tr").len(), 8, "the newest of them");
}

#[actix_web::test]
async fn a_refused_call_is_found_by_its_request_id() {
    let app = TestApp::start().await;
    let (ada, program) = (app.admin("ada").await, app.program().await);
    let key = program.post_json("/api/keys", json!({"name": "k"})).await.json();
    let id = key["id"].as_i64().unwrap();
    program.post_json(format!("/api/keys/{id}/revocation"), json!({"reason": "leaked"})).await.assert_ok();
    let refused = app.key(key["secret"].as_str().unwrap()).get("/protected/").await;
    let request = refused.assert_problem(401, "api_key_disabled")["request_id"].as_str().unwrap().to_owned();

    let found = ada.visit(format!("/usage/records?request={request}")).await.html();
    let row = found.text("tbody tr");
    assert!(row.contains("Revoked") && row.contains("leaked") && row.contains("/protected/"), "{row}");
    assert_eq!(found.texts("tbody tr").len(), 1);
    let of_key = ada.visit(format!("/usage/records?key={id}&outcome=refused")).await.html();
    assert_eq!(of_key.texts("tbody tr").len(), 1);
    let none = ada.visit("/usage/records?request=no-such-request").await.html();
    assert!(none.text(".empty").contains("No record matches"));
}

#[actix_web::test]
async fn limits_and_a_quota_are_set_in_the_form_and_shown_with_the_remaining_amounts() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let nonce = ada.visit("/keys/new").await.html().value("nonce");
    let fields = [
        ("nonce", nonce.as_str()),
        ("name", "Storefront"),
        ("environment", "live"),
        ("expiry", "never"),
        ("rate_limit", "100"),
        ("rate_window_seconds", "60"),
    ];
    let with =
        |more: &[(&'static str, &'static str)]| -> Vec<(&str, &str)> { fields.iter().chain(more).copied().collect() };
    let refused = ada.submit("/keys", &with(&[("limits", "burst ten/1"), ("quota", "0")])).await;
    let page = refused.assert_status(422).html();
    assert!(page.error_at("limits").contains("must look like"), "{}", page.error_at("limits"));
    assert!(page.error_at("quota").contains("must be from 1"), "{}", page.error_at("quota"));
    let made = ada
        .submit(
            "/keys",
            &with(&[("limits", "burst 10/1\nteam 500/60 owner"), ("quota", "1000"), ("quota_refill", "monthly")]),
        )
        .await;
    made.assert_ok();
    let id: i64 = app.program().await.get("/api/keys").await.json()["data"][0]["id"].as_i64().unwrap();
    let facts = ada.visit(format!("/keys/{id}")).await.html().text(".facts");
    for said in
        ["burst", "10 in any second", "500 in any minute, shared with the owner's other keys", "1,000 left of 1,000"]
    {
        assert!(facts.contains(said), "{said} in {facts}");
    }
    let form = ada.visit(format!("/keys/{id}/edit")).await.html();
    assert_eq!(
        (form.value("quota"), form.text("#field-limits")),
        ("1000".into(), "burst 10/1 team 500/60 owner".into())
    );
}
