//! `POST /api/auth/login`.

use chrono::TimeDelta;
use diesel::prelude::*;
use gatepost::schema::second_factors;
use serde_json::{Value, json};

use super::text;
use crate::pages::second_factor::set_up;
use crate::support::people::PASSWORD;
use crate::support::{Answer, Person, TestApp, statements};

async fn login(app: &TestApp, email: &str, more: Value) -> Answer {
    let mut body = json!({"email": email, "password": PASSWORD});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    app.stranger().post_json("/api/auth/login", body).await
}

#[actix_web::test]
async fn a_password_gives_a_token_for_an_hour() {
    let app = TestApp::start().await;
    app.viewer("ada").await;
    let made = login(&app, "ADA@example.com", json!({})).await;
    assert_eq!(made.assert_status(201).header("cache-control"), "no-store");
    let body = made.json();
    assert_eq!((body["tenant_id"].clone(), body["user_id"].clone()), (1.into(), 1.into()));
    let token = Person::with_token(&app.base, text(&body, "token"));
    token.get("/api/keys").await.assert_ok();
    token.post_json("/api/keys", json!({"name": "x"})).await.assert_problem(403, "forbidden");
    app.advance(TimeDelta::hours(1));
    token.get("/api/keys").await.assert_problem(401, "unauthenticated");
}

#[actix_web::test]
async fn the_tenant_can_be_named_and_an_operator_needs_none() {
    let app = TestApp::start().await;
    app.viewer("ada").await;
    app.operator("grace").await;
    app.make_user("eve", false);
    app.make_tenant("beta");
    login(&app, "ada@example.com", json!({"tenant": "acme"})).await.assert_status(201);
    login(&app, "ada@example.com", json!({"tenant": "beta"})).await.assert_problem(404, "not_found");
    login(&app, "eve@example.com", json!({})).await.assert_problem(403, "forbidden");
    let instance = login(&app, "grace@example.com", json!({})).await.assert_status(201).json();
    assert_eq!(instance["tenant_id"], Value::Null);
    Person::with_token(&app.base, text(&instance, "token")).get("/api/users").await.assert_ok();
    let beta = login(&app, "grace@example.com", json!({"tenant": "beta"})).await.assert_status(201).json();
    assert_eq!(beta["tenant_id"], 2);
}

#[actix_web::test]
async fn a_sign_in_does_not_tell_which_tenants_exist() {
    statements::record();
    let app = TestApp::start().await;
    app.viewer("ada").await;
    app.make_tenant("beta");
    let mut answers = Vec::new();
    for named in
        [json!({"tenant": "beta"}), json!({"tenant_id": 2}), json!({"tenant": "none"}), json!({"tenant_id": 9})]
    {
        let before = statements::so_far().len();
        let problem = login(&app, "ada@example.com", named).await.assert_problem(404, "not_found");
        answers.push((problem["detail"].clone(), statements::so_far()[before..].to_vec()));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
}

#[actix_web::test]
async fn wrong_credentials_get_the_same_error_and_are_slowed_down() {
    let app = TestApp::start().await;
    app.viewer("ada").await;
    let guess = |email: &'static str| {
        let body = json!({"email": email, "password": "wrong wrong wrong"});
        let stranger = app.stranger();
        async move { stranger.post_json("/api/auth/login", body).await }
    };
    let known = guess("ada@example.com").await.assert_problem(401, "unauthenticated");
    let unknown = guess("nobody@example.com").await.assert_problem(401, "unauthenticated");
    assert_eq!(known["detail"], unknown["detail"]);
    for _ in 0..4 {
        guess("ada@example.com").await.assert_problem(401, "unauthenticated");
    }
    let slowed = login(&app, "ada@example.com", json!({})).await;
    slowed.assert_problem(429, "rate_limited");
    assert!(!slowed.header("retry-after").is_empty());
    // The sign-in page shares the counts of guesses.
    let fields = [("email", "ada@example.com"), ("password", PASSWORD)];
    app.stranger().submit("/sign-in", &fields).await.assert_status(429);
    app.stranger().post_json("/api/auth/login", json!({"email": "a@b.c"})).await.assert_invalid("password");
}

#[actix_web::test]
async fn a_second_factor_is_asked_for_and_its_code_works_once() {
    let app = TestApp::start().await;
    let ada = app.viewer("ada").await;
    let (device, codes) = set_up(&app, &ada).await;
    login(&app, "ada@example.com", json!({})).await.assert_problem(401, "code_required");
    login(&app, "ada@example.com", json!({"code": "no code"})).await.assert_problem(401, "unauthenticated");
    let code = device.code(app.clock.now());
    login(&app, "ada@example.com", json!({"code": code})).await.assert_status(201);
    login(&app, "ada@example.com", json!({"code": code})).await.assert_problem(401, "unauthenticated");
    login(&app, "ada@example.com", json!({"code": codes[0]})).await.assert_status(201);
}

#[actix_web::test]
async fn concurrent_guesses_are_slowed_down_like_consecutive_ones() {
    let app = TestApp::start().await;
    let ada = app.viewer("ada").await;
    let (device, _) = set_up(&app, &ada).await;
    let codes = (0..60).map(|number| json!({"code": format!("{number:06}")}));
    let answers = futures_util::future::join_all(codes.map(|code| login(&app, "ada@example.com", code))).await;
    let judged = answers.iter().filter(|answer| answer.status != 429).count();
    // The first guesses are free, and one more is checked for each second or two that this took.
    assert!((1..=8).contains(&judged), "{judged} of sixty were judged");
    let slowed = answers.iter().find(|answer| answer.status == 429).unwrap();
    assert!(!slowed.header("retry-after").is_empty());
    app.advance(TimeDelta::minutes(61));
    let code = device.code(app.clock.now());
    login(&app, "ada@example.com", json!({"code": code})).await.assert_status(201);
}

#[actix_web::test]
async fn wrong_codes_are_counted_by_all_processes_together() {
    let app = TestApp::start().await;
    let ada = app.viewer("ada").await;
    let (device, _) = set_up(&app, &ada).await;
    // Nine wrong codes, as another process would record them.
    let wrong = (second_factors::wrong_codes.eq(9), second_factors::last_wrong_at.eq(app.clock.now()));
    diesel::update(second_factors::table).set(wrong).execute(&mut app.conn()).unwrap();
    let code = device.code(app.clock.now());
    login(&app, "ada@example.com", json!({"code": code})).await.assert_problem(429, "rate_limited");
    app.advance(TimeDelta::seconds(17));
    login(&app, "ada@example.com", json!({"code": "no code"})).await.assert_problem(401, "unauthenticated");
    let read = second_factors::table.select(second_factors::wrong_codes);
    assert_eq!(read.first::<i32>(&mut app.conn()).unwrap(), 10);
    app.advance(TimeDelta::seconds(33));
    let code = device.code(app.clock.now());
    login(&app, "ada@example.com", json!({"code": code})).await.assert_status(201);
    assert_eq!(read.first::<i32>(&mut app.conn()).unwrap(), 0);
}

#[actix_web::test]
async fn an_address_that_is_too_long_is_refused_without_a_password_check() {
    let app = TestApp::start().await;
    let long = format!("{}@example.com", "a".repeat(250));
    let body = json!({"email": long, "password": PASSWORD});
    for _ in 0..9 {
        app.stranger().post_json("/api/auth/login", body.clone()).await.assert_invalid("email");
    }
    let page = app.stranger().submit("/sign-in", &[("email", &long), ("password", PASSWORD)]).await;
    assert_eq!(page.assert_status(422).html().value("email"), "");
}

#[actix_web::test]
async fn a_new_password_ends_tokens_from_the_old_one() {
    let app = TestApp::start().await;
    let ada = app.viewer("ada").await;
    let body = login(&app, "ada@example.com", json!({})).await.assert_status(201).json();
    let token = Person::with_token(&app.base, text(&body, "token"));
    token.get("/api/keys").await.assert_ok();
    // A sign-in's token can read, and tokens that it creates end no later than it does.
    let soon = (app.clock.now() + TimeDelta::minutes(30)).to_rfc3339();
    token.post_json("/api/tokens", json!({"name": "for ever", "expires_at": null})).await.assert_invalid("expires_at");
    let made =
        token.post_json("/api/tokens", json!({"name": "child", "expires_at": soon})).await.assert_status(201).json();
    let child = Person::with_token(&app.base, text(&made, "token"));
    child.get("/api/keys").await.assert_ok();
    let fields = [("current_password", PASSWORD), ("password", "another horse and another staple")];
    ada.submit("/account/password", &fields).await.assert_see_other("/account");
    token.get("/api/keys").await.assert_problem(401, "unauthenticated");
    child.get("/api/keys").await.assert_problem(401, "unauthenticated");
}
