//! Pages about a key's later life: rotation, restoration, bulk changes and lookup.

use chrono::TimeDelta;
use diesel::prelude::*;
use gatepost::domain::{Role, UserId};
use gatepost::schema::api_keys;
use serde_json::json;

use crate::support::secrets::mistyped;
use crate::support::{Answer, Person, TestApp};

struct CreatedKey {
    id: i64,
    public_id: String,
    hint: String,
    secret: String,
}

/// Creates keys of Ada in the API, since that is faster.
async fn create_keys(app: &TestApp, ada: &Person, names: &[&str]) -> Vec<CreatedKey> {
    let token = app.token_of(ada, &["*"]);
    let mut made = Vec::new();
    for name in names {
        let key = token.post_json("/api/keys", json!({"name": name})).await.assert_status(201).json();
        let text = |field: &str| key[field].as_str().unwrap().to_owned();
        made.push(CreatedKey {
            id: key["id"].as_i64().unwrap(),
            public_id: text("key"),
            hint: text("hint"),
            secret: text("secret"),
        });
    }
    made
}

async fn again(app: &TestApp, person: &Person) -> Person {
    let name = person.email.split('@').next().unwrap().to_owned();
    app.sign_in(&name, UserId(person.user_id)).await
}

fn secret_in(answer: &Answer) -> String {
    answer.html().select("#key-secret")[0].text().collect()
}

/// Rotates a key with the form and nonce of its page.
async fn rotate(person: &Person, id: i64, overlap: &str) -> (Vec<(&'static str, String)>, Answer) {
    let form = person.visit(format!("/keys/{id}")).await.assert_ok().html();
    let fields =
        vec![("_csrf", form.value("_csrf")), ("nonce", form.value("nonce")), ("overlap_seconds", overlap.to_owned())];
    let answer = send(person, id, &fields).await;
    (fields, answer)
}

async fn send(person: &Person, id: i64, fields: &[(&'static str, String)]) -> Answer {
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    person.submit_exactly(format!("/keys/{id}/rotation"), &fields).await
}

#[actix_web::test]
async fn a_key_is_rotated_from_its_page_and_the_secret_shown_once() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let old = create_keys(&app, &ada, &["Billing worker"]).await.remove(0);

    let question = ada.visit(format!("/keys/{}/rotation", old.id)).await.assert_ok().html();
    assert_eq!(question.text("h1"), "Rotate Billing worker?");
    assert_eq!(question.texts("select option").len(), 7);
    assert_eq!(question.text("select option[selected]"), "Works for 24 more hours");
    let (form, created) = rotate(&ada, old.id, "3600").await;

    let page = created.assert_ok().html();
    assert_eq!((created.header("cache-control"), created.header("referrer-policy")), ("no-store", "no-referrer"));
    assert!(page.text(".reveal").contains("stops working in"), "{}", page.text(".reveal"));
    let secret = secret_in(&created);
    for secret in [&secret, &old.secret] {
        app.key(secret).get("/api/data").await.assert_ok();
    }
    app.running().state.gate.flush().await;
    send(&ada, old.id, &form).await.assert_see_other("/keys/2");
    let new = ada.visit("/keys/2").await;
    assert!(new.html().text("[role=status]").contains("its secret was shown only then"));
    assert!(new.html().text(".lineage").contains("The old secret was last used"), "it was, a moment ago");
    assert_eq!(ada.visit("/keys").await.html().texts("tbody .badge"), ["Active", "Rotating"]);
    for path in ["/keys", "/keys/1", "/keys/2", "/"] {
        let body = ada.visit(path).await.body;
        assert!(!body.contains(&secret) && !body.contains(&old.secret), "{path}");
    }
}

#[actix_web::test]
async fn a_replaced_key_s_page_says_if_the_key_is_still_used() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let old = create_keys(&app, &ada, &["ci"]).await.remove(0);
    app.key(&old.secret).get("/api/data").await.assert_ok();
    app.running().state.gate.flush().await;
    app.advance(TimeDelta::minutes(1));
    rotate(&ada, old.id, "86400").await.1.assert_ok();

    let page = ada.visit("/keys/1").await.html();
    assert!(page.text(".lineage").contains("Not used since the rotation: safe to revoke"));
    assert_eq!(page.select(".lineage a")[0].value().attr("href"), Some("/keys/2"));
    assert!(!page.has("[href='/keys/1/rotation']"), "nobody rotates it twice");
    assert_eq!(ada.visit("/keys/2").await.html().select(".lineage a")[0].value().attr("href"), Some("/keys/1"));

    app.advance(TimeDelta::minutes(5));
    app.key(&old.secret).get("/api/data").await.assert_ok();
    app.running().state.gate.flush().await;
    app.advance(TimeDelta::minutes(3));
    let page = ada.visit("/keys/1").await.html();
    assert!(
        page.text(".lineage").contains("Still used 3 min ago: not yet safe to revoke"),
        "{}",
        page.text(".lineage")
    );
    assert!(ada.visit("/keys/2").await.html().text(".lineage").contains("last used 3 min ago"));

    app.advance(TimeDelta::days(1));
    let ada = again(&app, &ada).await;
    let page = ada.visit("/keys/1").await.html();
    assert_eq!(page.text(".page-head-meta .badge"), "Expired");
    assert!(page.text("[class='flash flash-bad']").contains("Replaced by another key"));
    assert!(!page.text(".lineage").contains("safe to revoke"));
}

#[actix_web::test]
async fn the_key_s_page_says_why_it_cannot_be_rotated() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    create_keys(&app, &ada, &["ci"]).await;
    let form = ada.visit("/keys/1").await.html();
    let nonce = form.value("nonce");
    ada.submit("/keys/1/revocation", &[("reason", "leaked on a forum")]).await.assert_see_other("/keys/1");
    assert!(ada.visit("/keys/1").await.html().all_text().contains("Revoked permanently: leaked on a forum"));

    ada.visit("/keys/1/rotation").await.assert_see_other("/keys/1");
    let answer = ada.submit("/keys/1/rotation", &[("nonce", &nonce), ("overlap_seconds", "0")]).await;

    answer.assert_see_other("/keys/1");
    assert!(ada.visit("/keys/1").await.html().text("[role=alert]").contains("create a new key"));
    let tampered = [("nonce", nonce.as_str()), ("overlap_seconds", "2592001")];
    ada.submit("/keys/1/rotation", &tampered).await.assert_status(422);
}

#[actix_web::test]
async fn an_invalid_reason_is_refused_at_its_field() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    create_keys(&app, &ada, &["ci"]).await;
    let long = "x".repeat(201);
    let page = ada.submit("/keys/1/revocation", &[("reason", &long)]).await.assert_status(422).html();
    assert_eq!(page.value("reason"), long);
    assert_eq!(page.error_at("reason"), "Reason must be at most 200 characters.");
    assert_eq!(ada.visit("/keys").await.html().texts("tbody .badge"), ["Active"]);
}

#[actix_web::test]
async fn a_deleted_key_is_restored_from_the_list_of_deleted_ones() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let key = create_keys(&app, &ada, &["Old export"]).await.remove(0);
    ada.submit("/keys/1/deletion", &[("confirmation", "Old export")]).await.assert_see_other("/keys");
    assert!(ada.visit("/keys").await.html().text("[role=status]").contains("You have 30 days to restore it"));
    ada.visit("/keys/1").await.assert_status(404);

    let list = ada.visit("/keys?state=deleted").await.html();
    assert_eq!(list.texts(".cell-name"), ["Old export"]);
    assert!(list.text("tbody").contains("in 29 days"));
    assert!(!list.has("[data-bulk]") && list.has("form[action='/keys/1/restoration']"));
    let vera = app.viewer("vera").await;
    assert!(!vera.visit("/keys?state=deleted").await.html().has("form[action='/keys/1/restoration']"));
    vera.submit("/keys/1/restoration", &[]).await.assert_status(403);
    ada.submit("/keys/1/restoration", &[]).await.assert_see_other("/keys/1");

    assert!(
        ada.visit("/keys/1")
            .await
            .html()
            .text("[role=status]")
            .contains("Old export is restored in its former state: active.")
    );
    app.key(&key.secret).get("/api/data").await.assert_ok();
}

#[actix_web::test]
async fn filters_can_be_added_and_removed() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let token = app.token_of(&ada, &["*"]);
    for (name, owner, tag, scope) in
        [("Zulu", "cus_1", "eu", "orders:*"), ("alpha", "cus_1", "us", "stock:read"), ("Mike", "cus_2", "eu", "*")]
    {
        let body = json!({"name": name, "owner": owner, "tags": [tag], "scopes": [scope]});
        token.post_json("/api/keys", body).await.assert_status(201);
    }
    let names = |path: &'static str| {
        let ada = ada.clone();
        async move { ada.visit(path).await.assert_ok().html().texts(".cell-title a") }
    };
    assert_eq!(names("/keys?sort=name").await, ["alpha", "Mike", "Zulu"]);
    assert_eq!(names("/keys?owner=cus_1").await, ["alpha", "Zulu"]);
    assert_eq!(names("/keys?scope=orders:read").await, ["Mike", "Zulu"]);
    assert_eq!(names("/keys?tag=eu&owner=cus_2").await, ["Mike"]);
    assert_eq!(names("/keys?unused_days=30").await, [""; 0]);
    // Nonsensical filters are ignored.
    assert_eq!(names("/keys?state=asleep&sort=color&unused_days=x&before=junk&after=%00").await.len(), 3);
    let page = ada.visit("/keys?sort=name&tag=eu&owner=cus_2&unused_days=7").await.html();
    assert_eq!(page.texts(".chip span:first-child"), ["Owner: cus_2", "Tag: eu", "Not used for: 7 days"]);
    assert_eq!(page.select(".chip")[0].value().attr("href"), Some("/keys?tag=eu&unused_days=7&sort=name"));
    assert!(page.has("details[open]") && page.text(".empty").contains("No key matches"));
    assert_eq!(page.text(".empty a"), "Clear filters");
}

#[actix_web::test]
async fn paging_works_both_ways_in_every_order() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let names: Vec<String> = (0..60).map(|number| format!("key {:02}", number * 7 % 60)).collect();
    create_keys(&app, &ada, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for sort in ["", "name", "last_used", "expires"] {
        let (mut seen, mut url) = (Vec::new(), format!("/keys?sort={sort}"));
        let mut back = Vec::new();
        loop {
            let page = ada.visit(&url).await.assert_ok().html();
            seen.push(page.texts(".cell-title a"));
            let Some(next) = page.select("a[rel=next]").first().map(|a| a.value().attr("href").unwrap().to_owned())
            else {
                break;
            };
            url = next;
        }
        assert_eq!(seen.iter().map(Vec::len).collect::<Vec<_>>(), [25, 25, 10], "{sort}");
        loop {
            let page = ada.visit(&url).await.assert_ok().html();
            back.push(page.texts(".cell-title a"));
            let Some(prev) = page.select("a[rel=prev]").first().map(|a| a.value().attr("href").unwrap().to_owned())
            else {
                break;
            };
            url = prev;
        }
        back.reverse();
        assert_eq!(back, seen, "{sort}");
        let mut all: Vec<_> = seen.concat();
        if sort == "name" {
            assert!(all.is_sorted());
        }
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 60, "{sort}");
    }
}

#[actix_web::test]
async fn selected_keys_are_revoked_after_a_confirmation_with_their_number() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let keys = create_keys(&app, &ada, &["one", "two", "three"]).await;
    for key in &keys {
        app.key(&key.secret).get("/api/data").await.assert_ok();
    }
    let list = ada.visit("/keys?sort=name").await.html();
    assert_eq!(list.select("input[form=bulk][name=ids]").len(), 3);
    assert_eq!(list.value("back"), "/keys?sort=name");

    let question = ada.visit("/keys/bulk-revocation?ids=1&ids=3&ids=99&back=%2Fkeys%3Fsort%3Dname").await;
    let page = question.assert_ok().html();
    assert_eq!(page.text("h1"), "Revoke 2 keys?");
    assert!(page.text(".lead").contains("permanently"));
    assert_eq!(page.texts("button.button-danger"), ["Revoke 2 keys"]);
    let long = "x".repeat(201);
    let refused = ada.submit("/keys/bulk-revocation", &[("ids", "1"), ("ids", "3"), ("reason", &long)]).await;
    assert!(refused.assert_status(422).html().error_at("reason").contains("at most 200"));
    let fields = [("ids", "1"), ("ids", "3"), ("ids", "99"), ("back", "/keys?sort=name"), ("reason", "leaked")];
    ada.submit("/keys/bulk-revocation", &fields).await.assert_see_other("/keys?sort=name");

    let list = ada.visit("/keys?sort=name").await.html();
    assert_eq!(list.text("[role=status]"), "2 keys revoked. 1 skipped, because nothing had to be changed.");
    assert_eq!(list.texts("tbody .badge"), ["Revoked", "Revoked", "Active"]);
    app.key(&keys[0].secret).get("/api/data").await.assert_problem(401, "api_key_disabled");
    app.key(&keys[1].secret).get("/api/data").await.assert_ok();
    // A revoked key needs no confirmation page.
    ada.visit("/keys/bulk-revocation?ids=1").await.assert_see_other("/keys");
    assert!(ada.visit("/keys").await.html().text("[role=alert]").contains("already revoked"));
    ada.visit("/keys/bulk-revocation").await.assert_see_other("/keys");
    assert!(ada.visit("/keys").await.html().text("[role=alert]").contains("Select keys first"));
    for evil in ["https://evil.example", "//evil.example", "/keys?\\", "/webhooks"] {
        ada.submit("/keys/bulk-revocation", &[("ids", "2"), ("back", evil)]).await.assert_see_other("/keys");
    }
}

#[actix_web::test]
async fn selected_keys_are_tagged_and_deleted() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    create_keys(&app, &ada, &["one", "two"]).await;

    let empty = ada.submit("/keys/bulk-tagging", &[("ids", "1"), ("add", " ")]).await;
    assert!(empty.assert_status(422).html().error_at("add").contains("at least one"));
    let wrong = [("ids", "1"), ("add", "eu"), ("remove", "eu")];
    let page = ada.submit("/keys/bulk-tagging", &wrong).await.assert_status(422).html();
    assert_eq!((page.value("add"), page.value("ids")), ("eu".into(), "1".into()));
    let fields = [("ids", "1"), ("ids", "2"), ("add", "eu, night")];
    ada.submit("/keys/bulk-tagging", &fields).await.assert_see_other("/keys");
    assert_eq!(ada.visit("/keys").await.html().text("[role=status]"), "2 keys tagged.");
    assert_eq!(ada.visit("/keys?tag=night").await.html().texts(".cell-title a").len(), 2);

    assert_eq!(ada.visit("/keys/bulk-deletion?ids=2").await.html().text("h1"), "Delete 1 key?");
    ada.submit("/keys/bulk-deletion", &[("ids", "2")]).await.assert_see_other("/keys");
    let list = ada.visit("/keys").await.html();
    assert_eq!(
        (list.text("[role=status]"), list.texts(".cell-title a")),
        ("1 key deleted.".into(), vec!["one".into()])
    );
    let dan = app.developer("dan").await;
    let list = dan.visit("/keys").await.html();
    assert!(!list.has("[data-bulk]") && !list.has("input[name=ids]"));
    for act in ["revocation", "tagging", "deletion"] {
        dan.visit(format!("/keys/bulk-{act}?ids=1")).await.assert_status(403);
        dan.submit(format!("/keys/bulk-{act}"), &[("ids", "1"), ("add", "x")]).await.assert_status(403);
    }
}

#[actix_web::test]
async fn the_list_as_csv_contains_no_formula() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let token = app.token_of(&ada, &["*"]);
    for (name, owner) in [("=1+1", "a"), ("say \"hi\", you", "b"), ("plain", "c")] {
        token.post_json("/api/keys", json!({"name": name, "owner": owner})).await.assert_status(201);
    }
    let answer = ada.visit("/keys.csv?sort=name").await;
    answer.assert_ok();
    assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(answer.header("content-disposition"), "attachment; filename=\"keys.csv\"");
    assert_eq!(answer.header("cache-control"), "no-store");
    let lines: Vec<_> = answer.body.trim_end().split("\r\n").collect();
    assert!(lines.len() == 4 && lines[0].starts_with("id,key,hint,name,environment,state,owner,"));
    assert!(lines.iter().all(|line| !line.contains(",=1")), "{lines:?}");
    assert!(answer.body.contains(",\"'=1+1\",live,active,a,") && answer.body.contains(",\"say \"\"hi\"\", you\","));
    let one = ada.visit("/keys.csv?owner=c").await;
    assert_eq!(one.body.trim_end().split("\r\n").count(), 2);
    let nobody = ada.visit("/keys.csv?owner=nobody").await;
    assert_eq!(nobody.assert_ok().body.trim_end().split("\r\n").count(), 1, "a head alone");
}

#[actix_web::test]
async fn the_list_as_csv_contains_no_formula_after_invisible_characters() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let program = app.token_of(&ada, &["*"]);
    for name in ["\u{200b}=1+1", "\u{feff}@SUM(A1)", "\u{2060}\u{202e}+1", "\u{ad}\u{ff1d}1", "a=1"] {
        program.post_json("/api/keys", json!({"name": name})).await.assert_status(201);
    }
    let csv = ada.visit("/keys.csv").await.assert_ok().body.clone();
    for cell in ["'\u{200b}=1+1", "'\u{feff}@SUM(A1)", "'\u{2060}\u{202e}+1", "'\u{ad}\u{ff1d}1"] {
        assert!(csv.contains(cell), "{cell:?} in {csv}");
    }
    assert!(csv.contains(",a=1,"));
}

#[actix_web::test]
async fn a_long_list_is_complete_as_csv() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    create_keys(&app, &ada, &["first"]).await;
    diesel::sql_query(
        "INSERT INTO api_keys (tenant_id, name, environment, public_id, key_prefix, hint, hash_algorithm, pepper_id, digest,
             scopes, rate_limit, rate_window_seconds, allowed_ips, requires_owner, metadata, tags, is_active, created_at, updated_at)
         SELECT tenant_id, 'key ' || n % 7, environment, 'pk_' || n, key_prefix, hint, hash_algorithm, pepper_id, 'd' || n,
             scopes, rate_limit, rate_window_seconds, allowed_ips, requires_owner, metadata, tags, is_active, created_at, updated_at
         FROM api_keys, generate_series(1, 2999) AS n",
    )
    .execute(&mut app.conn())
    .unwrap();
    for sort in ["", "name", "last_used", "expires"] {
        let answer = ada.visit(format!("/keys.csv?sort={sort}")).await;
        let mut ids: Vec<_> =
            answer.assert_ok().body.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
        assert_eq!(ids.len(), 3_000, "{sort}");
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 3_000, "{sort}: none twice");
    }
}

#[actix_web::test]
async fn a_key_is_looked_up_by_secret_id_and_hint() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let keys = create_keys(&app, &ada, &["one", "two"]).await;
    let (key, id) = (&keys[0], keys[0].id.to_string());
    assert!(ada.visit("/keys").await.html().has("a[href='/keys/lookup']"));
    ada.visit("/keys/lookup").await.assert_ok();
    for clue in [&key.secret, &key.public_id, &key.hint, &id] {
        ada.submit("/keys/lookup", &[("clue", clue)]).await.assert_see_other("/keys/1");
    }

    let mistyped = mistyped(&key.secret);
    for (clue, says) in [
        (mistyped.as_str(), "mistyped or cut off"),
        ("pk_0000000000000000000000", "No key matches"),
        ("", "Paste a secret"),
        ("what is this", "not a secret, key id or hint"),
    ] {
        let answer = ada.submit("/keys/lookup", &[("clue", clue)]).await;
        let page = answer.assert_status(422).html();
        assert!(page.error_at("clue").contains(says), "{clue}: {}", page.error_at("clue"));
        assert_eq!(page.value("clue"), "", "what was pasted is not shown again");
        assert!(clue.is_empty() || !answer.body.contains(clue), "{clue}");
    }
    ada.submit("/keys/1/deletion", &[("confirmation", "one")]).await.assert_see_other("/keys");
    let page = ada.submit("/keys/lookup", &[("clue", &key.secret)]).await.assert_ok().html();
    assert!(page.text("#found").contains("which was deleted") && page.has("a[href='/keys?state=deleted']"));
}

#[actix_web::test]
async fn a_lookup_shows_all_keys_with_the_same_hint() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let keys = create_keys(&app, &ada, &["one", "two"]).await;
    diesel::update(api_keys::table).set(api_keys::hint.eq(&keys[0].hint)).execute(&mut app.conn()).unwrap();
    let page = ada.submit("/keys/lookup", &[("clue", &keys[0].hint)]).await.assert_ok().html();
    assert_eq!(page.text("#found"), "2 keys have this hint.");
    let links: Vec<_> = page.select(".rows a").iter().map(|a| a.value().attr("href").unwrap().to_owned()).collect();
    assert_eq!(links.len(), 2);
}

#[actix_web::test]
async fn a_pasted_secret_is_not_stored_and_another_tenant_learns_nothing() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let key = create_keys(&app, &ada, &["one"]).await.remove(0);
    let beta = app.make_tenant("beta");
    let eve = app.person("eve", beta, Role::Owner).await;
    let unknown = eve.submit("/keys/lookup", &[("clue", "pk_0000000000000000000000")]).await;
    let unknown = unknown.assert_status(422).html().error_at("clue");
    for clue in [&key.secret, &key.public_id, &key.hint] {
        let answer = eve.submit("/keys/lookup", &[("clue", clue)]).await;
        assert_eq!(answer.assert_status(422).html().error_at("clue"), unknown);
    }
    let other = gatepost::domain::api_key::KeySecret::generate(
        &gatepost::domain::api_key::KeyPrefix::parse("sk").unwrap(),
        gatepost::domain::api_key::Environment::Live,
    );
    let stranger_s = other.unwrap().reveal_once();
    for person in [&ada, &eve] {
        person.submit("/keys/lookup", &[("clue", &key.secret)]).await;
        person.submit("/keys/lookup", &[("clue", &stranger_s)]).await;
        // An error response about an unknown field repeats no secret.
        let refused = person.submit("/keys/lookup", &[("clue", &key.secret), ("x", &key.secret)]).await;
        assert!(!refused.assert_status(422).body.contains(&key.secret[25..68]));
    }
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Text)]
        row: String,
    }
    let sql = "SELECT query_to_xml('SELECT * FROM ' || quote_ident(tablename), true, false, '')::text AS row
               FROM pg_tables WHERE schemaname = 'public'";
    let tables: Vec<Row> = diesel::sql_query(sql).load(&mut app.conn()).unwrap();
    assert!(tables.iter().any(|table| table.row.contains(&key.public_id)), "the rows are looked through");
    for part in [&key.secret[25..68], &stranger_s[25..68]] {
        assert!(tables.iter().all(|table| !table.row.contains(part)));
    }
}
