//! One-time links: they end when their creator loses the right. Tests cover every kind of link and every loss of a
//! right.

use diesel::connection::{AnsiTransactionManager, TransactionManager};
use diesel::prelude::*;
use gatepost::domain::{Actor, Error, UserId};
use gatepost::schema::{invitations as invitation_rows, one_time_links, users};
use gatepost::services::accounts::{self, UserChange};
use gatepost::services::{Operator, account, invitations};
use gatepost::store::Tx;
use serde_json::json;

use crate::support::{Person, TestApp};

const NEW_PASSWORD: &str = "another horse and another staple";

/// Link as its receiver gets it: `/password-reset?token=…` or `/invitation?token=…`.
#[derive(Clone)]
struct Link(String);

impl Link {
    fn of(text: &str) -> Self {
        Self(text.strip_prefix("http://127.0.0.1:8000").unwrap().to_owned())
    }

    fn token(&self) -> &str {
        self.0.split_once("token=").unwrap().1
    }

    /// Uses the link, and returns 303 if it is valid.
    async fn follow(&self, app: &TestApp) -> u16 {
        let path = self.0.split_once('?').unwrap().0;
        let fields = [("token", self.token()), ("password", NEW_PASSWORD), ("name", "Guest")];
        let fields = if path == "/invitation" { &fields[..] } else { &fields[..2] };
        app.stranger().submit(path, fields).await.status
    }

    #[track_caller]
    fn assert_answers(&self, status: u16, expected: u16) {
        assert_eq!(status, expected, "{}", self.0.split_once('?').unwrap().0);
    }

    async fn assert_ended(&self, app: &TestApp) {
        let shown = app.stranger().visit(&self.0).await.status;
        self.assert_answers(shown, 404);
        self.assert_answers(self.follow(app).await, 404);
    }

    async fn assert_works(&self, app: &TestApp) {
        self.assert_answers(self.follow(app).await, 303);
    }
}

/// Creates a reset link as an operator, on the page of users.
async fn reset_by(operator: &Person, user: i64) -> Link {
    let made = operator.submit(format!("/operator/users/{user}/reset-link"), &[]).await;
    let link: String = made.assert_ok().html().select("#reset-link")[0].text().collect();
    Link::of(&link)
}

/// Creates an invitation on the page of members, in the person's current tenant.
async fn invitation_on_page(person: &Person, email: &str, role: &str) -> Link {
    let form = person.visit("/members/invitations/new").await.html();
    let (token, nonce) = (form.value("_csrf"), form.value("nonce"));
    let fields = [("_csrf", token.as_str()), ("nonce", &nonce), ("email", email), ("role", role), ("days", "30")];
    let made = person.submit_exactly("/members/invitations", &fields).await;
    let link: String = made.assert_ok().html().select("#invitation-link")[0].text().collect();
    Link::of(&link)
}

/// Creates an invitation in the API, with a token of this person.
async fn invitation_by_api(program: &Person, app: &TestApp, email: &str, role: &str) -> Link {
    let ask = json!({"email": email, "role": role});
    let path = format!("/api/tenants/{}/invitations", app.tenant);
    Link::of(program.post_json(path, ask).await.assert_status(201).json()["link"].as_str().unwrap())
}

/// Operator with one link of every kind that operators can create.
struct OperatorLinks {
    oscar: Person,
    links: Vec<Link>,
}

async fn links_of_an_operator(app: &TestApp) -> OperatorLinks {
    let (oscar, other) = (app.operator("oscar").await, app.make_user("other", true));
    let everywhere = app.instance_token_of(&oscar, &["*"]);
    let links = vec![
        reset_by(&oscar, other.0).await,
        invitation_on_page(&oscar, "page@example.com", "owner").await,
        invitation_by_api(&everywhere, app, "api@example.com", "viewer").await,
    ];
    OperatorLinks { oscar, links }
}

async fn operator_action(operator: &Person, user: i64, act: &str) {
    let path = format!("/operator/users/{user}/{act}");
    operator.submit(path, &[]).await.assert_see_other("/operator/users");
}

fn change(app: &TestApp, user: i64, change: UserChange) {
    let console = Operator::at_the_console();
    app.tx(|tx| accounts::update(tx, &console, UserId(user), change)).unwrap();
}

#[actix_web::test]
async fn links_work_while_their_creator_is_an_operator() {
    let app = TestApp::start().await;
    for link in links_of_an_operator(&app).await.links {
        link.assert_works(&app).await;
    }
}

#[actix_web::test]
async fn links_of_an_operator_end_with_their_demotion() {
    let app = TestApp::start().await;
    let grace = app.operator("grace").await;
    let made = links_of_an_operator(&app).await;
    operator_action(&grace, made.oscar.user_id, "demotion").await;
    for link in &made.links {
        link.assert_ended(&app).await;
    }
    assert_eq!(grace.visit("/members").await.html().texts("[aria-labelledby=invited] tbody tr"), [""; 0]);
}

#[actix_web::test]
async fn links_of_an_operator_end_with_their_deactivation_on_the_page() {
    let app = TestApp::start().await;
    let grace = app.operator("grace").await;
    let made = links_of_an_operator(&app).await;
    operator_action(&grace, made.oscar.user_id, "deactivation").await;
    for link in &made.links {
        link.assert_ended(&app).await;
    }
}

#[actix_web::test]
async fn links_of_an_operator_end_with_their_deactivation_by_the_api() {
    let app = TestApp::start().await;
    let grace = app.operator("grace").await;
    let made = links_of_an_operator(&app).await;
    let program = app.instance_token_of(&grace, &["*"]);
    let path = format!("/api/users/{}", made.oscar.user_id);
    program.patch_json(path, json!({"is_active": false})).await.assert_ok();
    for link in &made.links {
        link.assert_ended(&app).await;
    }
}

#[actix_web::test]
async fn ended_links_stay_ended_when_the_right_comes_back() {
    let app = TestApp::start().await;
    let grace = app.operator("grace").await;
    let made = links_of_an_operator(&app).await;
    operator_action(&grace, made.oscar.user_id, "demotion").await;
    operator_action(&grace, made.oscar.user_id, "promotion").await;
    for link in &made.links {
        link.assert_ended(&app).await;
    }
}

#[actix_web::test]
async fn a_link_is_refused_however_its_creator_lost_the_right() {
    let app = TestApp::start().await;
    let made = links_of_an_operator(&app).await;
    // Changes the row directly, without a service: each use of a link checks the creator's current right.
    let row = users::table.find(made.oscar.user_id);
    diesel::update(row).set(users::is_operator.eq(false)).execute(&mut app.conn()).unwrap();
    for link in &made.links {
        link.assert_ended(&app).await;
    }
}

#[actix_web::test]
async fn a_demoted_operator_keeps_invitations_that_their_membership_allows() {
    let app = TestApp::start().await;
    let grace = app.operator("grace").await;
    let oscar = app.admin("oscar").await;
    change(&app, oscar.user_id, UserChange { is_operator: Some(true), ..UserChange::default() });
    let of_admin = invitation_on_page(&oscar, "viewer@example.com", "viewer").await;
    let of_operator = invitation_on_page(&oscar, "owner@example.com", "owner").await;
    operator_action(&grace, oscar.user_id, "demotion").await;
    of_operator.assert_ended(&app).await;
    of_admin.assert_works(&app).await;
}

/// Creates an invitation on the page and one in the API for each role.
async fn invitations_of_a_member(app: &TestApp, person: &Person, roles: &[&'static str]) -> Vec<(&'static str, Link)> {
    let program = app.token_of(person, &["*"]);
    let mut links = Vec::new();
    for role in roles {
        links.push((*role, invitation_on_page(person, &format!("page-{role}@example.com"), role).await));
        links.push((*role, invitation_by_api(&program, app, &format!("api-{role}@example.com"), role).await));
    }
    links
}

#[actix_web::test]
async fn invitations_of_a_member_end_with_their_removal() {
    let app = TestApp::start().await;
    let (otto, ada) = (app.owner("otto").await, app.admin("ada").await);
    let links = invitations_of_a_member(&app, &ada, &["viewer", "admin"]).await;
    otto.submit(format!("/members/{}/removal", ada.user_id), &[]).await.assert_see_other("/members");
    for (_, link) in &links {
        link.assert_ended(&app).await;
    }
}

#[actix_web::test]
async fn invitations_of_a_member_end_with_their_removal_by_the_api() {
    let app = TestApp::start().await;
    let (otto, ada) = (app.owner("otto").await, app.admin("ada").await);
    let links = invitations_of_a_member(&app, &ada, &["viewer"]).await;
    let path = format!("/api/tenants/{}/members/{}", app.tenant, ada.user_id);
    app.token_of(&otto, &["*"]).delete(path).await.assert_status(204);
    for (_, link) in &links {
        link.assert_ended(&app).await;
    }
}

#[actix_web::test]
async fn invitations_of_a_member_end_with_their_deactivation() {
    let app = TestApp::start().await;
    let (grace, ada) = (app.operator("grace").await, app.admin("ada").await);
    let links = invitations_of_a_member(&app, &ada, &["viewer"]).await;
    operator_action(&grace, ada.user_id, "deactivation").await;
    operator_action(&grace, ada.user_id, "activation").await;
    for (_, link) in &links {
        link.assert_ended(&app).await;
    }
}

#[actix_web::test]
async fn invitations_of_an_admin_end_when_they_become_a_developer() {
    let app = TestApp::start().await;
    let (otto, ada) = (app.owner("otto").await, app.admin("ada").await);
    let links = invitations_of_a_member(&app, &ada, &["viewer"]).await;
    let path = format!("/api/tenants/{}/members/{}", app.tenant, ada.user_id);
    app.token_of(&otto, &["*"]).patch_json(path, json!({"role": "developer"})).await.assert_ok();
    for (_, link) in &links {
        link.assert_ended(&app).await;
    }
}

#[actix_web::test]
async fn an_owner_who_becomes_an_admin_keeps_the_invitations_that_an_admin_can_make() {
    let app = TestApp::start().await;
    let (otto, olga) = (app.owner("otto").await, app.owner("olga").await);
    let links = invitations_of_a_member(&app, &olga, &["owner", "admin"]).await;
    otto.submit(format!("/members/{}/role", olga.user_id), &[("role", "admin")]).await.assert_see_other("/members");
    for (role, link) in &links {
        match *role {
            "owner" => link.assert_ended(&app).await,
            _ => link.assert_works(&app).await,
        }
    }
}

#[actix_web::test]
async fn invitations_do_not_work_while_their_tenant_is_deleted() {
    let app = TestApp::start().await;
    let grace = app.operator("grace").await;
    let ada = app.admin("ada").await;
    let mut links: Vec<_> =
        invitations_of_a_member(&app, &ada, &["viewer"]).await.into_iter().map(|(_, link)| link).collect();
    links.push(invitation_on_page(&grace, "operator@example.com", "owner").await);
    let path = format!("/operator/tenants/{}", app.tenant);
    let deletion = [("confirmation", "acme")];
    grace.submit(format!("{path}/deletion"), &deletion).await.assert_status(303);
    for link in &links {
        link.assert_ended(&app).await;
    }
    // After restoration, the links work again.
    grace.submit(format!("{path}/restoration"), &[]).await.assert_status(303);
    for link in &links {
        link.assert_works(&app).await;
    }
}

#[actix_web::test]
async fn invitations_to_a_deleted_tenant_end_with_the_right_of_their_inviter() {
    let app = TestApp::start().await;
    let (grace, oscar) = (app.operator("grace").await, app.operator("oscar").await);
    let link = invitation_on_page(&oscar, "guest@example.com", "owner").await;
    let path = format!("/operator/tenants/{}", app.tenant);
    grace.submit(format!("{path}/deletion"), &[("confirmation", "acme")]).await.assert_status(303);
    operator_action(&grace, oscar.user_id, "demotion").await;
    operator_action(&grace, oscar.user_id, "promotion").await;
    grace.submit(format!("{path}/restoration"), &[]).await.assert_status(303);
    link.assert_ended(&app).await;
}

#[actix_web::test]
async fn invitations_pause_while_their_tenant_is_suspended() {
    let app = TestApp::start().await;
    let grace = app.operator("grace").await;
    let ada = app.admin("ada").await;
    let link = invitation_on_page(&ada, "guest@example.com", "viewer").await;
    let path = format!("/operator/tenants/{}", app.tenant);
    grace.submit(format!("{path}/suspension"), &[("reason", "unpaid")]).await.assert_status(303);
    let shown = app.stranger().visit(&link.0).await;
    assert!(shown.assert_status(409).body.contains("suspended") && !shown.body.contains("unpaid"));
    assert_eq!(link.follow(&app).await, 409);
    grace.submit(format!("{path}/activation"), &[]).await.assert_status(303);
    link.assert_works(&app).await;
}

#[actix_web::test]
async fn reset_links_of_a_user_end_with_their_own_deactivation() {
    let app = TestApp::start().await;
    let grace = app.operator("grace").await;
    let ada = app.viewer("ada").await;
    let link = reset_by(&grace, ada.user_id).await;
    operator_action(&grace, ada.user_id, "deactivation").await;
    operator_action(&grace, ada.user_id, "activation").await;
    link.assert_ended(&app).await;
}

#[actix_web::test]
async fn links_of_the_console_have_no_creator_who_could_lose_a_right() {
    let app = TestApp::start().await;
    let ada = app.viewer("ada").await;
    let console = Operator::at_the_console();
    let token = app.tx(|tx| account::offer_reset(tx, &console, UserId(ada.user_id))).unwrap();
    let reset = Link(format!("/password-reset?token={token}"));
    let ask = invitations::InvitationRequest::parse("guest@example.com", "owner", ("days", None)).unwrap();
    let made = app.tx(|tx| invitations::create(tx, &Actor::system(app.tenant), &ask)).unwrap();
    let made_by: Vec<Option<UserId>> =
        one_time_links::table.select(one_time_links::created_by).load(&mut app.conn()).unwrap();
    assert!(made_by.iter().all(Option::is_none), "{made_by:?}");
    reset.assert_works(&app).await;
    Link(format!("/invitation?token={}", made.token)).assert_works(&app).await;
}

#[actix_web::test]
async fn a_person_without_the_right_cannot_create_a_reset_link() {
    let app = TestApp::start().await;
    let (dan, ada) = (app.make_user("dan", false), app.make_user("ada", false));
    let who = Operator { user: Some(dan), ..Operator::at_the_console() };
    let refused = app.tx(|tx| account::offer_reset(tx, &who, ada));
    assert!(matches!(refused, Err(Error::Forbidden { .. })), "{refused:?}");
}

/// Uses the link while a transaction that removes its creator's right is still open.
async fn follow_during(
    app: &TestApp,
    link: &Link,
    work: impl FnOnce(&mut Tx<'_>) -> gatepost::domain::Result<()>,
) -> u16 {
    let mut conn = app.conn();
    AnsiTransactionManager::begin_transaction(&mut conn).unwrap();
    Tx::run(&mut conn, app.clock.now(), work).unwrap();
    let commit = async {
        app.until_a_transaction_waits().await;
        AnsiTransactionManager::commit_transaction(&mut conn).unwrap();
    };
    futures_util::join!(link.follow(app), commit).0
}

#[actix_web::test]
async fn a_link_that_is_used_during_the_demotion_of_its_creator_is_refused() {
    let app = TestApp::start().await;
    let _grace = app.operator("grace").await;
    let made = links_of_an_operator(&app).await;
    let [reset, owner, _] = &made.links[..] else { panic!("three kinds of links") };
    let demote = |tx: &mut Tx<'_>| {
        let off = UserChange { is_operator: Some(false), ..UserChange::default() };
        accounts::update(tx, &Operator::at_the_console(), UserId(made.oscar.user_id), off).map(drop)
    };
    assert_eq!(follow_during(&app, reset, demote).await, 404);
    change(&app, made.oscar.user_id, UserChange { is_operator: Some(true), ..UserChange::default() });
    let again = invitation_on_page(&made.oscar, "again@example.com", "owner").await;
    owner.assert_ended(&app).await;
    assert_eq!(follow_during(&app, &again, demote).await, 404);
}

#[actix_web::test]
async fn an_invitation_that_is_used_during_the_removal_of_its_inviter_is_refused() {
    let app = TestApp::start().await;
    let (_otto, ada) = (app.owner("otto").await, app.admin("ada").await);
    let link = invitation_on_page(&ada, "guest@example.com", "viewer").await;
    let remove = |tx: &mut Tx<'_>| {
        let console = Actor::system(app.tenant);
        gatepost::services::members::remove(tx, &console, UserId(ada.user_id)).map(drop)
    };
    assert_eq!(follow_during(&app, &link, remove).await, 404);
}

#[actix_web::test]
async fn ended_invitations_are_in_the_audit_log_of_their_tenant() {
    let app = TestApp::start().await;
    let (grace, ada) = (app.operator("grace").await, app.admin("ada").await);
    invitation_on_page(&ada, "guest@example.com", "viewer").await;
    operator_action(&grace, ada.user_id, "deactivation").await;
    let log = grace.visit("/audit?action=invitation.revoked").await.html();
    assert_eq!(log.select("tbody tr").len(), 1);
    let open = invitation_rows::table.filter(invitation_rows::revoked_at.is_null());
    assert_eq!(open.count().get_result::<i64>(&mut app.conn()).unwrap(), 0);
}

#[actix_web::test]
async fn a_demoted_operator_loses_access_to_an_entered_tenant() {
    let app = TestApp::start().await;
    let (grace, oscar) = (app.operator("grace").await, app.operator("oscar").await);
    oscar.visit("/members").await.assert_ok();
    operator_action(&grace, oscar.user_id, "demotion").await;
    oscar.visit("/members").await.assert_status(403);
}

#[actix_web::test]
async fn an_inviter_does_not_accept_their_own_invitation() {
    let app = TestApp::start().await;
    let grace = app.operator("grace").await;
    let link = invitation_on_page(&grace, &grace.email, "owner").await;
    grace.submit("/invitation", &[("token", link.token())]).await.assert_status(409);
    let joined = "SELECT FROM memberships";
    assert_eq!(diesel::sql_query(joined).execute(&mut app.conn()), Ok(0));
}

#[actix_web::test]
async fn a_new_password_ends_reset_links_that_the_person_created() {
    let app = TestApp::start().await;
    let (oscar, dan) = (app.operator("oscar").await, app.make_user("dan", false));
    let link = reset_by(&oscar, dan.0).await;
    link.assert_works(&app).await;
    let fields = [("current_password", crate::support::people::PASSWORD), ("password", NEW_PASSWORD)];
    oscar.submit("/account/password", &fields).await.assert_see_other("/account");
    link.assert_ended(&app).await;
}
