//! Changes that strengthen a sign-in: each ends all that the weaker sign-in opened, namely sessions, access tokens and
//! links.

use diesel::RunQueryDsl;
use diesel::connection::{AnsiTransactionManager, TransactionManager};
use gatepost::domain::password::PasswordRules;
use gatepost::domain::{TenantId, UserId};
use gatepost::services::accounts::{self, NewPassword};
use gatepost::services::second_factor::{self, SecondFactorState};
use gatepost::services::{Operator, account};
use gatepost::store::Tx;
use serde_json::json;

use super::second_factor::{Device, set_up};
use crate::support::people::PASSWORD;
use crate::support::{Person, TestApp};

const OTHER: &str = "another horse and another staple";

/// Access that a person has opened with the password alone.
struct OpenedAccess {
    browser: Person,
    programs: Vec<(&'static str, Person)>,
    link: String,
}

/// Opens a second browser, creates tokens in every way, and a link that could set a password.
async fn open_all(app: &TestApp, ada: &Person) -> OpenedAccess {
    let browser = app.stranger();
    let fields = [("email", ada.email.as_str()), ("password", PASSWORD)];
    browser.submit("/sign-in", &fields).await.assert_see_other("/");
    let bearing = |body: serde_json::Value| Person::with_token(&app.base, body["token"].as_str().unwrap());
    let login = json!({"email": ada.email, "password": PASSWORD});
    let login = bearing(app.stranger().post_json("/api/auth/login", login).await.assert_status(201).json());
    let console = app.token_of(ada, &["*"]);
    let made = console.post_json("/api/tokens", json!({"name": "made by a token"})).await.assert_status(201).json();
    let page = ada.visit("/tokens/new").await.html();
    let (csrf, nonce) = (page.value("_csrf"), page.value("nonce"));
    let fields = [
        ("_csrf", csrf.as_str()),
        ("nonce", &nonce),
        ("name", "made on a page"),
        ("reach", "tenant"),
        ("expiry", "never"),
        ("scopes", "keys:read"),
    ];
    let shown = ada.submit_exactly("/tokens", &fields).await;
    let on_page: String = shown.assert_ok().html().select("#token-secret")[0].text().collect();
    let on_page = Person::with_token(&app.base, on_page.trim());
    let programs = vec![("login", login), ("console", console), ("token", bearing(made)), ("page", on_page)];
    let console = Operator::at_the_console();
    let token = app.tx(|tx| account::offer_reset(tx, &console, UserId(ada.user_id))).unwrap();
    let opened = OpenedAccess { browser, programs, link: format!("/password-reset?token={token}") };
    opened.assert_open(app).await;
    opened
}

impl OpenedAccess {
    async fn assert_open(&self, app: &TestApp) {
        self.browser.visit("/keys").await.assert_ok();
        for (_, program) in &self.programs {
            program.get("/api/keys").await.assert_ok();
        }
        app.stranger().visit(&self.link).await.assert_ok();
    }

    async fn assert_ended(&self, app: &TestApp) {
        assert_eq!(self.browser.visit("/keys").await.status, 303, "the other browser");
        for (name, program) in &self.programs {
            assert_eq!(program.get("/api/keys").await.status, 401, "the token of the {name}");
        }
        assert_eq!(app.stranger().visit(&self.link).await.status, 404, "the link");
    }
}

#[actix_web::test]
async fn setting_up_a_second_factor_ends_access_by_the_password_alone() {
    let app = TestApp::start().await;
    let ada = app.viewer("ada").await;
    let opened = open_all(&app, &ada).await;
    set_up(&app, &ada).await;
    opened.assert_ended(&app).await;
    ada.visit("/keys").await.assert_ok();
}

#[actix_web::test]
async fn a_new_password_ends_access_by_the_old_one() {
    let app = TestApp::start().await;
    let ada = app.viewer("ada").await;
    let opened = open_all(&app, &ada).await;
    let fields = [("current_password", PASSWORD), ("password", OTHER)];
    ada.submit("/account/password", &fields).await.assert_see_other("/account");
    opened.assert_ended(&app).await;
    ada.visit("/keys").await.assert_ok();
}

#[actix_web::test]
async fn a_password_set_by_a_link_ends_access_by_the_old_one() {
    let app = TestApp::start().await;
    let ada = app.viewer("ada").await;
    let opened = open_all(&app, &ada).await;
    let token = opened.link.split_once("token=").unwrap().1;
    let set = [("token", token), ("password", OTHER)];
    app.stranger().submit("/password-reset", &set).await.assert_see_other("/sign-in");
    opened.assert_ended(&app).await;
    ada.visit("/keys").await.assert_status(303);
}

#[actix_web::test]
async fn a_password_set_on_the_command_line_ends_access_by_the_old_one() {
    let app = TestApp::start().await;
    let ada = app.viewer("ada").await;
    let opened = open_all(&app, &ada).await;
    let console = Operator::at_the_console();
    let new = NewPassword::parse(OTHER, &PasswordRules::new(false, &["ada"])).unwrap();
    app.tx(|tx| accounts::set_password(tx, &console, UserId(ada.user_id), &new)).unwrap();
    // Another process set the password, so this one learns of it within a second.
    for (_, program) in &opened.programs {
        program.within_a_second("/api/keys", 401).await;
    }
    opened.assert_ended(&app).await;
}

#[actix_web::test]
async fn new_recovery_codes_end_access_by_the_old_ones() {
    let app = TestApp::start().await;
    let ada = app.viewer("ada").await;
    let (device, codes) = set_up(&app, &ada).await;
    let login = json!({"email": ada.email, "password": PASSWORD, "code": codes[0]});
    let login = app.stranger().post_json("/api/auth/login", login).await.assert_status(201).json();
    let login = Person::with_token(&app.base, login["token"].as_str().unwrap());
    let console = app.token_of(&ada, &["*"]);
    let code = device.code(app.clock.now());
    ada.submit("/account/second-factor/recovery-codes", &[("renewal_code", code.as_str())]).await.assert_ok();
    for program in [login, console] {
        program.get("/api/keys").await.assert_problem(401, "unauthenticated");
    }
    ada.visit("/keys").await.assert_ok();
}

#[actix_web::test]
async fn instance_tokens_and_those_of_other_tenants_end_as_well() {
    let app = TestApp::start().await;
    let grace = app.operator("grace").await;
    let beta: TenantId = app.make_tenant("beta");
    let everywhere = app.instance_token_of(&grace, &["*"]);
    let there = Person::with_token(&app.base, &app.mint_token(UserId(grace.user_id), Some(beta), &["*"]));
    for program in [&everywhere, &there] {
        program.get("/api/keys").await.assert_ok();
    }
    set_up(&app, &grace).await;
    for program in [&everywhere, &there] {
        program.get("/api/keys").await.assert_problem(401, "unauthenticated");
    }
}

#[actix_web::test]
async fn tokens_of_other_people_and_later_tokens_still_work() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.viewer("ada").await, app.viewer("bob").await);
    let of_bob = app.token_of(&bob, &["*"]);
    let (_, _): (Device, _) = set_up(&app, &ada).await;
    let afterwards = app.token_of(&ada, &["*"]);
    for program in [&of_bob, &afterwards] {
        program.get("/api/keys").await.assert_ok();
    }
    bob.visit("/keys").await.assert_ok();
}

/// Runs `act` during the setup of a second factor. The setup's transaction ends only once another transaction waits for
/// it.
async fn during_set_up<T>(app: &TestApp, person: &Person, act: impl Future<Output = T>) -> T {
    let (vault, now, console) = (&app.running().state.vault, app.clock.now(), Operator::at_the_console());
    let mut conn = app.conn();
    AnsiTransactionManager::begin_transaction(&mut conn).unwrap();
    let user = accounts::find(&mut conn, UserId(person.user_id)).unwrap();
    Tx::run(&mut conn, now, |tx| second_factor::begin(tx, vault, &user)).unwrap();
    let SecondFactorState::SettingUp(authenticator) = second_factor::standing(&mut conn, vault, &user).unwrap() else {
        panic!("it is being set up")
    };
    let code = Device::new(&authenticator.text()).code(now);
    let confirm = |tx: &mut Tx<'_>| second_factor::confirm(tx, vault, &console, &user, (&code, "nowhere"));
    Tx::run(&mut conn, now, confirm).unwrap();
    let commit = async {
        app.until_a_transaction_waits().await;
        AnsiTransactionManager::commit_transaction(&mut conn).unwrap();
    };
    futures_util::join!(act, commit).0
}

#[actix_web::test]
async fn a_sign_in_during_the_setup_of_a_second_factor_fails() {
    let app = TestApp::start().await;
    let ada = app.viewer("ada").await;
    let browser = app.stranger();
    let fields = [("email", ada.email.as_str()), ("password", PASSWORD)];
    during_set_up(&app, &ada, browser.submit("/sign-in", &fields)).await;
    browser.visit("/keys").await.assert_see_other("/sign-in?back=%2Fkeys");
}

#[actix_web::test]
async fn a_login_during_the_setup_of_a_second_factor_creates_no_token() {
    let app = TestApp::start().await;
    let ada = app.viewer("ada").await;
    let program = app.stranger();
    let login = program.post_json("/api/auth/login", json!({"email": ada.email, "password": PASSWORD}));
    during_set_up(&app, &ada, login).await.assert_problem(401, "unauthenticated");
}

#[actix_web::test]
async fn a_token_created_during_the_setup_of_a_second_factor_is_refused() {
    let app = TestApp::start().await;
    let ada = app.viewer("ada").await;
    let page = ada.visit("/tokens/new").await.html();
    let (csrf, nonce) = (page.value("_csrf"), page.value("nonce"));
    let fields = [
        ("_csrf", csrf.as_str()),
        ("nonce", &nonce),
        ("name", "in between"),
        ("reach", "tenant"),
        ("expiry", "never"),
        ("scopes", "keys:read"),
    ];
    let answer = during_set_up(&app, &ada, ada.submit_exactly("/tokens", &fields)).await;
    assert!(!answer.body.contains("token-secret"), "{}", answer.body);
    let live = "SELECT FROM access_tokens WHERE revoked_at IS NULL";
    assert_eq!(diesel::sql_query(live).execute(&mut app.conn()), Ok(0));
}
