//! Proof of identity: actions that need a recent one, and the page that asks for it.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use gatepost::domain::UserId;
use gatepost::web::routes::{self, Door};

use super::second_factor::set_up;
use crate::support::people::PASSWORD;
use crate::support::{Answer, Person, TestApp};

/// Pages and forms that need a recent proof. The forms at `/account/password`, `/account/second-factor` and
/// `/account/second-factor/deactivation` ask for the password themselves.
const ACTS: [&str; 16] = [
    "GET /operator/users/{id}/deactivation",
    "GET /operator/users/{id}/demotion",
    "GET /operator/users/{id}/promotion",
    "GET /operator/users/{id}/reset-link",
    "GET /operator/users/{id}/second-factor-removal",
    "GET /tokens/new",
    "POST /account/second-factor/activation",
    "POST /account/second-factor/recovery-codes",
    "POST /operator/users/{id}/activation",
    "POST /operator/users/{id}/deactivation",
    "POST /operator/users/{id}/demotion",
    "POST /operator/users/{id}/promotion",
    "POST /operator/users/{id}/reset-link",
    "POST /operator/users/{id}/second-factor-removal",
    "POST /tokens",
    // Only with a second factor, since this form has no field for a code.
    "POST /account/password",
];

fn is_asked(answer: &Answer) -> bool {
    answer.status == 303 && answer.header("location").starts_with("/sign-in/proof?back=")
}

/// Lets the proof given at sign-in expire, but not the session.
fn let_lapse(app: &TestApp) {
    app.advance(TimeDelta::minutes(10));
}

async fn prove(person: &Person, back: &str, password: &str, code: &str) -> Answer {
    let mut fields = vec![("back", back), ("current_password", password)];
    if !code.is_empty() {
        fields.push(("code", code));
    }
    person.submit("/sign-in/proof", &fields).await
}

/// Requests every page and sends every form, each with an expired proof. Returns those that ask for a proof.
async fn acts_that_need_proof(app: &TestApp, person: &Person, other: UserId) -> BTreeSet<String> {
    let csrf = person.form_token().await;
    let mut found = BTreeSet::new();
    for entry in routes::all() {
        // Skip forms that end the session.
        let ends = entry.path == "/sign-out" || entry.path.starts_with("/settings/deletion");
        if entry.door != Door::Page || ends {
            continue;
        }
        let path = entry.path.replace("{id}", &other.to_string()).replace("{name}", "pro");
        let fields = [("_csrf", csrf.as_str()), ("current_password", PASSWORD), ("password", PASSWORD)];
        let fields = if path == "/account/password" { &fields[..] } else { &fields[..1] };
        let answer = match entry.method.as_str() {
            "GET" => person.visit(&path).await,
            _ => person.submit_exactly(&path, fields).await,
        };
        if is_asked(&answer) {
            found.insert(format!("{} {}", entry.method, entry.path));
        }
    }
    assert!(app.running().state.settings.smtp.is_none());
    found
}

#[actix_web::test]
async fn only_the_listed_actions_need_a_recent_proof() {
    let app = TestApp::start().await;
    let grace = app.operator("grace").await;
    let other = app.make_user("other", true);
    set_up(&app, &grace).await;
    let_lapse(&app);
    let expected: BTreeSet<_> = ACTS.into_iter().map(str::to_owned).collect();
    assert_eq!(acts_that_need_proof(&app, &grace, other).await, expected);
}

#[actix_web::test]
async fn without_a_proof_nothing_happens_and_the_proof_page_returns_to_the_form() {
    let app = TestApp::start().await;
    let grace = app.operator("grace").await;
    let dan = app.developer("dan").await;
    let_lapse(&app);
    let act = |act: &str| format!("/operator/users/{}/{act}", dan.user_id);
    let cases = [
        ("deactivation", act("deactivation")),
        ("reset-link", act("reset-link")),
        // Activation has no page: its button is in the list.
        ("activation", "/operator/users".to_owned()),
    ];
    for (name, back) in cases {
        let answer = grace.submit(act(name), &[]).await;
        let back: String = url::form_urlencoded::byte_serialize(back.as_bytes()).collect();
        answer.assert_see_other(format!("/sign-in/proof?back={back}"));
    }
    dan.visit("/keys").await.assert_ok();
}

#[actix_web::test]
async fn a_password_is_a_proof_for_ten_minutes() {
    let app = TestApp::start().await;
    let grace = app.operator("grace").await;
    let dan = app.developer("dan").await;
    let_lapse(&app);
    let path = format!("/operator/users/{}/promotion", dan.user_id);
    let page = grace.visit("/sign-in/proof?back=%2Foperator%2Fusers").await.assert_ok().html();
    assert!(page.value("back") == "/operator/users" && !page.has("[name=code]"));
    prove(&grace, &path, PASSWORD, "").await.assert_see_other(&path);
    grace.visit(&path).await.assert_ok();
    app.advance(TimeDelta::minutes(9));
    grace.submit(&path, &[]).await.assert_see_other("/operator/users");
    app.advance(TimeDelta::minutes(1));
    assert!(is_asked(&grace.visit(&path).await));
}

#[actix_web::test]
async fn a_wrong_password_is_refused_at_its_field_and_slowed_down() {
    let app = TestApp::start().await;
    let grace = app.operator("grace").await;
    let_lapse(&app);
    for _ in 0..5 {
        let page = prove(&grace, "/", "not my password at all", "").await.assert_status(422).html();
        assert!(page.error_at("current_password").contains("not your current password"));
    }
    let slowed = prove(&grace, "/", PASSWORD, "").await;
    assert!(!slowed.assert_status(429).header("retry-after").is_empty());
    assert!(slowed.html().error_at("current_password").contains("Too many attempts"));
    assert!(is_asked(&grace.visit("/tokens/new").await));
}

#[actix_web::test]
async fn with_a_second_factor_the_password_alone_is_no_proof() {
    let app = TestApp::start().await;
    let grace = app.operator("grace").await;
    let (device, codes) = set_up(&app, &grace).await;
    let_lapse(&app);
    assert!(grace.visit("/sign-in/proof").await.html().has("[name=code]"));
    for wrong in ["", "000000"] {
        let page = prove(&grace, "/tokens/new", PASSWORD, wrong).await.assert_status(422).html();
        assert!(!page.error_at("code").is_empty(), "{wrong:?}");
    }
    assert!(is_asked(&grace.visit("/tokens/new").await));
    prove(&grace, "/tokens/new", PASSWORD, &device.code(app.clock.now())).await.assert_see_other("/tokens/new");
    grace.visit("/tokens/new").await.assert_ok();
    let_lapse(&app);
    prove(&grace, "/tokens/new", PASSWORD, &codes[0]).await.assert_see_other("/tokens/new");
}

#[actix_web::test]
async fn a_code_without_the_password_is_no_proof() {
    let app = TestApp::start().await;
    let grace = app.operator("grace").await;
    let (device, _) = set_up(&app, &grace).await;
    let_lapse(&app);
    prove(&grace, "/", "not my password at all", &device.code(app.clock.now())).await.assert_status(422);
    assert!(is_asked(&grace.visit("/tokens/new").await));
}

#[actix_web::test]
async fn the_proof_page_redirects_to_no_other_site() {
    let app = TestApp::start().await;
    let grace = app.operator("grace").await;
    for trick in ["https://evil.example/", "//evil.example", "/\\evil.example", ""] {
        prove(&grace, trick, PASSWORD, "").await.assert_see_other("/");
    }
}

#[actix_web::test]
async fn a_copy_of_the_session_from_before_the_proof_has_no_proof() {
    let app = TestApp::start().await;
    let user = app.make_user("grace", true);
    let grace = app.stranger();
    let fields = [("email", "grace@example.com"), ("password", PASSWORD)];
    let signed_in = grace.submit("/sign-in", &fields).await;
    let cookie = signed_in.header("set-cookie").split(';').next().unwrap().to_owned();
    let_lapse(&app);
    prove(&grace, "/", PASSWORD, "").await.assert_see_other("/");
    let thief = app.stranger().with("cookie", &cookie);
    let path = format!("/operator/users/{user}/reset-link");
    assert!(!thief.visit(&path).await.body.contains("reset-link"));
    grace.visit("/tokens/new").await.assert_ok();
}

#[actix_web::test]
async fn without_a_proof_a_session_cannot_see_the_secret_of_a_second_factor() {
    let app = TestApp::start().await;
    let ada = app.viewer("ada").await;
    ada.submit("/account/second-factor", &[("current_password", PASSWORD)]).await.assert_status(303);
    ada.visit("/account/second-factor").await.assert_ok();
    let_lapse(&app);
    assert!(is_asked(&ada.visit("/account/second-factor").await));
}

#[actix_web::test]
async fn the_second_factor_is_removed_by_its_own_form_with_password_and_code() {
    let app = TestApp::start().await;
    let ada = app.viewer("ada").await;
    let (device, _) = set_up(&app, &ada).await;
    let_lapse(&app);
    let path = "/account/second-factor/deactivation";
    ada.submit(path, &[]).await.assert_status(422);
    let code = device.code(app.clock.now());
    ada.submit(path, &[("code", code.as_str())]).await.assert_status(422);
    ada.submit(path, &[("current_password", PASSWORD)]).await.assert_status(422);
    ada.submit(path, &[("current_password", PASSWORD), ("code", code.as_str())]).await.assert_status(303);
}
