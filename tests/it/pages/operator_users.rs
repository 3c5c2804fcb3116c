//! The operators' page about users.

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

    // Nobody does it to themselves, and the last one stays.
    let own = format!("/operator/users/{}/demotion", grace.user_id);
    grace.submit(&own, &[]).await.assert_see_other("/operator/users");
    assert!(grace.visit("/operator/users").await.html().text("[role=alert]").contains("Somebody else must do this"));
    dan.submit(&own, &[]).await.assert_see_other("/operator/users");
    grace.visit("/operator/users").await.assert_status(403);
    let users = gatepost::services::accounts::update;
    let change = gatepost::services::accounts::UserChange { is_operator: Some(false), ..Default::default() };
    let console = gatepost::services::Operator::at_the_console();
    let last = users(&mut app.conn(), &console, gatepost::domain::UserId(dan.user_id), change, app.clock.now());
    assert!(last.unwrap_err().to_string().contains("needs an operator"));
}
