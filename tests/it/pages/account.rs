//! Page of a person's own account.

use chrono::TimeDelta;
use diesel::prelude::*;
use gatepost::schema::{access_tokens, one_time_links};
use gatepost::services::{Operator, account};

use crate::support::people::PASSWORD;
use crate::support::{Person, TestApp};

const OTHER: &str = "another horse and another staple";

/// Signs the person in with another browser.
async fn sign_in_again(app: &TestApp, person: &Person, agent: &str) -> Person {
    let browser = app.stranger().with("user-agent", agent);
    let fields = [("email", person.email.as_str()), ("password", PASSWORD)];
    browser.submit("/sign-in", &fields).await.assert_see_other("/");
    browser
}

async fn change(person: &Person, present: &str, new: &str) -> crate::support::Answer {
    person.submit("/account/password", &[("current_password", present), ("password", new)]).await
}

#[actix_web::test]
async fn a_person_changes_their_name() {
    let app = TestApp::start().await;
    let ada = app.viewer("ada").await;
    ada.submit("/account", &[("name", "  Countess Ada ")]).await.assert_see_other("/account");
    let page = ada.visit("/account").await.html();
    assert_eq!(
        (page.value("name"), page.text("[role=status]")),
        ("Countess Ada".into(), "Your name is changed.".into())
    );
    let refused = ada.submit("/account", &[("name", "")]).await.assert_status(422).html();
    assert_eq!(refused.error_at("name"), "Name is required.");
}

#[actix_web::test]
async fn a_new_password_needs_the_current_one_and_signs_out_everywhere_else() {
    let app = TestApp::start().await;
    let ada = app.viewer("ada").await;
    let phone = sign_in_again(&app, &ada, "curl/8").await;
    let token = app.token_of(&ada, &["*"]);
    let minted = app.token_of(&ada, &["*"]);
    let newest = access_tokens::table.filter(access_tokens::id.eq(2));
    diesel::update(newest).set(access_tokens::is_from_login.eq(true)).execute(&mut app.conn()).unwrap();

    let refused = change(&ada, "not my password at all", OTHER).await.assert_status(422).html();
    assert!(refused.error_at("current_password").contains("not your current password"));
    let weak = change(&ada, PASSWORD, "short").await.assert_status(422).html();
    assert!(weak.error_at("password").contains("15") && weak.error_at("current_password").is_empty());
    phone.visit("/").await.assert_ok();
    change(&ada, PASSWORD, OTHER).await.assert_see_other("/account");

    ada.visit("/account").await.assert_ok();
    phone.visit("/").await.assert_see_other("/sign-in");
    token.get("/api/keys").await.assert_problem(401, "unauthenticated");
    minted.get("/api/keys").await.assert_problem(401, "unauthenticated");
    let old = [("email", ada.email.as_str()), ("password", PASSWORD)];
    app.stranger().submit("/sign-in", &old).await.assert_status(422);
    let new = [("email", ada.email.as_str()), ("password", OTHER)];
    app.stranger().submit("/sign-in", &new).await.assert_see_other("/");
}

#[actix_web::test]
async fn a_stolen_session_does_not_outlive_the_change_of_the_password() {
    let app = TestApp::start().await;
    app.viewer("ada").await;
    let ada = app.stranger();
    let signed_in = ada.submit("/sign-in", &[("email", "ada@example.com"), ("password", PASSWORD)]).await;
    let cookie = signed_in.header("set-cookie").split(';').next().unwrap().to_owned();
    let thief = app.stranger().with("cookie", &cookie);
    thief.visit("/").await.assert_ok();
    change(&ada, PASSWORD, OTHER).await.assert_see_other("/account");
    thief.visit("/").await.assert_see_other("/sign-in");
    ada.visit("/").await.assert_ok();
}

#[actix_web::test]
async fn guesses_at_the_current_password_are_slowed_down() {
    let app = TestApp::start().await;
    let ada = app.viewer("ada").await;
    for _ in 0..5 {
        change(&ada, "not my password at all", OTHER).await.assert_status(422);
    }
    let slowed = change(&ada, PASSWORD, OTHER).await;
    let wait = slowed.assert_status(429).header("retry-after");
    let says = format!("Too many attempts. Wait {wait} seconds");
    assert!(slowed.html().error_at("current_password").contains(&says), "{}", slowed.body);
}

#[actix_web::test]
async fn people_see_their_sessions_and_can_end_them() {
    let app = TestApp::start().await;
    let ada = app.viewer("ada").await;
    app.advance(TimeDelta::minutes(2));
    let phone = sign_in_again(&app, &ada, "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5) Version/17.5 Safari/604.1").await;
    let fox = sign_in_again(&app, &ada, "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Firefox/128.0").await;
    let stranger = app.viewer("bob").await;

    let page = phone.visit("/account").await.html();
    let mut devices = page.texts("tbody .cell-main b");
    devices.sort();
    assert_eq!(devices, ["Firefox on Linux", "Safari on iPhone", "Unknown browser"]);
    assert_eq!(page.texts("tbody .cell-main small"), ["This browser"]);
    assert_eq!(page.texts("tbody [data-label=Address]"), ["127.0.0.1"; 3]);
    let forms = page.select("tbody form");
    let ends: Vec<_> = forms.iter().map(|form| form.value().attr("action").unwrap().to_owned()).collect();
    assert_eq!(ends.len(), 2);

    // A person cannot end sessions of another person.
    stranger.submit(&ends[0], &[]).await.assert_see_other("/account");
    ada.visit("/").await.assert_ok();
    fox.visit("/").await.assert_ok();
    phone.submit(&ends[0], &[]).await.assert_see_other("/account");
    assert_eq!(phone.visit("/account").await.html().select("tbody tr").len(), 2);
    phone.submit("/account/sessions/deletion", &[]).await.assert_see_other("/account");
    assert_eq!(phone.visit("/account").await.html().select("tbody tr").len(), 1);
    ada.visit("/").await.assert_see_other("/sign-in");
    fox.visit("/").await.assert_see_other("/sign-in");
    stranger.visit("/").await.assert_ok();
}

#[actix_web::test]
async fn a_reset_link_sets_a_password_once_within_a_day_and_ends_all_sessions() {
    let app = TestApp::start().await;
    let ada = app.viewer("ada").await;
    let grace = app.operator("grace").await;
    let path = format!("/operator/users/{}/reset-link", ada.user_id);
    let make = || async {
        let answer = grace.submit(&path, &[]).await;
        assert_eq!(answer.assert_ok().header("cache-control"), "no-store");
        let link: String = answer.html().select("#reset-link")[0].text().collect();
        link.strip_prefix("http://127.0.0.1:8000").unwrap().to_owned()
    };
    let set = |link: String, password: &'static str| {
        let guest = app.stranger();
        async move {
            let page = guest.visit(&link).await;
            if page.status != 200 {
                return page;
            }
            let (csrf, token) = (page.html().value("_csrf"), page.html().value("token"));
            guest
                .submit_exactly("/password-reset", &[("_csrf", &csrf), ("token", &token), ("password", password)])
                .await
        }
    };
    let (first, second) = (make().await, make().await);
    set(first, OTHER).await.assert_status(404);
    assert!(set(second.clone(), "short").await.assert_status(422).html().error_at("password").contains("15"));
    set(second.clone(), OTHER).await.assert_see_other("/sign-in");
    set(second, OTHER).await.assert_status(404);
    ada.visit("/").await.assert_see_other("/sign-in");
    let fields = [("email", ada.email.as_str()), ("password", OTHER)];
    app.stranger().submit("/sign-in", &fields).await.assert_see_other("/");

    let old = make().await;
    app.advance(TimeDelta::hours(24));
    set(old, OTHER).await.assert_status(404);
    let kept: Vec<Vec<u8>> = one_time_links::table.select(one_time_links::digest).load(&mut app.conn()).unwrap();
    assert!(kept.iter().all(|digest| digest.len() == 32));
}

#[actix_web::test]
async fn when_two_requests_use_a_reset_link_at_once_one_succeeds() {
    let app = TestApp::start().await;
    let user = app.make_user("ada", false);
    let token = app.tx(|tx| account::offer_reset(tx, &Operator::at_the_console(), user)).unwrap();
    let mut racers = Vec::new();
    for _ in 0..2 {
        let (guest, token) = (app.stranger(), token.clone());
        let csrf = guest.visit(format!("/password-reset?token={token}")).await.html().value("_csrf");
        racers.push(async move {
            let fields = [("_csrf", csrf.as_str()), ("token", &token), ("password", OTHER)];
            guest.submit_exactly("/password-reset", &fields).await.status
        });
    }
    let mut answers = futures_util::future::join_all(racers).await;
    answers.sort_unstable();
    assert_eq!(answers, [303, 404]);
}
