//! Members and invitations in the API.

use serde_json::json;

use super::text;
use crate::support::TestApp;
use crate::support::people::PASSWORD;

#[actix_web::test]
async fn members_are_listed_changed_and_removed() {
    let app = TestApp::start().await;
    let otto = app.owner("otto").await;
    let dan = app.developer("dan").await;
    let token = app.token_of(&otto, &["members:*"]);
    let (members, of_dan) = ("/api/tenants/1/members", format!("/api/tenants/1/members/{}", dan.user_id));

    let listed = token.get(members).await.assert_ok().json();
    assert_eq!((text(&listed["data"][0], "email"), text(&listed["data"][0], "role")), ("dan@example.com", "developer"));
    let changed = token.patch_json(&of_dan, json!({"role": "admin"})).await.assert_ok().json();
    assert_eq!(text(&changed, "role"), "admin");
    token.patch_json(&of_dan, json!({"role": "king"})).await.assert_invalid("role");
    token
        .patch_json(format!("{members}/{}", otto.user_id), json!({"role": "viewer"}))
        .await
        .assert_problem(409, "conflict");
    token.delete(format!("{members}/{}", otto.user_id)).await.assert_problem(409, "conflict");
    token.delete(&of_dan).await.assert_status(204);
    token.delete(&of_dan).await.assert_problem(404, "not_found");
    assert_eq!(token.get(members).await.json()["data"].as_array().unwrap().len(), 1);
}

#[actix_web::test]
async fn an_invitation_shows_its_link_once() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let token = app.token_of(&ada, &["members:*"]);
    let ask = json!({"email": "grace@example.com", "role": "viewer", "expires_in_days": 2});
    let made = token.post_json("/api/tenants/1/invitations", ask).await;
    assert_eq!(
        (made.assert_status(201).header("cache-control"), made.header("location")),
        ("no-store", "/api/tenants/1/invitations/1")
    );
    let link = text(&made.json(), "link").to_owned();
    assert!(link.starts_with("http://127.0.0.1:8000/invitation?token="));
    let listed = token.get("/api/tenants/1/invitations").await;
    assert!(!listed.assert_ok().body.contains("token=") && listed.body.contains("grace@example.com"));
    let owner = json!({"email": "x@example.com", "role": "owner"});
    token.post_json("/api/tenants/1/invitations", owner).await.assert_problem(403, "forbidden");
    let long = json!({"email": "x@example.com", "role": "viewer", "expires_in_days": 31});
    token.post_json("/api/tenants/1/invitations", long).await.assert_invalid("expires_in_days");
    token.delete("/api/tenants/1/invitations/1").await.assert_status(204);
    assert_eq!(token.get("/api/tenants/1/invitations").await.json()["data"], json!([]));
    app.stranger().visit(link.strip_prefix("http://127.0.0.1:8000").unwrap()).await.assert_status(404);
}

#[actix_web::test]
async fn an_account_with_an_unconfirmed_address_cannot_be_added_by_address() {
    let app = TestApp::start().await;
    let ada = app.token_of(&app.admin("ada").await, &["members:*"]);
    let ask = json!({"email": "ceo@bigcorp.example", "role": "viewer"});
    let made = ada.post_json("/api/tenants/1/invitations", ask).await.assert_status(201).json();
    let link = text(&made, "link").split_once("token=").unwrap().1.to_owned();
    let join = [("token", link.as_str()), ("name", "Mallory"), ("password", PASSWORD)];
    app.stranger().submit("/invitation", &join).await.assert_see_other("/");

    let olga = app.operator("olga").await;
    let (instance, other) = (app.instance_token_of(&olga, &["*"]), app.make_tenant("other"));
    let members = format!("/api/tenants/{other}/members");
    let by_address = json!({"email": "ceo@bigcorp.example", "role": "admin"});
    instance.post_json(&members, by_address.clone()).await.assert_invalid("email");
    let users = instance.get("/api/users").await.assert_ok().json();
    let found = users["data"].as_array().unwrap().iter().find(|user| user["email"] == "ceo@bigcorp.example").unwrap();
    assert_eq!(found["is_email_confirmed"], false);
    assert!(olga.visit("/operator/users").await.assert_ok().body.contains("(not confirmed)"));

    // An operator sends a reset link to the real owner of the address. Using it ends all earlier access to the account.
    let shown = olga.submit(format!("/operator/users/{}/reset-link", found["id"]), &[]).await;
    let reset = shown.assert_ok().body.split("token=").nth(1).unwrap()[..43].to_owned();
    let fields = [("token", reset.as_str()), ("password", "quite another password of mine")];
    app.stranger().submit("/password-reset", &fields).await.assert_see_other("/sign-in");
    instance.post_json(&members, by_address).await.assert_status(201);
}

#[actix_web::test]
async fn a_deactivated_person_loses_access_at_once_and_for_good() {
    let app = TestApp::start().await;
    let grace = app.operator("grace").await;
    let dan = app.developer("dan").await;
    let token = app.token_of(&dan, &["*"]);
    let operator = app.instance_token_of(&grace, &["members:write"]);
    let path = format!("/api/users/{}", dan.user_id);
    let otto = app.owner("otto").await;
    otto.submit(format!("/members/{}/role", dan.user_id), &[("role", "admin")]).await.assert_see_other("/members");
    let ask = json!({"email": "x@example.com", "role": "viewer"});
    let link = token.post_json("/api/tenants/1/invitations", ask).await.assert_status(201).json();
    let link = text(&link, "link").strip_prefix("http://127.0.0.1:8000").unwrap().to_owned();
    app.stranger().visit(&link).await.assert_ok();
    operator.patch_json(&path, json!({"is_active": false})).await.assert_ok();
    app.stranger().visit(&link).await.assert_status(404);
    assert!(otto.visit("/audit?action=invitation.revoked").await.html().has("tbody tr"));
    dan.visit("/keys").await.assert_see_other("/sign-in?back=%2Fkeys");
    token.get("/api/keys").await.assert_problem(401, "unauthenticated");
    operator.patch_json(&path, json!({"is_active": true})).await.assert_ok();
    dan.visit("/keys").await.assert_see_other("/sign-in?back=%2Fkeys");
}

#[actix_web::test]
async fn operators_cannot_raise_their_own_role() {
    let app = TestApp::start().await;
    app.owner("otto").await;
    let grace = app.operator("grace").await;
    let program = app.instance_token_of(&grace, &["*"]);
    let (members, own) = ("/api/tenants/1/members", format!("/api/tenants/1/members/{}", grace.user_id));

    let add = json!({"user_id": grace.user_id, "role": "owner"});
    program.post_json(members, add).await.assert_problem(409, "conflict");
    app.make_member(app.tenant, gatepost::domain::UserId(grace.user_id), gatepost::domain::Role::Viewer);
    program.patch_json(&own, json!({"role": "owner"})).await.assert_problem(409, "conflict");
    let page = grace.submit(format!("/members/{}/role", grace.user_id), &[("role", "owner")]).await;
    page.assert_see_other("/members");
    let listed = program.get(members).await.assert_ok().json();
    let role = listed["data"].as_array().unwrap().iter().find(|member| member["user_id"] == grace.user_id).unwrap();
    assert_eq!(role["role"], "viewer");
}

#[actix_web::test]
async fn an_instance_token_stays_ended_when_its_operator_is_promoted_again() {
    let app = TestApp::start().await;
    let (grace, oscar) = (app.operator("grace").await, app.operator("oscar").await);
    let token = app.instance_token_of(&oscar, &["*"]);
    for act in ["demotion", "promotion"] {
        let path = format!("/operator/users/{}/{act}", oscar.user_id);
        grace.submit(path, &[]).await.assert_see_other("/operator/users");
        token.get("/api/users").await.assert_problem(401, "unauthenticated");
    }
}
