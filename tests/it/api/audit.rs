//! Audit log in the API, and its hash chain.

use diesel::prelude::*;
use gatepost::domain::TenantId;
use gatepost::services::audit::chain::{self, Reading};
use gatepost::store::{Db, Scope, audit_entries};
use serde_json::{Value, json};

use super::{admin, mint, text};
use crate::support::{Person, TestApp};

/// Verifies every chain.
fn verify_chains(app: &TestApp) -> Vec<Reading> {
    let mut conn = app.conn();
    conn.build_transaction().repeatable_read().run(|conn| chain::verify(conn, None)).unwrap()
}

fn of_acme(app: &TestApp) -> Reading {
    verify_chains(app).into_iter().find(|reading| reading.slug.as_deref() == Some("acme")).unwrap()
}

fn run(app: &TestApp, sql: &str) {
    diesel::sql_query(sql).execute(&mut app.conn()).unwrap();
}

/// Starts a server and writes entries about five keys to the chain of `acme`.
async fn start_with_entries() -> (TestApp, Person) {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    for index in 0..5 {
        mint(&token, json!({"name": format!("key {index}"), "metadata": {"ß": 1.50}})).await;
    }
    (app, token)
}

#[actix_web::test]
async fn entries_are_listed_filtered_and_paged() {
    let (app, token) = start_with_entries().await;
    token.patch_json("/api/keys/1", json!({"rate_limit": 7})).await.assert_ok();

    let page = token.get("/api/audit?limit=100").await.assert_ok().json();
    let entries = page["data"].as_array().unwrap();
    for pair in entries.windows(2) {
        assert_eq!(pair[0]["previous_hash"], pair[1]["hash"]);
        assert_eq!(pair[0]["seq"].as_i64(), pair[1]["seq"].as_i64().map(|seq| seq + 1));
    }
    assert_eq!(entries.last().unwrap()["previous_hash"], "");
    let newest = &entries[0];
    assert_eq!((text(newest, "action"), text(newest, "target")), ("api_key.updated", "api_key:1"));
    assert_eq!(newest["details"]["before"], json!({"rate_limit": 1000}));
    assert_eq!(newest["details"]["after"], json!({"rate_limit": 7}));
    assert_eq!(text(newest, "actor"), "ada@example.com");

    let counted = |query: &'static str| {
        let token = token.clone();
        async move { token.get(format!("/api/audit?{query}")).await.assert_ok().json()["data"].as_array().unwrap().len() }
    };
    assert_eq!(counted("action=api_key.minted").await, 5);
    assert_eq!(counted("target=api_key:1").await, 2);
    assert_eq!(counted("actor=console&action=member.added").await, 1);
    assert_eq!(counted("since=2200-01-01T00:00:00Z").await, 0);
    assert_eq!(counted("until=2000-01-01T00:00:00Z").await, 0);
    let first = token.get("/api/audit?limit=2").await.json();
    let second = token.get(format!("/api/audit?limit=2&cursor={}", text(&first, "next_cursor"))).await.json();
    assert_eq!(second["data"][0]["seq"].as_i64(), first["data"][1]["seq"].as_i64().map(|seq| seq - 1));
    token.get("/api/audit?colour=red").await.assert_invalid("colour");
    drop(app);
}

#[actix_web::test]
async fn only_an_instance_token_sees_the_log_of_the_instance() {
    let app = TestApp::start().await;
    let grace = app.operator("grace").await;
    let actions = |page: Value| -> Vec<String> {
        page["data"].as_array().unwrap().iter().map(|entry| text(entry, "action").to_owned()).collect()
    };
    let all = actions(app.instance_token_of(&grace, &["audit:read"]).get("/api/audit").await.assert_ok().json());
    assert!(all.contains(&"user.created".to_owned()) && all.contains(&"tenant.created".to_owned()), "{all:?}");
    let acme = actions(app.token_of(&grace, &["audit:read"]).get("/api/audit").await.assert_ok().json());
    assert!(!acme.contains(&"user.created".to_owned()) && acme.contains(&"tenant.created".to_owned()), "{acme:?}");
}

#[actix_web::test]
async fn verification_confirms_an_intact_chain_and_finds_a_changed_entry() {
    let (app, _) = start_with_entries().await;
    let whole = of_acme(&app);
    assert!(verify_chains(&app).iter().all(|reading| reading.broken.is_none() && 0 < reading.entries));
    assert!(5 <= whole.entries);

    for change in [
        "actor = 'mallory'",
        "user_id = 7",
        "action = 'api_key.revoked'",
        "target = 'api_key:9'",
        "details = details || '{\"name\": \"x\"}'",
        "ip = NULL",
        "request_id = ''",
        "created_at = created_at - interval '1 microsecond'",
        "id = DEFAULT",
        "via = 'system'",
    ] {
        run(&app, "CREATE TABLE kept AS SELECT * FROM audit_entries");
        run(&app, &format!("UPDATE audit_entries SET {change} WHERE tenant_id = 1 AND seq = 4"));
        let broken = of_acme(&app).broken.unwrap_or_else(|| panic!("{change} goes unnoticed"));
        assert_eq!((broken.seq, broken.says), (4, "it was changed after it was written"), "{change}");
        // Recomputing the entry's hash does not help: the next entry contains the old hash.
        run(&app, "UPDATE audit_entries e SET hash = audit_hash(e) WHERE tenant_id = 1 AND seq = 4");
        let broken = of_acme(&app).broken.unwrap();
        assert_eq!((broken.seq, broken.says), (5, "it does not follow the previous entry"), "{change}");
        run(&app, "DELETE FROM audit_entries");
        run(&app, "ALTER TABLE audit_entries DISABLE TRIGGER seal");
        run(&app, "INSERT INTO audit_entries OVERRIDING SYSTEM VALUE SELECT * FROM kept");
        run(&app, "ALTER TABLE audit_entries ENABLE TRIGGER seal");
        run(&app, "DROP TABLE kept");
        assert_eq!(of_acme(&app).broken, None, "{change}");
    }
}

#[actix_web::test]
async fn a_removed_entry_is_found_wherever_it_was() {
    for (which, seq) in [("seq = 1", 1), ("seq = 3", 3), ("seq IN (3, 4)", 3)] {
        let (app, _) = start_with_entries().await;
        run(&app, &format!("DELETE FROM audit_entries WHERE tenant_id = 1 AND {which}"));
        let broken = of_acme(&app).broken.unwrap();
        assert_eq!((broken.seq, broken.says, broken.entry), (seq, "it is missing", None), "{which}");
    }
    let (app, token) = start_with_entries().await;
    let last = of_acme(&app).entries;
    run(&app, &format!("DELETE FROM audit_entries WHERE tenant_id = 1 AND seq = {last}"));
    assert_eq!(of_acme(&app).broken.unwrap().seq, last);
    // Later entries do not close the gap.
    mint(&token, json!({"name": "later"})).await;
    assert_eq!(of_acme(&app).broken.unwrap().seq, last);
    run(&app, "DELETE FROM audit_chains WHERE tenant_id = 1");
    assert!(of_acme(&app).broken.is_some());
    assert!(verify_chains(&app).iter().any(|reading| reading.slug.is_none() && reading.broken.is_none()));
}

#[actix_web::test]
async fn a_chain_stays_intact_when_requests_race_and_some_fail() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let racing = (0..12).map(|index| {
        let token = token.clone();
        async move {
            // Every third request is refused, and must not use a sequence number.
            let name = if index % 3 == 0 { String::new() } else { format!("key {index}") };
            token.post_json("/api/keys", json!({"name": name})).await.status
        }
    });
    let before = of_acme(&app).entries;
    let made = futures_util::future::join_all(racing).await.into_iter().filter(|status| *status == 201).count();
    let after = of_acme(&app);
    assert_eq!((made, after.broken), (8, None));
    assert_eq!(after.entries, before + 8);
}

#[actix_web::test]
async fn retention_removes_the_oldest_entries_and_the_chain_stays_intact() {
    let (app, token) = start_with_entries().await;
    let all = of_acme(&app).entries;
    app.advance(chrono::TimeDelta::days(10));
    mint(&token, json!({"name": "young"})).await;
    let before = app.clock.now() - chrono::TimeDelta::days(5);
    // Delete in batches, as the worker does.
    let mut deleted = 0;
    loop {
        let batch = audit_entries::delete_old(&mut app.conn(), before, 2).unwrap();
        assert!(verify_chains(&app).iter().all(|reading| reading.broken.is_none()));
        deleted += batch;
        if batch < 2 {
            break;
        }
    }
    assert!(all <= i64::try_from(deleted).unwrap());
    assert_eq!(of_acme(&app).entries, 1);
    run(&app, "UPDATE audit_entries SET actor = 'mallory' WHERE tenant_id = 1");
    assert_eq!(of_acme(&app).broken.unwrap().says, "it was changed after it was written");
}

#[actix_web::test]
async fn the_database_role_for_tenants_can_only_append_to_the_log() {
    let (app, _) = start_with_entries().await;
    let db = Db::new(&app.database.url, 1);
    for sql in [
        "UPDATE audit_entries SET actor = 'x'",
        "DELETE FROM audit_entries",
        "UPDATE audit_chains SET seq = 0",
        "DELETE FROM audit_chains",
        "INSERT INTO audit_chains VALUES (1, 0, '')",
    ] {
        let tried = db.tx(Scope::Tenant(TenantId(1)), move |conn| {
            Ok(diesel::sql_query(sql).execute(&mut **conn).map_err(|error| error.to_string()))
        });
        let said = tried.await.map_or_else(|error| format!("{error:?}"), |done| format!("{done:?}"));
        assert!(said.contains("permission denied"), "{sql}: {said}");
    }
    let forged = "INSERT INTO audit_entries (tenant_id, actor, via, action, target, details, created_at, seq, previous_hash, hash)
                  VALUES (1, 'x', 'cli', 'x.y', 'z', '{}', now(), 1, 'a', 'b')";
    db.tx(Scope::Tenant(TenantId(1)), move |conn| Ok(diesel::sql_query(forged).execute(&mut **conn)?)).await.unwrap();
    assert_eq!(of_acme(&app).broken, None);
}
