//! Operators' pages about tenants, a tenant's own settings, and switching between tenants.

use gatepost::domain::{Role, UserId};

use crate::support::{Person, TestApp};

/// Returns the session cookie, which every page sends again.
async fn cookie(person: &Person) -> String {
    person.visit("/").await.header("set-cookie").split(';').next().unwrap().to_owned()
}

#[actix_web::test]
async fn an_operator_creates_finds_suspends_deletes_and_restores_a_tenant() {
    let app = TestApp::start().await;
    let grace = app.operator("grace").await;
    grace
        .submit("/operator/tenants", &[("name", "Borealis Labs"), ("plan", "pro")])
        .await
        .assert_see_other("/operator/tenants/2");
    let taken = grace.submit("/operator/tenants", &[("name", "Other"), ("slug", "borealis-labs")]).await;
    assert!(taken.assert_status(422).html().error_at("slug").contains("taken"));
    let found = grace.visit("/operator/tenants?q=OREAL").await.html();
    assert_eq!(found.texts("tbody .cell-name"), ["Borealis Labs"]);
    assert_eq!(found.texts("tbody [data-label=Plan]"), ["pro"]);
    assert!(grace.visit("/operator/tenants?q=100%25_").await.html().has(".empty a[href='/operator/tenants']"));

    let act = |act: &str| format!("/operator/tenants/2/{act}");
    grace.submit(act("suspension"), &[("reason", "not paid")]).await.assert_see_other("/operator/tenants/2");
    assert!(grace.visit("/operator/tenants/2").await.html().text(".notice-warn").contains("not paid"));
    let long = grace.submit(act("suspension"), &[("reason", &"x".repeat(201))]).await;
    assert!(long.assert_status(422).body.contains("at most 200 characters"));
    assert_eq!(
        grace.visit("/operator/tenants?state=suspended").await.html().texts("tbody .cell-name"),
        ["Borealis Labs"]
    );
    grace.submit(act("deletion"), &[("confirmation", "Borealis Labs")]).await.assert_status(422);
    grace.submit(act("deletion"), &[("confirmation", "borealis-labs")]).await.assert_see_other("/operator/tenants/2");
    assert_eq!(grace.visit("/operator/tenants").await.html().texts("tbody .cell-name"), ["acme"]);
    assert!(grace.visit("/operator/tenants/2").await.html().text(".notice-bad").contains("This tenant is deleted"));
    grace.submit("/tenant", &[("tenant", "2")]).await.assert_status(404);
    grace.submit(act("restoration"), &[]).await.assert_see_other("/operator/tenants/2");
    let back = grace.visit("/operator/tenants/2").await.html();
    assert!(back.text("[role=status]").contains("is restored in its former state: suspended."));
    grace.submit(act("activation"), &[]).await.assert_see_other("/operator/tenants/2");
    grace
        .submit("/operator/tenants/2", &[("name", "Boreal"), ("plan", "free")])
        .await
        .assert_see_other("/operator/tenants/2");
    assert_eq!(grace.visit("/operator/tenants/2").await.html().text("h1"), "Boreal");
}

#[actix_web::test]
async fn concurrent_changes_of_a_tenant_do_not_overwrite_each_other_unnoticed() {
    let app = TestApp::start().await;
    let (grace, oscar) = (app.operator("grace").await, app.operator("oscar").await);
    let seen = grace.visit("/operator/tenants/1").await.html().value("seen");
    app.advance(chrono::TimeDelta::seconds(1));
    let save = async |person: &Person, plan: &str, seen: &str| {
        person.submit("/operator/tenants/1", &[("name", "acme"), ("plan", plan), ("seen", seen)]).await
    };
    save(&oscar, "pro", &seen).await.assert_see_other("/operator/tenants/1");
    let refused = save(&grace, "free", &seen).await.assert_status(409).html();
    assert!(refused.text("main [role=alert]").contains("This tenant was changed while you edited it"));
    app.advance(chrono::TimeDelta::seconds(1));
    save(&grace, "free", &refused.value("seen")).await.assert_see_other("/operator/tenants/1");
    assert_eq!(grace.visit("/operator/tenants").await.html().texts("tbody [data-label=Plan]"), ["free"]);
}

#[actix_web::test]
async fn a_tenant_s_audit_log_shows_an_operator_who_entered_it() {
    let app = TestApp::start().await;
    let beta = app.make_tenant("beta");
    let ada = app.person("ada", beta, Role::Admin).await;
    let grace = app.operator("grace").await;
    grace.visit("/").await.assert_ok();
    assert!(!ada.visit("/audit?action=tenant.entered").await.html().has("tbody tr"), "grace is in acme");

    grace.submit("/tenant", &[("tenant", &beta.to_string())]).await.assert_see_other("/");
    grace.visit("/keys").await.assert_ok();
    grace.visit("/webhooks").await.assert_ok();

    let log = ada.visit("/audit?action=tenant.entered").await.html();
    assert_eq!(log.texts("tbody .cell-main > b"), ["Entered a tenant as an operator: beta"]);
    assert!(log.all_text().contains("grace@example.com"));
    // A member's visit writes no audit entry about entering the tenant.
    ada.visit("/").await.assert_ok();
    assert_eq!(ada.visit("/audit?action=tenant.entered").await.html().select("tbody tr").len(), 1);
}

#[actix_web::test]
async fn an_operator_can_enter_a_tenant_beyond_the_first_hundred() {
    let app = TestApp::start().await;
    let grace = app.operator("grace").await;
    diesel::RunQueryDsl::execute(
        diesel::sql_query(
            "INSERT INTO tenants (name, slug, created_at, updated_at)
             SELECT 't' || n, 't' || n, now(), now() FROM generate_series(1, 120) n",
        ),
        &mut app.conn(),
    )
    .unwrap();
    grace.submit("/tenant", &[("tenant", "121")]).await.assert_see_other("/");
    assert!(grace.visit("/").await.html().all_text().contains("You are now in t120."));
}

#[actix_web::test]
async fn a_session_gets_a_new_key_when_its_rights_change() {
    let app = TestApp::start().await;
    let otto = app.owner("otto").await;
    let dan = app.developer("dan").await;
    let first = cookie(&dan).await;
    assert_eq!(cookie(&dan).await, first, "nothing has changed");

    otto.submit(format!("/members/{}/role", dan.user_id), &[("role", "admin")]).await.assert_see_other("/members");

    let second = cookie(&dan).await;
    assert_ne!(first, second);
    assert_eq!(sessions_of(&app, dan.user_id), 1, "the old key is of nobody");
    app.stranger().with("cookie", &first).visit("/members").await.assert_see_other("/sign-in?back=%2Fmembers");
    dan.visit("/members").await.assert_ok();
    // The person's role differs in the other tenant.
    let beta = app.make_tenant("beta");
    app.make_member(beta, UserId(dan.user_id), Role::Viewer);
    dan.submit("/tenant", &[("tenant", &beta.to_string())]).await.assert_see_other("/");
    assert_ne!(cookie(&dan).await, second);
    app.stranger().with("cookie", &second).visit("/").await.assert_see_other("/sign-in");
}

fn sessions_of(app: &TestApp, user: i64) -> i64 {
    use diesel::prelude::*;
    use gatepost::schema::sessions;
    sessions::table.filter(sessions::user_id.eq(UserId(user))).count().get_result(&mut app.conn()).unwrap()
}

#[actix_web::test]
async fn admins_change_settings_and_new_objects_use_them() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let form = ada.visit("/settings").await.html();
    assert_eq!(
        (form.value("name"), form.value("key_prefix"), form.value("time_zone")),
        ("acme".into(), "sk".into(), String::new())
    );
    let seen = form.value("seen");
    let zone = |zone| [("name", "Acme Ltd"), ("key_prefix", "acme"), ("time_zone", zone), ("seen", seen.as_str())];
    for wrong in ["Europe/Nowhere", "../etc/passwd"] {
        let refused = ada.submit("/settings", &zone(wrong)).await;
        assert!(refused.assert_status(422).html().error_at("time_zone").contains("Europe/Vienna"), "{wrong}");
    }
    ada.submit("/settings", &zone("Europe/Vienna")).await.assert_see_other("/settings");

    let page = ada.visit("/settings").await.html();
    assert!(page.has(".page[data-time-zone='Europe/Vienna']") && page.text(".nav .truncate").contains("Acme Ltd"));
    let key = app.token_of(&ada, &["*"]).post_json("/api/keys", serde_json::json!({"name": "ci"})).await;
    assert!(key.assert_status(201).json()["secret"].as_str().unwrap().starts_with("acme_"));
    let log = ada.visit("/audit?action=tenant.updated").await;
    assert!(log.body.contains("Europe/Vienna") && log.html().select("tbody tr").len() == 1);
    let dan = app.developer("dan").await;
    dan.visit("/settings").await.assert_status(403);
    assert!(!dan.visit("/").await.html().has("nav a[href='/settings']"));
}

#[actix_web::test]
async fn concurrent_changes_of_settings_do_not_overwrite_each_other_unnoticed() {
    let app = TestApp::start().await;
    let (ada, otto) = (app.admin("ada").await, app.owner("otto").await);
    let seen = ada.visit("/settings").await.html().value("seen");
    app.advance(chrono::TimeDelta::seconds(1));
    let save = |name, seen: &str| {
        [("name", name), ("key_prefix", "sk"), ("time_zone", "")]
            .into_iter()
            .chain([("seen", seen.to_owned().leak() as &str)])
            .collect::<Vec<_>>()
    };
    otto.submit("/settings", &save("Otto's", &seen)).await.assert_see_other("/settings");

    let refused = ada.submit("/settings", &save("Ada's", &seen)).await;

    let page = refused.assert_status(409).html();
    assert!(page.text("[role=alert]").contains("Name: Otto's") && page.value("name") == "Ada's");
    assert_eq!(otto.visit("/settings").await.html().value("name"), "Otto's");
    app.advance(chrono::TimeDelta::seconds(1));
    ada.submit("/settings", &save("Ada's", &page.value("seen"))).await.assert_see_other("/settings");
    assert_eq!(otto.visit("/settings").await.html().value("name"), "Ada's");
}

#[actix_web::test]
async fn an_owner_deletes_their_tenant_by_typing_its_slug() {
    let app = TestApp::start().await;
    let (ada, otto) = (app.admin("ada").await, app.owner("otto").await);
    assert!(!ada.visit("/settings").await.html().has("a[href='/settings/deletion']"));
    ada.submit("/settings/deletion", &[("confirmation", "acme")]).await.assert_status(403);
    otto.submit("/settings/deletion", &[("confirmation", "yes")]).await.assert_status(422);
    otto.submit("/settings/deletion", &[("confirmation", "acme")]).await.assert_see_other("/");
    // The person is not in any tenant now, and still has an account.
    otto.visit("/").await.assert_see_other("/account");
    let account = otto.visit("/account").await.assert_ok().html();
    assert!(account.all_text().contains("not a member of any tenant"));
    otto.visit("/keys").await.assert_status(403);
}

#[actix_web::test]
async fn members_of_a_suspended_tenant_see_the_reason() {
    let app = TestApp::start().await;
    let (ada, grace) = (app.admin("ada").await, app.operator("grace").await);
    grace.submit("/operator/tenants/1/suspension", &[("reason", "not paid")]).await.assert_status(303);
    let page = ada.visit("/keys").await.assert_ok().html();
    let notice = page.text("main .notice-page");
    assert!(notice.contains("suspended") && notice.contains("not paid"), "{notice}");
    grace.submit("/operator/tenants/1/activation", &[]).await.assert_status(303);
    assert!(!ada.visit("/keys").await.html().has("main .notice-page"));
}

#[actix_web::test]
async fn the_tenant_switcher_of_an_operator_links_to_all_tenants() {
    let app = TestApp::start().await;
    app.make_tenant("globex");
    let link = ".tenant-list a[href='/operator/tenants']";
    assert!(app.operator("grace").await.visit("/").await.assert_ok().html().has(link));
}
