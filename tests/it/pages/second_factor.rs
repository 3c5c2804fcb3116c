//! Second factor: setup, use at sign-in, and removal.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use gatepost::schema::{recovery_codes, second_factors};
use totp_rs::{Builder, Secret, Totp};

use crate::support::people::PASSWORD;
use crate::support::{Answer, Person, TestApp};

/// Fields that start the setup.
const BEGIN: [(&str, &str); 1] = [("current_password", PASSWORD)];

/// Authenticator app.
pub struct Device(Totp);

impl Device {
    pub fn new(secret: &str) -> Self {
        let secret = Secret::try_from_base32(secret).unwrap();
        Self(Builder::new().with_secret(secret).with_account_name("x").build().unwrap())
    }

    pub fn code(&self, at: DateTime<Utc>) -> String {
        self.0.generate(u64::try_from(at.timestamp()).unwrap()).to_string()
    }
}

/// Sets up a second factor, and returns the device and the recovery codes.
pub async fn set_up(app: &TestApp, person: &Person) -> (Device, Vec<String>) {
    person.submit("/account/second-factor", &BEGIN).await.assert_see_other("/account/second-factor");
    let page = person.visit("/account/second-factor").await.html();
    let device = Device::new(&page.text(".help .copyable code"));
    let code = device.code(app.clock.now());
    let shown = person.submit("/account/second-factor/activation", &[("code", &code)]).await;
    assert_eq!(shown.assert_ok().header("cache-control"), "no-store");
    let codes: String = shown.html().select("#recovery-codes")[0].text().collect();
    // Move the clock, so that the next code differs.
    app.advance(TimeDelta::seconds(60));
    (device, codes.split_whitespace().map(str::to_owned).collect())
}

async fn password_step(app: &TestApp, person: &Person) -> Person {
    let browser = app.stranger();
    let fields = [("email", person.email.as_str()), ("password", PASSWORD), ("back", "/keys")];
    browser.submit("/sign-in", &fields).await.assert_see_other("/sign-in/code");
    browser
}

async fn code_step(browser: &Person, code: &str) -> Answer {
    let csrf = browser.visit("/sign-in/code").await.html().value("_csrf");
    browser.submit_exactly("/sign-in/code", &[("_csrf", csrf.as_str()), ("code", code)]).await
}

#[actix_web::test]
async fn a_second_factor_is_set_up_with_a_qr_code_and_asked_for_at_sign_in() {
    let app = TestApp::start().await;
    let ada = app.viewer("ada").await;
    assert!(!ada.visit("/account/second-factor").await.html().has("svg.qr"));
    ada.submit("/account/second-factor", &BEGIN).await.assert_see_other("/account/second-factor");
    let page = ada.visit("/account/second-factor").await;
    assert!(page.html().has("svg.qr path") && page.header("cache-control") == "no-store");
    let wrong = ada.submit("/account/second-factor/activation", &[("code", "12345")]).await;
    assert!(wrong.assert_status(422).html().error_at("code").contains("code is wrong"));
    // Sign-in asks for no code before the setup is confirmed.
    let fields = [("email", ada.email.as_str()), ("password", PASSWORD)];
    app.stranger().submit("/sign-in", &fields).await.assert_see_other("/");

    let (device, codes) = set_up(&app, &ada).await;

    assert_eq!(codes.len(), 10);
    let browser = password_step(&app, &ada).await;
    browser.visit("/keys").await.assert_see_other("/sign-in?back=%2Fkeys");
    code_step(&browser, "000 00").await.assert_status(422);
    code_step(&browser, &device.code(app.clock.now())).await.assert_see_other("/keys");
    browser.visit("/keys").await.assert_ok();
}

#[actix_web::test]
async fn neither_a_code_nor_a_recovery_code_works_twice() {
    let app = TestApp::start().await;
    let ada = app.viewer("ada").await;
    let (device, codes) = set_up(&app, &ada).await;
    let code = device.code(app.clock.now());
    let (one, two) = (password_step(&app, &ada).await, password_step(&app, &ada).await);
    // Also applies to concurrent requests.
    let (first, second) = futures_util::join!(code_step(&one, &code), code_step(&two, &code));
    let mut answers = [first.status, second.status];
    answers.sort_unstable();
    assert_eq!(answers, [303, 422]);
    let third = password_step(&app, &ada).await;
    // An older code is refused too.
    code_step(&third, &device.code(app.clock.now() - TimeDelta::seconds(30))).await.assert_status(422);
    let typed = codes[3].to_uppercase().replace('-', " ");
    code_step(&third, &typed).await.assert_see_other("/keys");
    let fourth = password_step(&app, &ada).await;
    code_step(&fourth, &codes[3]).await.assert_status(422);
    code_step(&fourth, &codes[4]).await.assert_see_other("/keys");
    assert!(fourth.visit("/account/second-factor").await.html().all_text().contains("You have 8 recovery codes left"));
}

#[actix_web::test]
async fn a_short_password_is_allowed_with_a_second_factor_and_ends_with_it() {
    const SHORT: &str = "kV9#xQ2m!z";
    let app = TestApp::start().await;
    let (ada, grace) = (app.viewer("ada").await, app.operator("grace").await);
    let change = |password| [("current_password", PASSWORD), ("password", password)];
    let alone = ada.submit("/account/password", &change(SHORT)).await.assert_status(422).html();
    assert!(alone.error_at("password").contains("15"));
    let (device, _) = set_up(&app, &ada).await;
    let tiny = ada.submit("/account/password", &change("kV9#xQ2")).await.assert_status(422).html();
    assert!(tiny.error_at("password").contains("8 characters"));
    ada.submit("/account/password", &change("password1")).await.assert_status(422);
    ada.submit("/account/password", &change(SHORT)).await.assert_see_other("/account");

    // The short password is not enough alone, so removal is refused until there is a longer one.
    let code = device.code(app.clock.now());
    let off = [("current_password", SHORT), ("code", code.as_str())];
    let refused = ada.submit("/account/second-factor/deactivation", &off).await.assert_status(422).html();
    assert!(refused.error_at("current_password").contains("15 characters first"), "{}", refused.all_text());
    // Removal by an operator also ends the short password.
    let removal = format!("/operator/users/{}/second-factor-removal", ada.user_id);
    grace.submit(removal, &[]).await.assert_see_other("/operator/users");
    assert!(grace.visit("/operator/users").await.html().text("[role=status]").contains("reset link"));
    ada.visit("/").await.assert_see_other("/sign-in");
    let again = [("email", ada.email.as_str()), ("password", SHORT)];
    app.stranger().submit("/sign-in", &again).await.assert_status(422);
}

#[actix_web::test]
async fn guesses_at_codes_are_slowed_down_even_after_a_correct_password() {
    let app = TestApp::start().await;
    let ada = app.viewer("ada").await;
    let (device, _) = set_up(&app, &ada).await;
    for _ in 0..5 {
        let browser = password_step(&app, &ada).await;
        code_step(&browser, "no code").await.assert_status(422);
    }
    let fields = [("email", ada.email.as_str()), ("password", PASSWORD)];
    app.stranger().submit("/sign-in", &fields).await.assert_status(429);
    app.advance(TimeDelta::minutes(16));
    let browser = password_step(&app, &ada).await;
    code_step(&browser, &device.code(app.clock.now())).await.assert_see_other("/keys");
}

#[actix_web::test]
async fn the_code_step_of_a_sign_in_expires() {
    let app = TestApp::start().await;
    let ada = app.viewer("ada").await;
    let (device, _) = set_up(&app, &ada).await;
    let browser = password_step(&app, &ada).await;
    let csrf = browser.visit("/sign-in/code").await.html().value("_csrf");
    app.advance(TimeDelta::minutes(10));
    let code = device.code(app.clock.now());
    browser
        .submit_exactly("/sign-in/code", &[("_csrf", csrf.as_str()), ("code", &code)])
        .await
        .assert_see_other("/sign-in");
}

#[actix_web::test]
async fn a_sign_in_fails_if_the_password_changes_before_the_code_step() {
    let app = TestApp::start().await;
    let ada = app.viewer("ada").await;
    let (device, _) = set_up(&app, &ada).await;
    let thief = password_step(&app, &ada).await;
    let csrf = thief.visit("/sign-in/code").await.html().value("_csrf");
    let change = [("current_password", PASSWORD), ("password", "another horse, another staple")];
    ada.submit("/account/password", &change).await.assert_see_other("/account");
    let code = device.code(app.clock.now());
    let sent = thief.submit_exactly("/sign-in/code", &[("_csrf", csrf.as_str()), ("code", &code)]).await;
    sent.assert_see_other("/sign-in");
}

#[actix_web::test]
async fn setup_needs_the_password_and_ends_all_other_sessions() {
    let app = TestApp::start().await;
    let ada = app.viewer("ada").await;
    let left_open = app.sign_in("ada", gatepost::domain::UserId(ada.user_id)).await;
    left_open.visit("/keys").await.assert_ok();
    for fields in [&[][..], &[("current_password", "not my password at all")]] {
        let refused = left_open.submit("/account/second-factor", fields).await.assert_status(422).html();
        assert!(!refused.error_at("current_password").is_empty() && !refused.has("svg.qr"));
    }

    set_up(&app, &ada).await;

    left_open.visit("/keys").await.assert_see_other("/sign-in?back=%2Fkeys");
    ada.visit("/keys").await.assert_ok();
}

#[actix_web::test]
async fn removal_needs_the_password_and_a_code() {
    let app = TestApp::start().await;
    let ada = app.viewer("ada").await;
    let (device, codes) = set_up(&app, &ada).await;
    let off = |password: &'static str, code: String| {
        let ada = ada.clone();
        async move {
            let fields = [("current_password", password), ("code", code.as_str())];
            ada.submit("/account/second-factor/deactivation", &fields).await
        }
    };
    let code = || device.code(app.clock.now());
    assert!(
        !off("not my password at all", code()).await.assert_status(422).html().error_at("current_password").is_empty()
    );
    assert!(!off(PASSWORD, "no code".into()).await.assert_status(422).html().error_at("code").is_empty());
    ada.submit("/account/second-factor", &BEGIN).await.assert_see_other("/account/second-factor");
    assert!(ada.visit("/account/second-factor").await.html().text("[role=alert]").contains("already on"));
    let refused = ada.submit("/account/second-factor/recovery-codes", &[("renewal_code", "no code")]).await;
    assert!(!refused.assert_status(422).html().error_at("renewal_code").is_empty());
    let renewed = ada.submit("/account/second-factor/recovery-codes", &[("renewal_code", &codes[0])]).await;
    let renewed: String = renewed.assert_ok().html().select("#recovery-codes")[0].text().collect();
    off(PASSWORD, codes[1].clone()).await.assert_status(422);
    off(PASSWORD, renewed.split_whitespace().next().unwrap().to_owned())
        .await
        .assert_see_other("/account/second-factor");
    let fields = [("email", ada.email.as_str()), ("password", PASSWORD)];
    app.stranger().submit("/sign-in", &fields).await.assert_see_other("/");
    let left: i64 = recovery_codes::table.count().get_result(&mut app.conn()).unwrap();
    assert_eq!(left, 0);
}

#[actix_web::test]
async fn an_operator_removes_the_second_factor_of_a_person_who_lost_it() {
    let app = TestApp::start().await;
    let ada = app.viewer("ada").await;
    let grace = app.operator("grace").await;
    set_up(&app, &ada).await;
    let path = format!("/operator/users/{}/second-factor-removal", ada.user_id);
    assert!(grace.visit("/operator/users").await.html().has(&format!("a[href='{path}']")));
    grace.visit(&path).await.assert_ok();
    grace.submit(&path, &[]).await.assert_see_other("/operator/users");
    let fields = [("email", ada.email.as_str()), ("password", PASSWORD)];
    app.stranger().submit("/sign-in", &fields).await.assert_see_other("/");
    grace.submit(&path, &[]).await.assert_see_other("/operator/users");
    assert!(grace.visit("/operator/users").await.html().text("[role=alert]").contains("no second factor"));
}

#[actix_web::test]
async fn the_secret_is_sealed_and_recovery_codes_are_digests() {
    let app = TestApp::start().await;
    let ada = app.viewer("ada").await;
    ada.submit("/account/second-factor", &BEGIN).await.assert_see_other("/account/second-factor");
    let text = ada.visit("/account/second-factor").await.html().text(".help .copyable code");
    let secret = Secret::try_from_base32(&text).unwrap();
    let sealed: Vec<u8> = second_factors::table.select(second_factors::sealed).first(&mut app.conn()).unwrap();
    assert!(!sealed.windows(20).any(|part| part == secret.as_bytes()) && 20 + 16 + 24 < sealed.len());
    let (_, codes) = set_up(&app, &ada).await;
    let kept: Vec<Vec<u8>> = recovery_codes::table.select(recovery_codes::digest).load(&mut app.conn()).unwrap();
    assert!(kept.len() == 10 && kept.iter().all(|digest| digest.len() == 32));
    let sessions: String =
        diesel::dsl::sql::<diesel::sql_types::Text>("SELECT string_agg(state::text, '') FROM sessions")
            .get_result(&mut app.conn())
            .unwrap();
    assert!(!sessions.contains(&text) && !sessions.contains(&codes[0]));
}
