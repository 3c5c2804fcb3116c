//! Lists of `/api/keys`: every filter, every order, and paging.

use chrono::TimeDelta;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer};
use gatepost::domain::ApiKeyId;
use gatepost::domain::api_key::KeySort;
use gatepost::domain::page::Paging;
use gatepost::store::api_keys::{KeyFilter, Use};
use gatepost::store::{self, Db, Scope, Tx};
use serde_json::{Value, json};

use super::{admin, mint, path, text};
use crate::support::database::rows_read;
use crate::support::{Person, TestApp};

fn names(list: &Value) -> Vec<String> {
    list["data"].as_array().unwrap().iter().map(|key| text(key, "name").to_owned()).collect()
}

async fn found(token: &Person, query: &str) -> Vec<String> {
    names(&token.get(format!("/api/keys?{query}")).await.assert_ok().json())
}

#[actix_web::test]
async fn a_count_refuses_paging_parameters() {
    let app = TestApp::start().await;
    let token = app.token_of(&app.admin("ada").await, &["*"]);
    for (field, value) in [
        ("limit", json!(-1)),
        ("limit", json!(5)),
        ("offset", json!(0)),
        ("cursor", json!("MQ")),
        ("sort", json!("name")),
    ] {
        let text = value.to_string().replace('"', "");
        for path in ["/api/keys/count", "/api-keys/count"] {
            token.get(format!("{path}?{field}={text}")).await.assert_invalid(field);
            token.post_json(path, json!({field: value})).await.assert_invalid(field);
            token.post_json(format!("{path}?{field}={text}"), json!({})).await.assert_invalid(field);
        }
    }
}

#[actix_web::test]
async fn each_state_finds_its_keys() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let soon = (app.clock.now() + TimeDelta::hours(1)).to_rfc3339();
    let key = |name: &str, extra: Value| {
        let (token, mut body) = (token.clone(), extra);
        body["name"] = json!(name);
        async move { mint(&token, body).await }
    };
    key("active", json!({})).await;
    key("disabled", json!({"is_active": false})).await;
    key("expired", json!({"expires_at": soon})).await;
    let revoked = key("revoked", json!({"expires_at": soon})).await;
    token.post_json(path(&revoked, "/revocation"), json!({})).await.assert_ok();
    let deleted = key("deleted", json!({})).await;
    token.delete(path(&deleted, "")).await.assert_status(204);
    for (name, overlap) in [("rotating", 86_400), ("rotated out", 60)] {
        let old = key(name, json!({})).await;
        let body = json!({"overlap_seconds": overlap});
        let new = token.post_json(path(&old, "/rotation"), body).await.assert_status(201).json();
        token.patch_json(path(&new, ""), json!({"name": format!("after {name}")})).await.assert_ok();
    }
    app.advance(TimeDelta::hours(2));

    for (state, expected) in [
        ("active", vec!["after rotated out", "after rotating", "active"]),
        ("disabled", vec!["disabled"]),
        ("expired", vec!["rotated out", "expired"]),
        ("revoked", vec!["revoked"]),
        ("rotating", vec!["rotating"]),
        ("deleted", vec!["deleted"]),
    ] {
        let list = token.get(format!("/api/keys?state={state}")).await.assert_ok().json();
        assert_eq!(names(&list), expected, "{state}");
        assert!(list["data"].as_array().unwrap().iter().all(|key| key["state"] == state), "{list}");
        let count = token.get(format!("/api/keys/count?state={state}")).await.json()["count"].as_u64().unwrap();
        assert_eq!(count, u64::try_from(expected.len()).unwrap());
        let search = token.post_json("/api/keys/search", json!({"state": state})).await.assert_ok().json();
        assert_eq!(names(&search), expected, "{state}");
    }
    assert_eq!(found(&token, "").await.len(), 8, "all but the deleted one");
}

#[actix_web::test]
async fn keys_are_filtered_by_their_fields() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    mint(&token, json!({"name": "exact", "owner": "cus_1", "scopes": ["orders:read"], "tags": ["eu", "shop"]})).await;
    mint(&token, json!({"name": "group", "owner": "cus_10", "scopes": ["orders:*"], "tags": ["EU"]})).await;
    mint(&token, json!({"name": "all", "scopes": ["*"], "environment": "test"})).await;
    mint(&token, json!({"name": "none"})).await;
    for (query, expected) in [
        ("owner=cus_1", vec!["exact"]),
        ("scope=orders:read", vec!["all", "group", "exact"]),
        ("scope=orders:write", vec!["all", "group"]),
        ("scope=stock:read", vec!["all"]),
        ("tag=eu", vec!["exact"]),
        ("tag=eu&owner=cus_10", vec![]),
        ("scope=orders:read&environment=live", vec!["group", "exact"]),
        ("owner=", vec!["none", "all", "group", "exact"]),
        ("tag=%00", vec![]),
    ] {
        assert_eq!(found(&token, query).await, expected, "{query}");
    }
    let body = json!({"scope": "orders:read", "tag": "EU"});
    assert_eq!(names(&token.post_json("/api/keys/search", body).await.assert_ok().json()), ["group"]);
    assert_eq!(token.get("/api/keys/count?scope=orders:read").await.json()["count"], 3);
    for (query, field) in [
        ("scope=not%20one", "scope"),
        ("unused_days=0", "unused_days"),
        ("expiring_days=3651", "expiring_days"),
        ("unused_days=many", "unused_days"),
        ("sort=color", "sort"),
        ("state=asleep", "state"),
    ] {
        token.get(format!("/api/keys?{query}")).await.assert_invalid(field);
    }
    token.get(format!("/api/keys?tag={}", "x".repeat(201))).await.assert_invalid("tag");
}

#[actix_web::test]
async fn keys_are_filtered_by_time_since_last_use_and_time_to_expiry() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let now = app.clock.now();
    let day = |days| (now + TimeDelta::days(days)).to_rfc3339();
    mint(&token, json!({"name": "idle", "expires_at": day(100)})).await;
    let used = mint(&token, json!({"name": "used", "expires_at": day(50)})).await;
    let revoked = mint(&token, json!({"name": "revoked", "expires_at": day(50)})).await;
    token.post_json(path(&revoked, "/revocation"), json!({})).await.assert_ok();
    mint(&token, json!({"name": "over", "expires_at": day(1)})).await;
    app.advance(TimeDelta::days(40));
    app.key(text(&used, "secret")).get("/protected/").await.assert_ok();
    app.running().state.gate.flush().await;
    mint(&token, json!({"name": "new"})).await;

    assert_eq!(found(&token, "unused_days=30").await, ["over", "revoked", "idle"]);
    assert_eq!(found(&token, "unused_days=30&state=active").await, ["idle"]);
    assert_eq!(found(&token, "unused_days=90").await, [""; 0]);
    assert_eq!(found(&token, "expiring_days=14").await, ["used"]);
    assert_eq!(found(&token, "expiring_days=90&sort=expires").await, ["used", "idle"]);
}

/// Copies a key many times, giving every 100th copy distinct values. Half of the copies are even and half are dull, but
/// only every 100th is both.
pub fn multiply(app: &TestApp, count: i32) {
    let sql = "INSERT INTO api_keys (tenant_id, name, environment, public_id, key_prefix, hint, hash_algorithm, pepper_id, digest,
             scopes, rate_limit, rate_window_seconds, allowed_ips, requires_owner, metadata, tags, is_active, revoked_at,
             created_at, updated_at)
         SELECT tenant_id, CASE n % 100 WHEN 1 THEN 'rare' ELSE 'many' END || ' ' || n ||
                 CASE n % 2 WHEN 0 THEN ' even' ELSE '' END,
             CASE n % 100 WHEN 2 THEN 'test' ELSE 'live' END, 'p' || n, key_prefix, hint, hash_algorithm, pepper_id, 'd' || n,
             CASE n % 100 WHEN 3 THEN '{stock:*}' WHEN 4 THEN '{*}' ELSE '{orders:read}' END::text[], rate_limit,
             rate_window_seconds, allowed_ips, requires_owner, metadata,
             CASE WHEN n % 100 = 5 THEN ARRAY['it''s', 'a\\b'] WHEN n % 2 = 1 OR n % 100 = 8 THEN '{most,dull}'
                 ELSE '{most}' END, n % 100 <> 6,
             CASE n % 100 WHEN 7 THEN now() END, created_at, updated_at
         FROM api_keys CROSS JOIN generate_series(1, $1) n WHERE name = 'first'";
    diesel::sql_query(sql).bind::<Integer, _>(count).execute(&mut app.conn()).unwrap();
}

#[actix_web::test]
async fn few_matching_keys_among_many_are_found_by_each_filter() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    mint(&token, json!({"name": "first", "tags": ["most"]})).await;
    multiply(&app, 1_000);
    // Numbers that end in one of these pairs of digits, newest first.
    let expect = |digits: &[usize]| -> Vec<usize> {
        (1..=1_000).rev().filter(|number| digits.contains(&(number % 100))).collect()
    };
    for (query, digits) in [
        ("q=RAR", vec![1]),
        ("q=rare+nothing", vec![]),
        ("q=rare+many", vec![]),
        ("environment=test", vec![2]),
        ("environment=test&q=many", vec![2]),
        ("scope=stock:read", vec![3, 4]),
        ("tag=it%27s", vec![5]),
        ("tag=a%5Cb", vec![5]),
        ("tag=it%27s&state=active", vec![5]),
        ("tag=it", vec![]),
        ("state=disabled", vec![6]),
        ("state=revoked", vec![7]),
        ("state=revoked&tag=most&environment=live&q=many&scope=orders:read", vec![7]),
        ("state=revoked&environment=test", vec![]),
        ("q=even&tag=dull", vec![8]),
        ("q=even+many&tag=dull&scope=orders:read&environment=live", vec![8]),
    ] {
        let numbers: Vec<usize> = found(&token, &format!("limit=100&{query}"))
            .await
            .iter()
            .map(|name| name.split(' ').nth(1).unwrap().parse().unwrap())
            .collect();
        assert_eq!(numbers, expect(&digits), "{query}");
        let count = token.get(format!("/api/keys/count?{query}")).await.json()["count"].as_u64().unwrap();
        assert_eq!(count, u64::try_from(numbers.len()).unwrap(), "{query}");
    }
    // Another order, over several pages.
    let page = |cursor: String| {
        let token = token.clone();
        async move { token.get(format!("/api/keys?q=rare&sort=name&limit=4{cursor}")).await.assert_ok().json() }
    };
    let (mut all, mut cursor) = (Vec::new(), String::new());
    while all.len() < 10 {
        let list = page(cursor).await;
        all.extend(names(&list));
        cursor = list["next_cursor"].as_str().map(|next| format!("&cursor={next}")).unwrap_or_default();
    }
    assert!(cursor.is_empty() && all.is_sorted(), "{all:?}");
    // Keys of another tenant are not included.
    let other = app.make_tenant("other");
    diesel::sql_query(format!("UPDATE api_keys SET tenant_id = {other} WHERE id % 200 < 100"))
        .execute(&mut app.conn())
        .unwrap();
    assert_eq!(
        found(&token, "limit=100&tag=it%27s").await.len() + found(&token, "limit=100&state=revoked").await.len(),
        10
    );
}

/// Reads a whole list by cursor, and once more by offset.
async fn read_all_pages(token: &Person, sort: &str, limit: usize) -> (Vec<String>, Vec<String>) {
    let (mut by_cursor, mut cursor) = (Vec::new(), String::new());
    loop {
        let list = token.get(format!("/api/keys?sort={sort}&limit={limit}{cursor}")).await.assert_ok().json();
        by_cursor.extend(names(&list));
        match list["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let all = token.get(format!("/api/keys?sort={sort}&limit=100&offset=0")).await.assert_ok().json();
    assert_eq!(all["total"].as_u64(), Some(u64::try_from(by_cursor.len()).unwrap()));
    (by_cursor, names(&all))
}

#[actix_web::test]
async fn paging_works_in_every_order() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let now = app.clock.now();
    // Names and times that are equal, differ only in case, or are missing.
    let made = [
        ("beta", Some(3), None),
        ("Alpha", None, Some(1)),
        ("alpha", Some(3), Some(2)),
        ("gamma:7:x", Some(1), Some(2)),
        ("delta", None, None),
        ("alpha", Some(2), Some(9)),
        ("Émile", Some(3), None),
    ];
    for (name, expires, used) in made {
        let expires = expires.map(|days| (now + TimeDelta::days(days)).to_rfc3339());
        let key = mint(&token, json!({"name": name, "expires_at": expires})).await;
        let used = used.map(|hours| now - TimeDelta::hours(hours));
        let Some(at) = used else { continue };
        let id = ApiKeyId(key["id"].as_i64().unwrap());
        store::api_keys::update_last_used(&mut app.conn(), &[Use { id, at, ip: None }]).unwrap();
    }
    let newest = ["Émile", "alpha", "delta", "gamma:7:x", "alpha", "Alpha", "beta"];
    let used = ["Alpha", "gamma:7:x", "alpha", "alpha", "Émile", "delta", "beta"];
    let expires = ["gamma:7:x", "alpha", "beta", "alpha", "Émile", "Alpha", "delta"];
    for (sort, expected) in [("newest", newest), ("last_used", used), ("expires", expires)] {
        for limit in [1, 2, 3, 7] {
            let (by_cursor, by_offset) = read_all_pages(&token, sort, limit).await;
            assert_eq!(
                (by_cursor, by_offset),
                (expected.map(str::to_owned).to_vec(), expected.map(str::to_owned).to_vec()),
                "{sort} by {limit}"
            );
        }
    }
    for limit in [1, 2, 3, 7] {
        let (by_cursor, by_offset) = read_all_pages(&token, "name", limit).await;
        assert_eq!(by_cursor, by_offset);
        assert_eq!(by_cursor[..5], ["Alpha", "alpha", "alpha", "beta", "delta"], "whatever the collation makes of É");
    }
    let by_name = token.get("/api/keys?sort=name&limit=1").await.json();
    let cursor = text(&by_name, "next_cursor");
    token.get(format!("/api/keys?sort=expires&cursor={cursor}")).await.assert_invalid("cursor");
    for junk in ["bmFtZTo3OgA", "bGFzdF91c2VkOjc6OTIyMzM3MjAzNjg1NDc3NTgwNw", "bmV3ZXN0Ojc6"] {
        for sort in ["name", "last_used", "newest"] {
            token.get(format!("/api/keys?sort={sort}&cursor={junk}")).await.assert_invalid("cursor");
        }
    }
}

#[actix_web::test]
async fn a_page_reads_few_keys_even_if_newer_ones_belong_to_another_tenant() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    mint(&token, json!({"name": "first", "tags": ["most"]})).await;
    let other = app.make_tenant("other");
    // Keys of the other tenant are the newer half.
    multiply(&app, 3_000);
    let later = "UPDATE api_keys SET tenant_id = $1 WHERE id > (SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY id) FROM api_keys)";
    diesel::sql_query(later).bind::<BigInt, _>(other).execute(&mut app.conn()).unwrap();
    app.conn().batch_execute("VACUUM ANALYZE api_keys").unwrap();

    let now = app.clock.now();
    for (text, sort) in
        [(None, KeySort::Newest), (None, KeySort::Name), (Some("many"), KeySort::Newest), (Some("even"), KeySort::Name)]
    {
        let scope = Scope::Tenant(app.tenant);
        let filter = KeyFilter { text: text.map(str::to_owned), ..KeyFilter::default() };
        let list = move |tx: &mut Tx<'_>| {
            let page = store::api_keys::list(tx, scope, &filter, sort, &Paging::default(), now)?;
            Ok((page.len(), rows_read(tx, &["api_keys"])))
        };
        let (page, read) = Db::new(&app.database.url, 1).read(scope, list).await.unwrap();
        assert_eq!(page, 51, "{text:?}");
        // A search first counts up to 500 matches.
        assert!(read < if text.is_some() { 750 } else { 150 }, "{text:?} by {sort:?} read {read}");
    }
}
