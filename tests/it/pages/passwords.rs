//! Passwords: composed and decomposed letters are equal, and no password may consist of known words about the person.

use serde_json::json;

use crate::boot::Gatepost;
use crate::support::people::PASSWORD;
use crate::support::{Person, TestApp};

const COMPOSED: &str = "\u{e9}t\u{e9} pr\u{e8}s du lac gris";
const DECOMPOSED: &str = "e\u{301}te\u{301} pre\u{300}s du lac gris";

/// Creates a user with this password on the command line.
fn make(app: &TestApp, email: &str, password: &str) {
    let create = ["users", "create", "--email", email, "--password-stdin"];
    Gatepost::on(&app.database).run_with(&create, password).ok();
}

async fn sign_in(app: &TestApp, email: &str, password: &str) -> Person {
    let person = app.stranger();
    person.submit("/sign-in", &[("email", email), ("password", password)]).await.assert_status(303);
    person
}

#[actix_web::test]
async fn a_password_signs_in_in_composed_and_decomposed_letters() {
    let app = TestApp::start().await;
    for (email, first) in [("grace@example.com", COMPOSED), ("hedy@example.com", DECOMPOSED)] {
        make(&app, email, first);
        for typed in [COMPOSED, DECOMPOSED] {
            sign_in(&app, email, typed).await;
            let login = json!({"email": email, "password": typed});
            let answer = app.stranger().post_json("/api/auth/login", login).await;
            assert_ne!(answer.json()["code"], "unauthenticated", "{answer:?}");
        }
    }
}

#[actix_web::test]
async fn a_changed_password_may_be_typed_in_the_other_form() {
    let app = TestApp::start().await;
    let ada = app.viewer("ada").await;
    let change = [("current_password", PASSWORD), ("password", DECOMPOSED)];
    ada.submit("/account/password", &change).await.assert_see_other("/account");
    let again = [("current_password", COMPOSED), ("password", "another horse, another staple")];
    ada.submit("/account/password", &again).await.assert_see_other("/account");
}

#[actix_web::test]
async fn a_password_of_an_earlier_version_still_signs_in() {
    let app = TestApp::start().await;
    make(&app, "grace@example.com", COMPOSED);
    let typed = gatepost::domain::argon::hash(DECOMPOSED.as_bytes(), &[]).unwrap();
    use diesel::prelude::*;
    use gatepost::schema::users::dsl::{email, password_hash, users};
    let grace = users.filter(email.eq("grace@example.com"));
    diesel::update(grace).set(password_hash.eq(typed)).execute(&mut app.conn()).unwrap();
    for form in [DECOMPOSED, COMPOSED] {
        sign_in(&app, "grace@example.com", form).await;
    }
    let wrong = [("email", "grace@example.com"), ("password", "ete pres du lac gris")];
    app.stranger().submit("/sign-in", &wrong).await.assert_status(422);
}

#[actix_web::test]
async fn a_password_made_of_name_address_tenant_or_product_is_refused() {
    let app = TestApp::start().await;
    let olga = app.operator("olga").await;
    let ada = app.person("ada.lovelace", app.make_tenant("engine-works"), gatepost::domain::Role::Viewer).await;
    for password in
        ["ada.lovelace@example.com", "Gatepost2026!Gatepost", "Engine-Works-1815!", "AdaLovelace-AdaLovelace"]
    {
        let change = [("current_password", PASSWORD), ("password", password)];
        let refused = ada.submit("/account/password", &change).await.assert_status(422).html();
        assert!(refused.error_at("password").contains("is little more than your name"), "{password}");
    }
    let body = json!({"email": "grace.hopper@example.com", "name": "Grace", "password": "Grace.Hopper2026!"});
    app.instance_token_of(&olga, &["*"]).post_json("/api/users", body).await.assert_invalid("password");
}

#[actix_web::test]
async fn an_invited_person_s_password_made_of_the_tenant_s_name_is_refused() {
    let app = TestApp::start().await;
    let program = app.token_of(&app.admin("ada").await, &["*"]);
    let ask = json!({"email": "grace@example.com", "role": "viewer"});
    let made = program.post_json("/api/tenants/1/invitations", ask).await.assert_status(201).json();
    let token = made["link"].as_str().unwrap().split_once("token=").unwrap().1.to_owned();
    let join = [("token", token.as_str()), ("name", "Grace Hopper"), ("password", "acme-Grace-Hopper-2026")];
    let refused = app.stranger().submit("/invitation", &join).await.assert_status(422).html();
    assert!(refused.error_at("password").contains("is little more than your name"));
}

#[actix_web::test]
async fn the_command_line_refuses_a_password_made_of_the_person_s_address() {
    let app = TestApp::start().await;
    make(&app, "grace.hopper@example.com", PASSWORD);
    let gatepost = Gatepost::on(&app.database);
    let set = ["users", "set-password", "--email", "grace.hopper@example.com", "--password-stdin"];
    gatepost.run_with(&set, "grace.hopper@example.com").assert_failed(1, &["password is little more"]);
    let create = ["users", "create", "--email", "hedy.lamarr@example.com", "--password-stdin"];
    gatepost.run_with(&create, "HedyLamarrHedyLamarr").assert_failed(1, &["password is little more"]);
}
