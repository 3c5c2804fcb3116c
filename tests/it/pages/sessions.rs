//! Sign-in, sign-out and sessions.

use actix_session::storage::SessionStore;
use actix_web::cookie::time::Duration;
use chrono::TimeDelta;
use diesel::prelude::*;
use gatepost::schema::sessions;
use gatepost::web::session_store::PostgresSessions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::people::PASSWORD;
use crate::support::{Person, TestApp};

fn cookie(person: &crate::support::Answer) -> String {
    person.header("set-cookie").split(';').next().unwrap_or_default().to_owned()
}

#[actix_web::test]
async fn a_visitor_is_sent_to_sign_in_and_returns_to_the_page() {
    let app = TestApp::start().await;
    app.admin("ada").await;
    let ada = app.stranger();
    ada.visit("/keys?state=active").await.assert_see_other("/sign-in?back=%2Fkeys%3Fstate%3Dactive");
    let page = ada.visit("/sign-in?back=%2Fkeys%3Fstate%3Dactive").await.html();
    let fields = [("email", "ADA@example.com "), ("password", PASSWORD), ("back", &page.value("back"))];
    ada.submit("/sign-in", &fields).await.assert_see_other("/keys?state=active");
}

#[actix_web::test]
async fn sign_in_leads_to_no_other_site() {
    let app = TestApp::start().await;
    app.admin("ada").await;
    for trick in ["https://evil.example/", "//evil.example", "/\\evil.example"] {
        let fields = [("email", "ada@example.com"), ("password", PASSWORD), ("back", trick)];
        app.stranger().submit("/sign-in", &fields).await.assert_see_other("/");
    }
}

#[actix_web::test]
async fn a_wrong_password_and_an_unknown_account_get_the_same_answer() {
    let app = TestApp::start().await;
    app.admin("ada").await;
    let mut says = Vec::new();
    for email in ["ada@example.com", "nobody@example.com"] {
        let answer = app.stranger().submit("/sign-in", &[("email", email), ("password", "wrong wrong wrong")]).await;
        let page = answer.assert_status(422).html();
        assert_eq!(page.value("email"), email);
        says.push(page.text("[role='alert']"));
    }
    assert_eq!(says[0], says[1]);
}

#[actix_web::test]
async fn guesses_are_slowed_down_and_the_real_user_can_sign_in_later() {
    let app = TestApp::start().await;
    app.admin("ada").await;
    let guess = [("email", "ada@example.com"), ("password", "wrong wrong wrong")];
    let mallory = app.stranger();
    for _ in 0..5 {
        mallory.submit("/sign-in", &guess).await.assert_status(422);
    }
    let slowed = mallory.submit("/sign-in", &guess).await;
    let wait = slowed.assert_status(429).header("retry-after");
    assert!(slowed.body.contains(&format!("Wait {wait} seconds")), "{wait:?} in {}", slowed.body);
    app.advance(TimeDelta::minutes(16));
    let right = [("email", "ada@example.com"), ("password", PASSWORD)];
    app.stranger().submit("/sign-in", &right).await.assert_see_other("/");
}

#[actix_web::test]
async fn signing_in_creates_a_new_session_key_and_signing_out_ends_it() {
    let app = TestApp::start().await;
    app.admin("ada").await;
    let ada = app.stranger();
    let before = ada.visit("/sign-in").await;
    let token = before.html().value("_csrf");
    let fields = [("_csrf", token.as_str()), ("email", "ada@example.com"), ("password", PASSWORD)];
    let after = ada.submit_exactly("/sign-in", &fields).await;
    assert_ne!(cookie(&before), cookie(&after));
    let thief = app.stranger().with("cookie", &cookie(&after));
    thief.visit("/").await.assert_ok();

    ada.submit("/sign-out", &[]).await.assert_see_other("/sign-in");

    ada.visit("/").await.assert_see_other("/sign-in");
    thief.visit("/").await.assert_see_other("/sign-in");
}

#[actix_web::test]
async fn a_session_ends_after_half_an_hour_without_requests_and_after_twelve_hours_in_any_case() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    app.advance(TimeDelta::minutes(31));
    ada.visit("/").await.assert_see_other("/sign-in");

    let bob = app.admin("bob").await;
    for _ in 0..28 {
        app.advance(TimeDelta::minutes(25));
        bob.visit("/").await.assert_ok();
    }
    app.advance(TimeDelta::minutes(25));
    bob.visit("/").await.assert_see_other("/sign-in");
}

#[actix_web::test]
async fn a_form_without_this_sessions_token_or_from_another_site_is_refused() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let bob = app.admin("bob").await;
    let (mine, bobs) = (ada.form_token().await, bob.form_token().await);
    let refused = |person: Person, token: String| async move {
        person.submit_exactly("/sign-out", &[("_csrf", &token)]).await.assert_status(403);
    };
    refused(ada.clone(), String::new()).await;
    refused(ada.clone(), bobs).await;
    refused(ada.with("sec-fetch-site", "cross-site"), mine.clone()).await;
    refused(ada.with("origin", "https://evil.example"), mine.clone()).await;
    ada.submit_exactly("/sign-out", &[]).await.assert_status(403);
    ada.visit("/").await.assert_ok();
}

#[actix_web::test]
async fn the_session_cookie_gives_no_access_to_the_api() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    ada.get("/api/keys").await.assert_problem(401, "unauthenticated");
}

#[actix_web::test]
async fn a_person_without_a_tenant_sees_only_their_account() {
    let app = TestApp::start().await;
    let user = app.make_user("eve", false);
    let eve = app.sign_in("eve", user).await;
    eve.visit("/").await.assert_see_other("/account");
    let account = eve.visit("/account").await.assert_ok().html();
    assert!(account.all_text().contains("not a member of any tenant") && !account.has("nav a[href='/keys']"));
    eve.submit("/account", &[("name", "Eve")]).await.assert_see_other("/account");
    assert_eq!(eve.visit("/account").await.html().value("name"), "Eve");
    let change = [("current_password", PASSWORD), ("password", "another horse, another staple")];
    eve.submit("/account/password", &change).await.assert_see_other("/account");
    eve.visit("/account/second-factor").await.assert_ok();
    let answer = eve.visit("/keys").await;
    assert!(answer.assert_status(403).html().all_text().contains("not a member of any tenant"));
    // An operator starts at the list of tenants.
    let bare = TestApp::start_bare(&[]).await;
    let grace = bare.operator("grace").await;
    grace.visit("/").await.assert_see_other("/operator/tenants");
    assert!(grace.visit("/operator/tenants").await.html().has(".empty a[href='/operator/tenants/new']"));
}

#[actix_web::test]
async fn people_can_switch_only_between_their_own_tenants() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let (other, foreign) = (app.make_tenant("beta"), app.make_tenant("foreign"));
    app.make_member(other, gatepost::domain::UserId(ada.user_id), gatepost::domain::Role::Viewer);
    ada.submit("/tenant", &[("tenant", &other.to_string())]).await.assert_see_other("/");
    assert!(ada.visit("/").await.html().all_text().contains("You are now in beta."));
    ada.submit("/tenant", &[("tenant", &foreign.to_string())]).await.assert_status(404);
}

#[actix_web::test]
async fn every_answer_carries_the_security_headers() {
    const POLICY: [&str; 8] = [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ];
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let mut answers = Vec::new();
    let paths = [
        "/",
        "/sign-in",
        "/nowhere",
        "/settings",
        "/operator/tenants",
        "/api/keys",
        "/healthz",
        "/static/nothing",
        "/static/gatepost.css",
    ];
    for path in paths {
        answers.push((path, ada.visit(path).await));
    }
    answers.push(("a wrong method", ada.delete("/keys").await));
    answers.push(("a refused form", ada.submit_exactly("/settings", &[]).await));
    answers.push((
        "no JSON",
        app.token_of(&ada, &["*"])
            .send(reqwest::Method::POST, "/api/keys", Some(("application/json", "{".into())))
            .await,
    ));
    for (what, answer) in answers {
        let policy: Vec<_> = answer.header("content-security-policy").split(';').map(str::trim).collect();
        assert!(POLICY.iter().all(|part| policy.contains(part)), "{what}: {policy:?}");
        assert!(policy.contains(&"require-trusted-types-for 'script'"), "{what}");
        for (name, value) in [
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("referrer-policy", "same-origin"),
            ("x-content-type-options", "nosniff"),
            ("strict-transport-security", ""),
        ] {
            assert_eq!(answer.header(name), value, "{what}: {name}");
        }
        assert!(answer.header("permissions-policy").contains("camera=()"), "{what}");
    }
}

#[actix_web::test]
async fn with_https_cookies_are_secure_and_browsers_must_use_https() {
    let app = TestApp::start_with(&[("GATEPOST_PUBLIC_URL", "https://keys.example.com")]).await;
    let answer = app.stranger().visit("/sign-in").await;
    let cookie = answer.assert_ok().header("set-cookie");
    for part in ["__Host-gatepost-", "Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(part), "{part} in {cookie}");
    }
    assert!(!cookie.contains("Domain="), "{cookie}");
    for path in ["/sign-in", "/api/keys", "/nowhere"] {
        let answer = app.stranger().visit(path).await;
        assert!(answer.header("strict-transport-security").starts_with("max-age=31536000"), "{path}");
    }
}

#[actix_web::test]
async fn a_session_that_ended_during_a_request_stays_ended() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let sessions = PostgresSessions { db: app.running().state.pages.clone(), clock: app.clock.clone() };
    let begun = ("begun", "true".to_owned());
    let state = [("user", ada.user_id.to_string()), ("flash", "\"x\"".to_owned()), begun];
    let state: std::collections::HashMap<_, _> = state.map(|(name, value)| (name.to_owned(), value)).into();
    let key = sessions.save(state.clone(), &Duration::hours(1)).await.unwrap();
    let mut state = sessions.load(&key).await.unwrap().unwrap();
    assert_eq!(state.len(), 2);
    sessions.delete(&key).await.unwrap();
    state.insert("renewed".to_owned(), "true".to_owned());

    let key = sessions.update(key, state, &Duration::hours(1)).await.unwrap();

    let kept = sessions.load(&key).await.unwrap().unwrap();
    assert_eq!(kept.keys().collect::<Vec<_>>(), ["flash"]);
}

/// Half-sent form that creates a token.
struct HalfSentForm {
    stream: TcpStream,
    rest: String,
}

impl HalfSentForm {
    async fn start(person: &Person, body: String) -> Self {
        let head = format!(
            "POST /tokens HTTP/1.1\r\nhost: x\r\ncookie: {}\r\ncontent-length: {}\r\nconnection: close\r\n\
             content-type: application/x-www-form-urlencoded\r\n\r\n",
            person.headers["cookie"].to_str().unwrap(),
            body.len(),
        );
        let (half, rest) = body.split_at(9);
        let mut stream = TcpStream::connect(person.base.trim_start_matches("http://")).await.unwrap();
        stream.write_all(format!("{head}{half}").as_bytes()).await.unwrap();
        Self { stream, rest: rest.to_owned() }
    }

    async fn finish(mut self) -> String {
        self.stream.write_all(self.rest.as_bytes()).await.unwrap();
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

/// Signs Ada in with a browser that switches to another tenant, so that its next request gets a new session key.
/// Returns the browser and its form token.
async fn browser_before_new_session_key(app: &TestApp, ada: &Person) -> (Person, String) {
    let beta = app.make_tenant("beta");
    app.make_member(beta, gatepost::domain::UserId(ada.user_id), gatepost::domain::Role::Admin);
    let fields = [("email", ada.email.as_str()), ("password", PASSWORD)];
    let browser = app.stranger().with("cookie", &cookie(&app.stranger().submit("/sign-in", &fields).await));
    let token = browser.visit("/").await.html().value("_csrf");
    browser.submit_exactly("/tenant", &[("_csrf", &token), ("tenant", &beta.to_string())]).await.assert_see_other("/");
    (browser, token)
}

#[actix_web::test]
async fn a_request_that_ends_after_its_session_does_not_restore_it() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let (thief, token) = browser_before_new_session_key(&app, &ada).await;
    let begun = HalfSentForm::start(&thief, format!("_csrf={token}&name=mine")).await;

    let change = [("current_password", PASSWORD), ("password", "another horse, another staple")];
    ada.submit("/account/password", &change).await.assert_see_other("/account");
    let answer = begun.finish().await;
    assert!(answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.1 422"), "{answer}");
    let given = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap().split(';').next().unwrap();
    app.stranger().with("cookie", given).visit("/").await.assert_see_other("/sign-in");
    thief.visit("/").await.assert_see_other("/sign-in");
}

#[actix_web::test]
async fn a_slower_request_does_not_replace_the_browser_s_newer_session_key() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let (old, token) = browser_before_new_session_key(&app, &ada).await;
    let begun = HalfSentForm::start(&old, format!("_csrf={token}&name=mine")).await;
    let new = app.stranger().with("cookie", &cookie(old.visit("/").await.assert_ok()));

    let answer = begun.finish().await;

    assert!(!answer.contains("set-cookie"), "{answer}");
    new.visit("/").await.assert_ok();
    old.visit("/").await.assert_see_other("/sign-in");
}

#[actix_web::test]
async fn a_new_session_key_does_not_extend_the_twelve_hours() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let beta = app.make_tenant("beta");
    app.make_member(beta, gatepost::domain::UserId(ada.user_id), gatepost::domain::Role::Admin);
    for round in 0..28 {
        app.advance(TimeDelta::minutes(25));
        let there = if round % 2 == 0 { beta } else { app.tenant };
        ada.submit("/tenant", &[("tenant", &there.to_string())]).await.assert_see_other("/");
        ada.visit("/").await.assert_ok();
    }
    app.advance(TimeDelta::minutes(25));
    ada.visit("/").await.assert_see_other("/sign-in");
}

#[actix_web::test]
async fn visitors_have_no_rows_in_the_session_table() {
    let app = TestApp::start().await;
    app.make_user("ada", false);
    let count = || sessions::table.count().get_result::<i64>(&mut app.conn()).unwrap();
    let stranger = app.stranger();
    for path in ["/sign-in", "/sign-in", "/keys", "/nowhere"] {
        app.stranger().visit(path).await;
        stranger.visit(path).await;
    }
    let guess = [("email", "ada@example.com"), ("password", "wrong wrong wrong")];
    stranger.submit("/sign-in", &guess).await.assert_status(422);
    assert_eq!(count(), 0);
    let right = [("email", "ada@example.com"), ("password", PASSWORD)];
    stranger.submit("/sign-in", &right).await.assert_see_other("/");
    assert_eq!(count(), 1);
    // A form token belongs to one visitor.
    let token = app.stranger().visit("/sign-in").await.html().value("_csrf");
    let other = app.stranger();
    other.visit("/sign-in").await.assert_ok();
    let fields = [("_csrf", token.as_str()), ("email", "ada@example.com"), ("password", PASSWORD)];
    other.submit_exactly("/sign-in", &fields).await.assert_status(403);
}
