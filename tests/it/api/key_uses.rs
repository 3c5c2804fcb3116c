//! Keys by last use: their order, and the filter for unused keys.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use gatepost::domain::ApiKeyId;
use gatepost::domain::api_key::{KeyMark, KeySort, KeyState};
use gatepost::domain::page::{PageSize, Paging};
use gatepost::model::ApiKey;
use gatepost::services;
use gatepost::store::api_keys::{self, KeyFilter, Use};
use gatepost::store::{Db, Scope, Tx};
use serde_json::json;

use super::key_lists::multiply;
use super::{admin, mint, path, text};
use crate::support::TestApp;
use crate::support::database::rows_read;

/// Creates many keys, created minutes apart, where every 100th has distinct values. Every third was never used; the
/// others were used at times unrelated to their age.
async fn create_keys_with_uses(app: &TestApp, count: i32) {
    let token = admin(app).await;
    mint(&token, json!({"name": "first", "tags": ["most"]})).await;
    multiply(app, count);
    let sql = format!(
        "UPDATE api_keys SET created_at = now() - ({count} - id % {count}) * INTERVAL '100 minutes';
         UPDATE key_uses SET used_at = greatest(created_at, now() - (api_key_id * 7919 % {count}) * INTERVAL '100 minutes')
         WHERE api_key_id % 3 <> 0;
         UPDATE key_uses SET used_at = (SELECT max(used_at) FROM key_uses) WHERE api_key_id % 50 = 1;
         UPDATE api_keys SET deleted_at = now() WHERE id % 40 = 7;
         VACUUM ANALYZE api_keys, key_uses"
    );
    for statement in sql.split(';') {
        app.conn().batch_execute(statement).unwrap();
    }
}

fn ids(keys: &[ApiKey]) -> Vec<ApiKeyId> {
    keys.iter().map(|key| key.id).collect()
}

/// Reads a list forward to its end, and backward to its beginning.
fn read_both_ways(
    conn: &mut PgConnection,
    scope: Scope,
    filter: &KeyFilter,
    sort: KeySort,
) -> (Vec<ApiKeyId>, Vec<ApiKeyId>) {
    let size = PageSize::new(37).unwrap();
    let now = Utc::now();
    let page = |conn: &mut PgConnection, before: Option<KeyMark>, after: Option<KeyMark>| {
        let paging = Paging { size, before, after, offset: None };
        let mut rows = api_keys::list(conn, scope, filter, sort, &paging, now).unwrap();
        let has_more = 37 < rows.len();
        rows.truncate(37);
        (rows, has_more)
    };
    let (mut there, mut mark, mut has_more) = (Vec::new(), None, true);
    while has_more {
        let rows;
        (rows, has_more) = page(conn, mark.take(), None);
        mark = rows.last().map(|key| services::api_keys::mark(key, sort));
        there.extend(ids(&rows));
    }
    // The key at the cursor is not part of the next page.
    let (mut back, mut has_more) = (Vec::from_iter(there.last().copied()), mark.is_some());
    while has_more {
        let rows;
        (rows, has_more) = page(conn, None, mark.take());
        mark = rows.last().map(|key| services::api_keys::mark(key, sort));
        back.extend(ids(&rows));
    }
    back.reverse();
    (there, back)
}

/// Combines search words, a tag, a state and the time since which a key was not used.
fn filters(now: DateTime<Utc>) -> Vec<KeyFilter> {
    let mut filters = Vec::new();
    for since in [None, Some(1), Some(14), Some(25)] {
        for text in [None, Some("even"), Some("rare"), Some("nobody")] {
            for tag in [None, Some("dull"), Some("it's")] {
                for state in [None, Some(KeyState::Active)] {
                    filters.push(KeyFilter {
                        text: text.map(str::to_owned),
                        tag: tag.map(str::to_owned),
                        state,
                        unused_since: since.map(|days| now - TimeDelta::days(days)),
                        ..KeyFilter::default()
                    });
                }
            }
        }
    }
    filters
}

fn matches_filter(key: &ApiKey, filter: &KeyFilter, now: DateTime<Utc>) -> bool {
    filter.text.as_ref().is_none_or(|text| key.name.contains(text))
        && filter.tag.as_ref().is_none_or(|tag| key.tags.contains(tag))
        && filter.state.is_none_or(|state| key.state(now) == state)
        && filter.unused_since.is_none_or(|since| Some(since) >= key.last_used_at.max(Some(key.created_at)))
}

#[actix_web::test]
async fn pages_by_last_use_and_of_unused_keys_equal_a_full_read() {
    let app = TestApp::start().await;
    create_keys_with_uses(&app, 400).await;
    let (scope, now) = (Scope::Tenant(app.tenant), Utc::now());
    let compare = move |conn: &mut Tx<'_>| {
        let all = api_keys::list_after(conn, scope, &KeyFilter::default(), KeySort::Newest, None, 10_000, now)?;
        let mut met = 0;
        for filter in filters(now) {
            let mut expected: Vec<&ApiKey> = all.iter().filter(|key| matches_filter(key, &filter, now)).collect();
            met += expected.len();
            assert_eq!(api_keys::count(conn, scope, &filter, now)?, i64::try_from(expected.len()).unwrap());
            for sort in [KeySort::LastUsed, KeySort::Newest] {
                expected.sort_by_key(|key| {
                    std::cmp::Reverse((key.last_used_at.filter(|_| sort == KeySort::LastUsed), key.id))
                });
                let expected: Vec<_> = expected.iter().map(|key| key.id).collect();
                let (there, back) = read_both_ways(conn, scope, &filter, sort);
                assert_eq!(there, expected, "{filter:?} by {sort:?}");
                assert_eq!(back, expected, "{filter:?} by {sort:?}, backwards");
                let paging = Paging { offset: Some(40), ..Paging::default() };
                let skipped = ids(&api_keys::list(conn, scope, &filter, sort, &paging, now)?);
                assert_eq!(skipped, expected.iter().skip(40).take(51).copied().collect::<Vec<_>>());
            }
        }
        Ok((all.len(), met))
    };
    let (all, met) = Db::new(&app.database.url, 1).read(scope, compare).await.unwrap();
    assert!(380 < all && 2_000 < met, "{met} of {all}");
}

#[actix_web::test]
async fn pages_by_last_use_and_of_unused_keys_read_few_rows() {
    let app = TestApp::start().await;
    create_keys_with_uses(&app, 3_000).await;
    // The newer half has just been used, and the older half long ago.
    let split = "UPDATE key_uses SET used_at = CASE WHEN api_key_id <= 1500 THEN 'epoch' ELSE now() END";
    app.conn().batch_execute(split).unwrap();
    app.conn().batch_execute("VACUUM ANALYZE key_uses").unwrap();
    let (scope, now) = (Scope::Tenant(app.tenant), Utc::now());
    for (unused_days, sort, found, most) in [
        (None, KeySort::LastUsed, 11, 80),
        (Some(105), KeySort::Newest, 11, 600),
        (Some(105), KeySort::LastUsed, 11, 400),
        (Some(207), KeySort::Newest, 11, 200),
        (Some(207), KeySort::Name, 11, 200),
        (Some(300), KeySort::Name, 0, 10),
    ] {
        let filter =
            KeyFilter { unused_since: unused_days.map(|days| now - TimeDelta::days(days)), ..KeyFilter::default() };
        let paging = Paging { size: PageSize::new(10).unwrap(), ..Paging::default() };
        let list = move |conn: &mut Tx<'_>| {
            let page = api_keys::list(conn, scope, &filter, sort, &paging, now)?;
            Ok((page.len(), rows_read(conn, &["api_keys", "key_uses"])))
        };
        let (page, read) = Db::new(&app.database.url, 1).read(scope, list).await.unwrap();
        assert!(page == found && read < most, "{unused_days:?} by {sort:?} found {page} and read {read}");
    }
}

#[actix_web::test]
async fn a_use_moves_a_key_to_the_front_and_deletion_hides_it_until_restored() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let mut keys = Vec::new();
    for name in ["one", "two", "three"] {
        keys.push(mint(&token, json!({"name": name})).await);
    }
    let listed = || async {
        let list = token.get("/api/keys?sort=last_used").await.assert_ok().json();
        list["data"].as_array().unwrap().iter().map(|key| text(key, "name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(listed().await, ["three", "two", "one"], "never used: the newest first");
    for (key, expected) in [(0, ["one", "three", "two"]), (1, ["two", "one", "three"])] {
        app.advance(TimeDelta::minutes(1));
        app.key(text(&keys[key], "secret")).get("/protected/").await.assert_ok();
        app.running().state.gate.flush().await;
        assert_eq!(listed().await, expected);
    }
    // A late report of an earlier use changes no order.
    let (id, at) = (ApiKeyId(keys[1]["id"].as_i64().unwrap()), app.clock.now() - TimeDelta::hours(1));
    api_keys::update_last_used(&mut app.conn(), &[Use { id, at, ip: None }]).unwrap();
    assert_eq!(listed().await, ["two", "one", "three"]);

    token.delete(path(&keys[1], "")).await.assert_status(204);
    assert_eq!(listed().await, ["one", "three"]);
    let deleted = token.get("/api/keys?state=deleted&sort=last_used").await.assert_ok().json();
    assert!(deleted["data"][0]["last_used_at"].is_string(), "{deleted}");
    token.post_json(path(&keys[1], "/restoration"), json!({})).await.assert_ok();
    assert_eq!(listed().await, ["two", "one", "three"]);
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

#[actix_web::test]
async fn uses_of_all_tenants_share_one_order_and_are_deleted_with_their_keys() {
    let app = TestApp::start().await;
    create_keys_with_uses(&app, 400).await;
    let other = app.make_tenant("other");
    let some = "UPDATE api_keys SET tenant_id = $1 WHERE id % 3 = 1";
    diesel::sql_query(some).bind::<BigInt, _>(other).execute(&mut app.conn()).unwrap();
    let mut conn = app.conn();
    let now = Utc::now();
    let lengths = [Scope::Instance, Scope::Tenant(app.tenant), Scope::Tenant(other)].map(|scope| {
        let mut all =
            api_keys::list_after(&mut conn, scope, &KeyFilter::default(), KeySort::Newest, None, 1_000, now).unwrap();
        all.sort_by_key(|key| std::cmp::Reverse((key.last_used_at, key.id)));
        let (there, back) = read_both_ways(&mut conn, scope, &KeyFilter::default(), KeySort::LastUsed);
        assert_eq!(there, ids(&all));
        assert_eq!(back, ids(&all));
        all.len()
    });
    assert!(lengths[0] == lengths[1] + lengths[2] && 100 < lengths[2], "{lengths:?}");

    diesel::sql_query("DELETE FROM api_keys WHERE id % 2 = 0").execute(&mut conn).unwrap();
    let strays = "SELECT count(*) AS count FROM key_uses FULL JOIN api_keys ON id = api_key_id WHERE id IS NULL OR api_key_id IS NULL";
    let strays: Count = diesel::sql_query(strays).get_result(&mut conn).unwrap();
    assert_eq!(strays.count, 0);
}
