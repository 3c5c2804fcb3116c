//! Page about members, and joining by an invitation.

use chrono::TimeDelta;
use gatepost::domain::{Role, UserId};
use serde_json::json;

use crate::support::people::PASSWORD;
use crate::support::{Answer, Person, TestApp};

async fn invite(person: &Person, email: &str, role: &str) -> Answer {
    let form = person.visit("/members/invitations/new").await.html();
    let (token, nonce) = (form.value("_csrf"), form.value("nonce"));
    let fields = [("_csrf", token.as_str()), ("nonce", &nonce), ("email", email), ("role", role), ("days", "7")];
    person.submit_exactly("/members/invitations", &fields).await
}

/// Returns the path of the link that the page shows once.
fn link(answer: &Answer) -> String {
    let link: String = answer.assert_ok().html().select("#invitation-link")[0].text().collect();
    link.strip_prefix("http://127.0.0.1:8000").unwrap().to_owned()
}

fn token(link: &str) -> &str {
    link.split_once("token=").unwrap().1
}

async fn join(app: &TestApp, link: &str, name: &str) -> (Person, Answer) {
    let guest = app.stranger();
    let answer = guest.submit("/invitation", &[("token", token(link)), ("name", name), ("password", PASSWORD)]).await;
    (guest, answer)
}

#[actix_web::test]
async fn a_new_person_joins_by_a_link_that_is_shown_once_and_works_once() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;

    let made = invite(&ada, " Grace@Example.com", "developer").await;

    let link = link(&made);
    assert_eq!((made.header("cache-control"), made.header("referrer-policy")), ("no-store", "no-referrer"));
    let list = ada.visit("/members").await;
    assert!(!list.body.contains(token(&link)) && list.html().all_text().contains("grace@example.com"));
    let (grace, joined) = join(&app, &link, "Grace").await;
    joined.assert_see_other("/");
    let home = grace.visit("/").await.assert_ok().html();
    assert!(home.all_text().contains("Welcome to acme.") && home.text(".nav-user-who").contains("developer"));
    let members = ada.visit("/members").await.html();
    assert_eq!(members.texts("tbody [data-label=Role]"), ["Developer", "Admin"]);
    app.stranger().visit(&link).await.assert_status(404);
    let log = ada.visit("/audit?action=member.joined").await.html();
    assert_eq!(log.texts("tbody .cell-main > b"), ["Joined the tenant: grace@example.com"]);
    app.sign_in("grace", UserId(0)).await;
}

#[actix_web::test]
async fn a_person_with_an_account_joins_with_it_and_no_other_person_can() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let user = app.make_user("grace", false);
    let grace = app.sign_in("grace", user).await;
    let eve = app.viewer("eve").await;
    let link = link(&invite(&ada, "grace@example.com", "viewer").await);

    let unknown = app.stranger().visit(&link).await.html();
    assert!(unknown.has("a[href^='/sign-in?back=%2Finvitation']") && !unknown.has("[name=password]"));
    assert!(eve.visit(&link).await.html().text("[role=alert]").contains("signed in as eve@example.com"));
    eve.submit("/invitation", &[("token", token(&link))]).await.assert_status(403);
    let csrf = grace.visit(&link).await.html().value("_csrf");
    let fields = [("_csrf", csrf.as_str()), ("token", token(&link))];
    grace.submit_exactly("/invitation", &fields).await.assert_see_other("/");

    assert!(grace.visit("/").await.assert_ok().html().text(".nav-user-who").contains("viewer"));
    // A member cannot be invited again, and a visitor's form creates no second account.
    let refused = invite(&ada, "grace@example.com", "viewer").await.assert_status(422).html();
    assert_eq!(refused.error_at("email"), "Email already belongs to a member.");
}

#[actix_web::test]
async fn a_link_ends_when_it_expires_or_is_revoked() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let (old, unwanted) =
        (link(&invite(&ada, "a@example.com", "viewer").await), link(&invite(&ada, "b@example.com", "viewer").await));
    ada.visit("/members/invitations/2/revocation").await.assert_ok();
    ada.submit("/members/invitations/2/revocation", &[]).await.assert_see_other("/members");
    app.stranger().visit(&unwanted).await.assert_status(404);
    app.stranger().visit(&old).await.assert_ok();
    app.advance(TimeDelta::days(7));
    app.stranger().visit(&old).await.assert_status(404);
    let (_, late) = join(&app, &unwanted, "Eve").await;
    late.assert_status(404);
}

#[actix_web::test]
async fn when_two_people_accept_an_invitation_at_once_one_joins() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let link = link(&invite(&ada, "grace@example.com", "viewer").await);
    let (one, two) = (app.stranger(), app.stranger());
    let mut racers = Vec::new();
    for person in [one, two] {
        let csrf = person.visit(&link).await.html().value("_csrf");
        let token = token(&link).to_owned();
        racers.push(async move {
            let fields = [("_csrf", csrf.as_str()), ("token", &token), ("name", "Grace"), ("password", PASSWORD)];
            person.submit_exactly("/invitation", &fields).await.status
        });
    }
    let mut answers = futures_util::future::join_all(racers).await;
    answers.sort_unstable();
    assert_eq!(answers, [303, 404]);
    assert_eq!(ada.visit("/members").await.html().select("tbody tr").len(), 2);
}

#[actix_web::test]
async fn a_removed_member_loses_access_at_once_and_their_keys_stay() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let dan = app.developer("dan").await;
    let token = app.token_of(&dan, &["*"]);
    let key = token.post_json("/api/keys", json!({"name": "ci"})).await.assert_status(201).json();
    let secret = key["secret"].as_str().unwrap().to_owned();
    dan.visit("/keys").await.assert_ok();

    ada.visit(format!("/members/{}/removal", dan.user_id)).await.assert_ok();
    ada.submit(format!("/members/{}/removal", dan.user_id), &[]).await.assert_see_other("/members");

    dan.visit("/keys").await.assert_status(403);
    token.get("/api/keys").await.assert_problem(401, "unauthenticated");
    app.key(&secret).get("/protected/").await.assert_ok();
    // A person who joins again does not get their old tokens back.
    app.make_member(app.tenant, UserId(dan.user_id), Role::Developer);
    app.running().state.hear(&gatepost::store::notify::Change::Access);
    dan.visit("/keys").await.assert_ok();
    token.get("/api/keys").await.assert_problem(401, "unauthenticated");
}

#[actix_web::test]
async fn only_owners_add_owners_and_a_tenant_keeps_one() {
    let app = TestApp::start().await;
    let otto = app.owner("otto").await;
    let ada = app.admin("ada").await;
    let dan = app.developer("dan").await;
    let role = |id: i64| format!("/members/{id}/role");

    // An admin can neither create owners nor change one.
    ada.submit(role(dan.user_id), &[("role", "owner")]).await.assert_status(403);
    ada.submit(role(otto.user_id), &[("role", "viewer")]).await.assert_status(403);
    ada.submit(format!("/members/{}/removal", otto.user_id), &[]).await.assert_status(403);
    invite(&ada, "x@example.com", "owner").await.assert_status(403);
    let offered = ada.visit(role(dan.user_id)).await.html().texts("select[name=role] option");
    assert_eq!(offered.len(), 3, "{offered:?}");
    // The last owner cannot be removed.
    otto.submit(role(otto.user_id), &[("role", "admin")]).await.assert_see_other("/members");
    assert!(otto.visit("/members").await.html().text("[role=alert]").contains("needs an owner"));
    otto.submit(format!("/members/{}/removal", otto.user_id), &[]).await.assert_see_other("/members");
    assert_eq!(otto.visit("/members").await.html().texts("tbody [data-label=Role]"), ["Developer", "Admin", "Owner"]);

    otto.submit(role(dan.user_id), &[("role", "owner")]).await.assert_see_other("/members");
    otto.submit(role(otto.user_id), &[("role", "admin")]).await.assert_see_other("/members");
    assert_eq!(dan.visit("/members").await.html().texts("tbody [data-label=Role]"), ["Owner", "Admin", "Admin"]);
    let log = dan.visit("/audit?action=member.role_changed").await.html();
    assert!(log.texts("tbody dd").contains(&"developer → owner".to_owned()));
}

#[actix_web::test]
async fn when_both_owners_leave_at_once_one_has_to_stay() {
    let app = TestApp::start().await;
    let (otto, olga) = (app.owner("otto").await, app.owner("olga").await);
    let leave = |person: Person| async move {
        let token = person.form_token().await;
        let path = format!("/members/{}/role", person.user_id);
        person.submit_exactly(path, &[("_csrf", token.as_str()), ("role", "viewer")]).await.status
    };
    futures_util::join!(leave(otto), leave(olga));
    let mut conn = app.conn();
    let owners = gatepost::store::memberships::list(&mut conn, app.tenant).unwrap();
    assert_eq!(owners.iter().filter(|(member, _)| member.role == Role::Owner).count(), 1);
}

#[actix_web::test]
async fn a_member_who_loses_a_right_loses_the_invitations_that_needed_it() {
    let app = TestApp::start().await;
    let otto = app.owner("otto").await;
    let ada = app.admin("ada").await;
    let link = link(&invite(&ada, "grace@example.com", "admin").await);
    otto.submit(format!("/members/{}/role", ada.user_id), &[("role", "viewer")]).await.assert_see_other("/members");
    app.stranger().visit(&link).await.assert_status(404);
    ada.visit("/members").await.assert_status(403);
}

#[actix_web::test]
async fn an_empty_form_says_what_is_missing() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let page = invite(&ada, "", "king").await.assert_status(422).html();
    assert_eq!(page.error_at("email"), "Email is required.");
    assert!(!page.error_at("role").is_empty());
    let link = link(&invite(&ada, "grace@example.com", "viewer").await);
    let guest = app.stranger();
    let csrf = guest.visit(&link).await.html().value("_csrf");
    let fields = [("_csrf", csrf.as_str()), ("token", token(&link)), ("name", "Grace"), ("password", "short")];
    let again = guest.submit_exactly("/invitation", &fields).await.assert_status(422).html();
    assert!(again.error_at("password").contains("15") && again.value("name") == "Grace");
}

#[actix_web::test]
async fn members_are_searched_and_paged() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    for n in 0..60 {
        app.make_member(app.tenant, app.make_user(&format!("member{n:02}"), false), Role::Viewer);
    }
    let first = ada.visit("/members").await.html();
    assert_eq!(
        (first.select("tbody tr").len(), first.texts("tbody small").remove(0)),
        (50, "member59@example.com".into())
    );
    let next = first.select(".pager a[rel=next]")[0].value().attr("href").unwrap().to_owned();
    let second = ada.visit(&next).await.html();
    assert_eq!(
        (second.select("tbody tr").len(), second.texts("tbody small").pop().unwrap()),
        (11, "ada@example.com".into())
    );
    let found = ada.visit("/members?q=MEMBER07").await.html();
    assert_eq!(found.texts("tbody small"), ["member07@example.com"]);
    assert!(ada.visit("/members?q=nobody").await.html().has(".empty a[href='/members']"));
    let token = app.token_of(&ada, &["members:read"]);
    let page = token.get("/api/tenants/1/members?limit=10&q=member5").await.assert_ok().json();
    assert_eq!(
        (page["data"].as_array().unwrap().len(), page["data"][0]["email"].clone()),
        (10, json!("member59@example.com"))
    );
    let rest = format!(
        "/api/tenants/1/members?limit=100&cursor={}",
        token.get("/api/tenants/1/members?limit=50").await.json()["next_cursor"].as_str().unwrap()
    );
    assert_eq!(token.get(rest).await.assert_ok().json()["data"].as_array().unwrap().len(), 11);
}
