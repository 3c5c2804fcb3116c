//! Mail: invitations and reset links are mailed, retried, and sealed until then.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use diesel::prelude::*;
use gatepost::domain::{Error, UserId};
use gatepost::schema::{audit_entries, mails};
use gatepost::services::{Operator, account};
use serde_json::json;

use crate::support::people::PASSWORD;
use crate::support::{Mailbox, Person, TestApp};

async fn app(mailbox: &Mailbox) -> TestApp {
    let from = "Gatepost <gate@keys.example.com>";
    TestApp::start_with(&[("GATEPOST_SMTP_URL", &mailbox.url), ("GATEPOST_SMTP_FROM", from)]).await
}

fn waiting(app: &TestApp) -> i64 {
    mails::table.count().get_result(&mut app.conn()).unwrap()
}

async fn until_none_waits(app: &TestApp) {
    for _ in 0..500 {
        if waiting(app) == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("a letter that was sent is kept");
}

/// Returns the path of the link in a mail.
fn link(text: &str) -> String {
    let link =
        text.split_whitespace().find(|word| word.contains("token=")).unwrap_or_else(|| panic!("no link: {text}"));
    link.strip_prefix("http://127.0.0.1:8000").unwrap().to_owned()
}

#[actix_web::test]
async fn an_invitation_is_mailed_and_its_link_works() {
    let mailbox = Mailbox::start().await;
    let app = app(&mailbox).await;
    let ada = app.admin("ada").await;
    let program = app.token_of(&ada, &["*"]);
    let ask = json!({"email": "grace@example.com", "role": "developer"});
    let made = program.post_json("/api/tenants/1/invitations", ask).await.assert_status(201).json();
    assert_eq!((&made["is_mailed"], &made["link"]), (&json!(true), &json!(null)), "nobody else gets the link");

    let letter = mailbox.wait_for(1).await.remove(0);

    assert_eq!((letter.from.as_str(), letter.to.as_str()), ("gate@keys.example.com", "grace@example.com"));
    for header in [
        "Subject: Join acme on Gatepost",
        "From: Gatepost <gate@keys.example.com>",
        "To: grace@example.com",
        "Message-ID: <",
        "Date: ",
    ] {
        assert!(letter.raw.contains(header), "{header} in {}", letter.raw);
    }
    let login = STANDARD.decode(letter.auth.clone().unwrap()).unwrap();
    assert_eq!(login, b"\0me\0hunter2hunter2");
    assert!(letter.text().contains("join acme as a developer") && letter.text().contains("ada@example.com"));
    let token = link(&letter.text()).split_once("token=").unwrap().1.to_owned();
    let join = [("token", token.as_str()), ("name", "Grace"), ("password", PASSWORD)];
    app.stranger().submit("/invitation", &join).await.assert_see_other("/");
    until_none_waits(&app).await;
    // The link reached the mailbox, so the address is confirmed.
    let olga = app.operator("olga").await;
    let instance = app.instance_token_of(&olga, &["*"]);
    let other = app.make_tenant("other");
    let add = json!({"email": "grace@example.com", "role": "viewer"});
    instance.post_json(format!("/api/tenants/{other}/members"), add).await.assert_status(201);
    // The page also says that the link is mailed.
    let form = ada.visit("/members/invitations/new").await.html();
    let (csrf, nonce) = (form.value("_csrf"), form.value("nonce"));
    let fields =
        [("_csrf", csrf.as_str()), ("nonce", &nonce), ("email", "dan@example.com"), ("role", "viewer"), ("days", "7")];
    let answer = ada.submit_exactly("/members/invitations", &fields).await;
    assert!(!answer.assert_see_other("/members").body.contains("token="));
    let said = ada.visit("/members").await.html().text("[role=status]");
    assert!(said.contains("being mailed to dan@example.com"), "{said}");
    assert_eq!(mailbox.wait_for(2).await[1].to, "dan@example.com");
}

#[actix_web::test]
async fn a_lost_password_is_reset_by_a_mailed_link() {
    let mailbox = Mailbox::start().await;
    let app = app(&mailbox).await;
    let ada = app.viewer("ada").await;
    let stranger = app.stranger();
    assert!(stranger.visit("/sign-in").await.html().has("a[href='/password-reset/request']"));
    let mut said = Vec::new();
    for email in ["nobody@example.com", " Ada@Example.com"] {
        let asked = stranger.submit("/password-reset/request", &[("email", email)]).await;
        asked.assert_see_other("/sign-in");
        said.push(stranger.visit("/sign-in").await.html().text("[role=status]"));
    }
    assert!(said[0] == said[1] && said[0].contains("If there is an account"), "{said:?}");
    let letter = mailbox.wait_for(1).await.remove(0);
    assert_eq!((letter.to.as_str(), mailbox.letters().len()), ("ada@example.com", 1));
    let token = link(&letter.text()).split_once("token=").unwrap().1.to_owned();
    let new = [("token", token.as_str()), ("password", "another horse, another staple")];
    stranger.submit("/password-reset", &new).await.assert_see_other("/sign-in");
    ada.visit("/").await.assert_see_other("/sign-in");

    // The number of mails to one person is limited.
    for _ in 0..7 {
        stranger.submit("/password-reset/request", &[("email", "ada@example.com")]).await;
    }
    let last = stranger.submit("/password-reset/request", &[("email", "ada@example.com")]).await;
    let wait = last.assert_status(429).header("retry-after");
    assert!(last.html().error_at("email").contains(&format!("Wait {wait} seconds")), "{}", last.body);
}

#[actix_web::test]
async fn a_mailed_reset_link_is_not_shown_to_the_operator_who_made_it() {
    let mailbox = Mailbox::start().await;
    let app = app(&mailbox).await;
    let (ada, grace) = (app.viewer("ada").await, app.operator("grace").await);
    let path = format!("/operator/users/{}/reset-link", ada.user_id);
    assert!(grace.visit(&path).await.html().text("main").contains("The link is not shown to you."));
    let made = grace.submit(&path, &[]).await;
    made.assert_see_other("/operator/users");
    let list = grace.visit("/operator/users").await;
    assert!(list.html().text("[role=status]").contains("being mailed to ada@example.com"));
    let letter = mailbox.wait_for(1).await.remove(0);
    let link = link(&letter.text());
    let token = link.split_once("token=").unwrap().1;
    assert_eq!(letter.to, "ada@example.com");
    assert!(!made.body.contains(token) && !list.body.contains(token));
    app.stranger().visit(&link).await.assert_ok();
}

/// Runs `work`, and waits until the mail server has deferred its mail once.
async fn run_with_deferred_mail(mailbox: &Mailbox, work: impl AsyncFnOnce()) {
    mailbox.refuse("451 later");
    work().await;
    while !mailbox.has_refused() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[actix_web::test]
async fn a_waiting_mail_is_dropped_when_the_creator_of_its_link_loses_the_right() {
    let mailbox = Mailbox::start().await;
    let app = app(&mailbox).await;
    let (grace, oscar) = (app.operator("grace").await, app.operator("oscar").await);
    let other = app.make_user("other", true);
    run_with_deferred_mail(&mailbox, async || {
        oscar.submit(format!("/operator/users/{other}/reset-link"), &[]).await.assert_status(303);
    })
    .await;
    run_with_deferred_mail(&mailbox, async || {
        let ask = json!({"email": "guest@example.com", "role": "owner"});
        let program = app.instance_token_of(&oscar, &["*"]);
        program.post_json("/api/tenants/1/invitations", ask).await.assert_status(201);
    })
    .await;
    grace.submit(format!("/operator/users/{}/demotion", oscar.user_id), &[]).await.assert_see_other("/operator/users");
    app.advance(TimeDelta::minutes(20));
    until_none_waits(&app).await;
    assert_eq!(mailbox.letters().len(), 0);
}

#[actix_web::test]
async fn a_waiting_mail_is_dropped_when_its_invitation_is_revoked() {
    let mailbox = Mailbox::start().await;
    let app = app(&mailbox).await;
    let program = app.program().await;
    run_with_deferred_mail(&mailbox, async || {
        let ask = json!({"email": "guest@example.com", "role": "viewer"});
        program.post_json("/api/tenants/1/invitations", ask).await.assert_status(201);
    })
    .await;
    program.delete("/api/tenants/1/invitations/1").await.assert_status(204);
    app.advance(TimeDelta::minutes(20));
    until_none_waits(&app).await;
    assert_eq!(mailbox.letters().len(), 0);
}

#[actix_web::test]
async fn requested_reset_links_and_those_of_operators_do_not_end_each_other() {
    let mailbox = Mailbox::start().await;
    let app = app(&mailbox).await;
    let (ada, grace) = (app.viewer("ada").await, app.operator("grace").await);
    let stranger = app.stranger();
    let path = |letter: usize| {
        let mailbox = &mailbox;
        async move { link(&mailbox.wait_for(letter).await.remove(letter - 1).text()) }
    };
    let ask = [("email", "ada@example.com")];
    let by_operator = format!("/operator/users/{}/reset-link", ada.user_id);
    grace.submit(&by_operator, &[]).await.assert_see_other("/operator/users");
    let made = path(1).await;
    stranger.submit("/password-reset/request", &ask).await.assert_see_other("/sign-in");
    let asked = path(2).await;
    stranger.visit(&made).await.assert_ok();
    grace.submit(&by_operator, &[]).await.assert_see_other("/operator/users");
    stranger.visit(&path(3).await).await.assert_ok();
    stranger.visit(&asked).await.assert_ok();
    stranger.visit(&made).await.assert_status(404);

    // Too many requests are refused, and earlier links stay valid.
    let ask = || {
        let user = UserId(ada.user_id);
        app.tx(|tx| account::ask_reset(tx, &Operator::at_the_console(), user))
    };
    assert!(ask().is_ok() && ask().is_ok());
    assert!(matches!(ask(), Err(Error::Conflict(_))));
    stranger.visit(&asked).await.assert_ok();
    app.advance(TimeDelta::hours(24));
    assert!(ask().is_ok());
}

#[actix_web::test]
async fn a_temporarily_refused_mail_is_retried_and_a_permanently_refused_one_is_not() {
    let mailbox = Mailbox::start().await;
    let app = app(&mailbox).await;
    let program = app.program().await;
    let invite = async |email: &str| {
        let ask = json!({"email": email, "role": "viewer"});
        program.post_json("/api/tenants/1/invitations", ask).await.assert_status(201);
    };
    mailbox.refuse("451 later");
    invite("later@example.com").await;
    while !mailbox.has_refused() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    // The mail is not retried before its time.
    invite("other@example.com").await;
    assert_eq!(mailbox.wait_for(1).await[0].to, "other@example.com");
    app.advance(TimeDelta::minutes(20));
    assert_eq!(mailbox.wait_for(2).await[1].to, "later@example.com");

    mailbox.refuse("550 no such person");
    invite("never@example.com").await;
    until_none_waits(&app).await;
    assert!(mailbox.has_refused() && mailbox.letters().len() == 2);
}

#[actix_web::test]
async fn a_mail_waits_sealed_until_the_mail_server_is_reachable() {
    // No mail server listens at this address.
    let app = TestApp::start_with(&[("GATEPOST_SMTP_URL", "smtp://127.0.0.1:9")]).await;
    let program = app.program().await;
    let ask = json!({"email": "grace@example.com", "role": "viewer"});
    program.post_json("/api/tenants/1/invitations", ask).await.assert_status(201);
    let kept: Vec<Vec<u8>> = mails::table.select(mails::sealed).load(&mut app.conn()).unwrap();
    assert_eq!(kept.len(), 1);
    let is_inside = |text: &[u8]| kept[0].windows(text.len()).any(|part| part == text);
    assert!(kept[0].len() > 200 && !is_inside(b"token=") && !is_inside(b"invitation"));
    // Without a mail server, no mail is stored, and the sign-in page does not offer reset links.
    let without = TestApp::start().await;
    without
        .program()
        .await
        .post_json("/api/tenants/1/invitations", json!({"email": "x@example.com", "role": "viewer"}))
        .await
        .assert_status(201);
    assert_eq!(waiting(&without), 0);
    without.stranger().visit("/password-reset/request").await.assert_status(404);
    assert!(!without.stranger().visit("/sign-in").await.html().has("a[href='/password-reset/request']"));
}

/// Invites this address. Returns the inviter and their program.
async fn invite(app: &TestApp, email: &str) -> (Person, Person) {
    let ada = app.admin("ada").await;
    let program = app.token_of(&ada, &["*"]);
    let ask = json!({"email": email, "role": "developer"});
    program.post_json("/api/tenants/1/invitations", ask).await.assert_status(201);
    (ada, program)
}

/// Waits until the mail of the only invitation has this state, and returns the invitation.
async fn until_mail_is(program: &Person, state: &str, error: &str) -> serde_json::Value {
    let mut invitation = json!(null);
    for _ in 0..500 {
        invitation = program.get("/api/tenants/1/invitations").await.assert_ok().json()["data"][0].clone();
        let has_error = invitation["mail_error"].as_str().unwrap_or_default().contains(error);
        if invitation["mail_state"] == state && has_error {
            return invitation;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{state} was expected: {invitation}");
}

#[actix_web::test]
async fn an_invitation_to_an_international_domain_arrives() {
    let mailbox = Mailbox::start().await;
    let app = app(&mailbox).await;
    let (_, program) = invite(&app, "Ada.L@b\u{fc}cher.example").await;
    let letter = mailbox.wait_for(1).await.remove(0);
    assert_eq!(letter.to, "ada.l@xn--bcher-kva.example");
    until_mail_is(&program, "sent", "").await;
    // Both spellings of the domain find the account.
    let token = link(&letter.text()).split_once("token=").unwrap().1.to_owned();
    let join = [("token", token.as_str()), ("name", "Grace"), ("password", PASSWORD)];
    app.stranger().submit("/invitation", &join).await.assert_see_other("/");
    for email in ["ada.l@xn--bcher-kva.example", "ADA.L@BU\u{308}CHER.example"] {
        let signed_in = app.stranger().submit("/sign-in", &[("email", email), ("password", PASSWORD)]).await;
        signed_in.assert_see_other("/");
    }
}

#[actix_web::test]
async fn a_refused_recipient_is_shown_at_the_invitation() {
    let mailbox = Mailbox::start().await;
    mailbox.refuse_recipient("550 5.1.1 no such\u{9}user <b>here</b>");
    let app = app(&mailbox).await;
    let (ada, program) = invite(&app, "grace@example.com").await;
    until_mail_is(&program, "failed", "550").await;
    until_none_waits(&app).await;
    let list = ada.visit("/members").await.assert_ok().html().text("[data-label=Mail]");
    assert!(list.contains("Failed") && list.contains("no such user <b>here</b>"), "{list}");
    let log = ada.visit("/audit").await.assert_ok().html().all_text();
    assert!(log.contains("Failed to mail a link"), "{log}");
}

#[actix_web::test]
async fn an_invitation_shows_why_its_mail_still_waits() {
    let mailbox = Mailbox::start().await;
    mailbox.refuse("451 greylisted");
    let app = app(&mailbox).await;
    let (_, program) = invite(&app, "grace@example.com").await;
    until_mail_is(&program, "waiting", "451").await;
}

#[actix_web::test]
async fn no_mail_goes_to_the_mailbox_inside_an_odd_address_of_an_older_account() {
    let mailbox = Mailbox::start().await;
    let app = app(&mailbox).await;
    let ada = app.viewer("ada").await;
    let rename = "UPDATE users SET email = '<ada@b.example>' WHERE id = $1";
    let rename = diesel::sql_query(rename).bind::<diesel::sql_types::BigInt, _>(ada.user_id);
    rename.execute(&mut app.conn()).unwrap();
    let asked = app.stranger().submit("/password-reset/request", &[("email", "<Ada@b.example>")]).await;
    asked.assert_see_other("/sign-in");
    let signed_in = app.stranger().submit("/sign-in", &[("email", " <Ada@b.example>"), ("password", PASSWORD)]).await;
    signed_in.assert_see_other("/");
    let given_up = || {
        let entries = audit_entries::table.filter(audit_entries::action.eq("mail.failed"));
        entries.count().get_result::<i64>(&mut app.conn()).unwrap()
    };
    for _ in 0..500 {
        if given_up() == 1 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!((given_up(), mailbox.letters().len()), (1, 0));
}
