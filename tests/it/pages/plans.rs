//! Operators' pages about plans, and the tenant's view of its plan.

use crate::support::TestApp;

#[actix_web::test]
async fn an_operator_changes_a_plan_and_its_tenants_see_the_remaining_amounts() {
    let app = TestApp::start().await;
    let (ada, grace) = (app.admin("ada").await, app.operator("grace").await);
    assert_eq!(grace.visit("/operator/plans").await.html().texts("tbody .cell-name"), ["Free", "Pro", "Unlimited"]);
    let form = grace.visit("/operator/plans/free").await.html();
    let seen = form.value("seen");
    let save =
        |keys| [("max_keys", keys), ("max_members", "5"), ("default_rate_limit", "500"), ("seen", seen.as_str())];
    let refused = grace.submit("/operator/plans/free", &save("many")).await;
    assert!(!refused.assert_status(422).html().error_at("max_keys").is_empty());
    grace.submit("/operator/plans/free", &save("2")).await.assert_see_other("/operator/plans");
    // The next form was filled before the change above.
    app.advance(chrono::TimeDelta::seconds(1));
    let stale = grace.submit("/operator/plans/free", &save("3")).await;
    let stale = stale.assert_status(409).html();
    assert!(stale.text("[role=alert]").contains("Keys: 2") && stale.value("max_keys") == "3");
    grace.visit("/operator/plans/gold").await.assert_status(404);

    grace
        .submit("/operator/tenants/1", &[("name", "acme"), ("plan", "free")])
        .await
        .assert_see_other("/operator/tenants/1");
    let token = app.token_of(&ada, &["*"]);
    for _ in 0..2 {
        let key = token.post_json("/api/keys", serde_json::json!({"name": "ci"})).await.assert_status(201).json();
        assert_eq!(key["rate_limit"], 500);
    }
    let settings = ada.visit("/settings").await.html();
    let used = settings.texts(".facts dd");
    assert!(used.iter().any(|text| text.starts_with("2 / 2")), "{used:?}");
    assert!(used.iter().any(|text| text.starts_with("0 / no limit")), "{used:?}");
    // The form for a new key shows that the plan is full.
    let new = ada.visit("/keys/new").await.html();
    let fields = [
        ("nonce", new.value("nonce")),
        ("name", "third".into()),
        ("environment", "live".into()),
        ("expiry", "never".into()),
        ("rate_window_seconds", "3600".into()),
    ];
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    ada.submit("/keys", &fields).await.assert_see_other("/keys");
    assert!(ada.visit("/keys").await.html().text("[role=alert]").contains("The plan free allows 2 keys"));
}
