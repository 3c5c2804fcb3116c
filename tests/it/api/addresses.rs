//! E-mail addresses, at every place that accepts one.

use serde_json::json;

use crate::boot::Gatepost;
use crate::support::TestApp;
use crate::support::people::PASSWORD;

const ODD: [&str; 12] = [
    "a..b@x.example",
    "ada@y.",
    "<ada@b.example>",
    "Ada <ada@b.example>",
    "\"ada\"@b.example",
    "ada@[127.0.0.1]",
    "ada@127.0.0.1",
    "ada@b@c.example",
    "ada\u{200b}@b.example",
    "m\u{fc}ller@b.example",
    "ada@x_y.example",
    "ada@xn--a.example",
];

#[actix_web::test]
async fn only_one_bare_address_can_be_invited_or_get_an_account() {
    let app = TestApp::start().await;
    let olga = app.operator("olga").await;
    let (ada, instance) = (app.admin("ada").await, app.instance_token_of(&olga, &["*"]));
    let program = app.token_of(&ada, &["*"]);
    for email in ODD {
        let invited = program.post_json("/api/tenants/1/invitations", json!({"email": email, "role": "viewer"})).await;
        invited.assert_invalid("email");
        let made = instance.post_json("/api/users", json!({"email": email, "password": PASSWORD})).await;
        made.assert_invalid("email");
        let fields = [("nonce", "n"), ("email", email), ("role", "viewer"), ("days", "7")];
        ada.submit("/members/invitations", &fields).await.assert_status(422);
    }
}

#[actix_web::test]
async fn the_console_refuses_a_user_with_an_odd_address() {
    let app = TestApp::start().await;
    let gatepost = Gatepost::on(&app.database);
    for email in ODD {
        let create = ["users", "create", "--email", email, "--password-stdin"];
        gatepost.run_with(&create, PASSWORD).assert_failed(1, &["email must"]);
    }
}

#[actix_web::test]
async fn two_spellings_of_a_domain_are_one_account() {
    let app = TestApp::start().await;
    let olga = app.operator("olga").await;
    let instance = app.instance_token_of(&olga, &["*"]);
    let made =
        instance.post_json("/api/users", json!({"email": "Ada@B\u{fc}cher.example", "password": PASSWORD})).await;
    assert_eq!(made.assert_status(201).json()["email"], "ada@xn--bcher-kva.example");
    for email in ["ada@xn--bcher-kva.example", "ada@bu\u{308}cher.example", "ada@b\u{fc}cher\u{3002}example"] {
        let again = instance.post_json("/api/users", json!({"email": email, "password": PASSWORD})).await;
        again.assert_invalid("email");
    }
}
