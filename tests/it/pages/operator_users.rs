//! Operators' page about users.

use crate::support::TestApp;

#[actix_web::test]
async fn operators_find_deactivate_and_promote_people_and_the_instance_keeps_one() {
    let app = TestApp::start().await;
    let grace = app.operator("grace").await;
    let dan = app.developer("dan").await;
    let act = |act: &str| format!("/operator/users/{}/{act}", dan.user_id);

    let found = grace.visit("/operator/users?q=DAN@").await.html();
    assert_eq!(found.texts("tbody .cell-main small"), ["dan@example.com"]);
    assert!(grace.visit("/operator/users?q=100%25_").await.html().has(".empty a[href='/operator/users']"));
    grace.submit(act("deactivation"), &[]).await.assert_see_other("/operator/users");
    dan.visit("/").await.assert_see_other("/sign-in");
    grace.submit(act("activation"), &[]).await.assert_see_other("/operator/users");
    let dan = app.sign_in("dan", gatepost::domain::UserId(dan.user_id)).await;
    dan.visit("/operator/users").await.assert_status(403);
    grace.submit(act("promotion"), &[]).await.assert_see_other("/operator/users");
    dan.visit("/operator/users").await.assert_ok();

    // Operators cannot demote themselves, and the last operator cannot be demoted.
    let own = format!("/operator/users/{}/demotion", grace.user_id);
    grace.submit(&own, &[]).await.assert_see_other("/operator/users");
    assert!(grace.visit("/operator/users").await.html().text("[role=alert]").contains("Another operator must do this"));
    dan.submit(&own, &[]).await.assert_see_other("/operator/users");
    grace.visit("/operator/users").await.assert_status(403);
    let users = gatepost::services::accounts::update;
    let change = gatepost::services::accounts::UserChange { is_operator: Some(false), ..Default::default() };
    let console = gatepost::services::Operator::at_the_console();
    let last = app.tx(|tx| users(tx, &console, gatepost::domain::UserId(dan.user_id), change));
    assert!(last.unwrap_err().to_string().contains("needs an operator"));
}

#[actix_web::test]
async fn operators_cannot_use_operator_actions_on_their_own_account() {
    let app = TestApp::start().await;
    let grace = app.operator("grace").await;
    app.make_user("oscar", true);
    super::second_factor::set_up(&app, &grace).await;
    let own = |act: &str| format!("/operator/users/{}/{act}", grace.user_id);
    for act in ["reset-link", "second-factor-removal", "demotion", "deactivation"] {
        grace.submit(own(act), &[]).await.assert_see_other("/operator/users");
        let says = grace.visit("/operator/users").await.html().text("[role=alert]");
        assert!(says.contains("Another operator must do this"), "{act}: {says}");
    }
    let page = grace.visit("/operator/users?q=grace").await.html();
    assert!(!page.has("tbody .actions :is(a, button)"), "nor does the page offer one");
}

#[actix_web::test]
async fn operators_cannot_deactivate_or_demote_themselves_in_the_api() {
    let app = TestApp::start().await;
    let grace = app.operator("grace").await;
    app.make_user("oscar", true);
    let program = app.instance_token_of(&grace, &["*"]);
    let own = format!("/api/users/{}", grace.user_id);
    program.patch_json(&own, serde_json::json!({"is_active": false})).await.assert_problem(409, "conflict");
    program.patch_json(&own, serde_json::json!({"name": "Grace"})).await.assert_ok();
}
