//! Plans: limits on new objects, also when requests race for the last place.

use chrono::TimeDelta;
use gatepost::domain::Role;
use serde_json::{Value, json};

use super::text;
use crate::support::{Person, TestApp};

/// Puts `acme` on the plan `free` with these limits.
async fn set_plan_limits(app: &TestApp, limits: Value) -> (Person, Person) {
    let program = app.program().await;
    let operator = app.instance_token_of(&app.operator("grace").await, &["*"]);
    operator.patch_json("/api/plans/free", limits).await.assert_ok();
    operator.patch_json("/api/tenants/1", json!({"plan": "free"})).await.assert_ok();
    (program, operator)
}

#[actix_web::test]
async fn when_requests_race_for_the_last_place_one_succeeds() {
    let app = TestApp::start().await;
    let (program, operator) = set_plan_limits(&app, json!({"max_keys": 3, "max_webhooks": 2})).await;
    program.post_json("/api/keys", json!({"name": "first"})).await.assert_status(201);
    program.post_json("/api/keys", json!({"name": "second"})).await.assert_status(201);
    program.post_json("/api/webhooks", hook(0)).await.assert_status(201);

    let keys = (0..8).map(|n| program.post_json("/api/keys", json!({"name": format!("racer {n}")})));
    let keys: Vec<u16> = futures_util::future::join_all(keys).await.iter().map(|answer| answer.status).collect();
    let hooks = (0..8).map(|n| program.post_json("/api/webhooks", hook(n)));
    let hooks: Vec<u16> = futures_util::future::join_all(hooks).await.iter().map(|answer| answer.status).collect();

    for statuses in [keys, hooks] {
        let won = statuses.iter().filter(|status| **status == 201).count();
        let lost = statuses.iter().filter(|status| **status == 409).count();
        assert_eq!((won, lost), (1, 7), "{statuses:?}");
    }
    let problem = program.post_json("/api/keys", json!({"name": "x"})).await.assert_problem(409, "limit_reached");
    assert!(text(&problem, "detail").contains("allows 3 keys"), "{problem}");
    let standing = operator.get("/api/tenants/1/plan").await.assert_ok().json();
    assert_eq!(standing["keys"], json!({"used": 3, "allowed": 3}));
    assert_eq!(standing["webhooks"], json!({"used": 2, "allowed": 2}));
    assert_eq!(text(&standing, "plan"), "free");
}

fn hook(n: i32) -> Value {
    json!({"url": format!("http://127.0.0.1:9/{n}"), "events": ["never.happens"]})
}

#[actix_web::test]
async fn only_keys_that_can_be_valid_count_against_the_plan() {
    let app = TestApp::start().await;
    let (program, operator) = set_plan_limits(&app, json!({"max_keys": 1})).await;
    let soon = (app.clock.now() + TimeDelta::minutes(5)).to_rfc3339();
    let made = program.post_json("/api/keys", json!({"name": "a", "expires_at": soon})).await;
    let first = made.assert_status(201).json();
    // A rotated key and its successor count as one.
    let rotated = program.post_json(format!("/api/keys/{}/rotation", first["id"]), json!({})).await;
    let second = rotated.assert_status(201).json();
    program.post_json("/api/keys", json!({"name": "b"})).await.assert_problem(409, "limit_reached");
    app.advance(TimeDelta::minutes(6));
    let third = program.post_json("/api/keys", json!({"name": "b"})).await.assert_status(201).json();
    // With the plan full, neither the expired key nor a deleted key can be used again.
    let later = json!({"expires_at": null});
    let path = format!("/api/keys/{}", second["id"]);
    program.patch_json(&path, later.clone()).await.assert_problem(409, "limit_reached");
    program.delete(format!("/api/keys/{}", third["id"])).await.assert_status(204);
    program.patch_json(&path, later).await.assert_ok();
    let restored = program.post_json(format!("/api/keys/{}/restoration", third["id"]), json!({})).await;
    restored.assert_problem(409, "limit_reached");
    operator.patch_json("/api/tenants/1", json!({"plan": "unlimited"})).await.assert_ok();
    program.post_json(format!("/api/keys/{}/restoration", third["id"]), json!({})).await.assert_ok();
}

#[actix_web::test]
async fn members_can_join_until_the_limit_of_the_plan() {
    let app = TestApp::start().await;
    let (program, operator) = set_plan_limits(&app, json!({"max_members": 2})).await;
    let ask = json!({"email": "x@example.com", "role": "viewer"});
    program.post_json("/api/tenants/1/invitations", ask.clone()).await.assert_status(201);
    let dan = app.make_user("dan", false);
    let add = json!({"user_id": dan, "role": "viewer"});
    operator.post_json("/api/tenants/1/members", add).await.assert_status(201);
    program.post_json("/api/tenants/1/invitations", ask).await.assert_problem(409, "limit_reached");
    let eve = app.make_user("eve", false);
    let add = json!({"user_id": eve, "role": "viewer"});
    operator.post_json("/api/tenants/1/members", add).await.assert_problem(409, "limit_reached");
}

#[actix_web::test]
async fn an_earlier_invitation_is_refused_at_the_limit_and_stays_valid() {
    let app = TestApp::start().await;
    let (program, operator) = set_plan_limits(&app, json!({"max_members": 2})).await;
    let ask = json!({"email": "x@example.com", "role": "viewer"});
    let link = program.post_json("/api/tenants/1/invitations", ask).await.assert_status(201).json();
    let token = text(&link, "link").split_once("token=").unwrap().1.to_owned();
    app.make_member(app.tenant, app.make_user("dan", false), Role::Viewer);
    let guest = app.stranger();
    let join = [("token", token.as_str()), ("name", "X"), ("password", crate::support::people::PASSWORD)];
    guest.submit("/invitation", &join).await.assert_status(409);
    operator.patch_json("/api/tenants/1", json!({"plan": "unlimited"})).await.assert_ok();
    guest.submit("/invitation", &join).await.assert_see_other("/");
}

#[actix_web::test]
async fn the_monthly_limit_of_events_is_exact() {
    let app = TestApp::start().await;
    let program = app.program().await;
    for n in 0..4 {
        program.publish("before", json!(n)).await;
    }
    let operator = app.instance_token_of(&app.operator("grace").await, &["*"]);
    operator.patch_json("/api/plans/free", json!({"max_events_per_month": 10})).await.assert_ok();
    operator.patch_json("/api/tenants/1", json!({"plan": "free"})).await.assert_ok();
    // Events from before the limit count as well. A batch is published completely or not at all.
    let batch = |size| json!({"events": (0..size).map(|n| json!({"type": "a", "data": n})).collect::<Vec<_>>()});
    program.post_json("/api/events/batch", batch(7)).await.assert_problem(409, "limit_reached");
    program.post_json("/api/events/batch", batch(3)).await.assert_status(202);
    let racers = (0..12).map(|n| program.post_json("/api/events", json!({"type": "race", "data": n})));
    let answers = futures_util::future::join_all(racers).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 202).count(), 3);
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status != 202).collect();
    refused.iter().for_each(|answer| {
        answer.assert_problem(409, "limit_reached");
    });
    let keyed = program.with("idempotency-key", "k").post_json("/api/events", json!({"type": "a", "data": 1})).await;
    keyed.assert_problem(409, "limit_reached");
    let standing = program.get("/api/tenants/1/plan").await.assert_ok().json();
    assert_eq!(standing["events_this_month"], json!({"used": 10, "allowed": 10}));
    let listed = program.get("/api/events?limit=100").await.json();
    assert_eq!(listed["data"].as_array().unwrap().len(), 10);

    // The limit does not apply to other tenants, nor after a change of plan.
    let beta = app.make_tenant("beta");
    let elsewhere = json!({"type": "a", "data": 1, "tenant_id": beta});
    operator.post_json("/api/events", elsewhere).await.assert_status(202);
    operator.patch_json("/api/tenants/1", json!({"plan": "unlimited"})).await.assert_ok();
    let start = std::time::Instant::now();
    while program.post_json("/api/events", json!({"type": "a", "data": 1})).await.status != 202 {
        assert!(start.elapsed() < std::time::Duration::from_secs(3), "still refused on another plan");
    }
}

#[actix_web::test]
async fn a_repeated_batch_with_idempotency_keys_is_counted_once_in_a_new_month() {
    let app = TestApp::start().await;
    let (program, _) = set_plan_limits(&app, json!({"max_events_per_month": 5})).await;
    let events: Vec<_> = (0..3).map(|n| json!({"type": "a", "data": n, "idempotency_key": n.to_string()})).collect();
    let batch = json!({"events": events});
    program.post_json("/api/events/batch", batch.clone()).await.assert_status(202);
    program.post_json("/api/events/batch", batch).await.assert_status(202);
    let standing = program.get("/api/tenants/1/plan").await.assert_ok().json();
    assert_eq!(standing["events_this_month"], json!({"used": 3, "allowed": 5}));
    let more: Vec<_> = (3..6).map(|n| json!({"type": "a", "data": n, "idempotency_key": n.to_string()})).collect();
    program.post_json("/api/events/batch", json!({"events": more})).await.assert_problem(409, "limit_reached");
    let listed = program.get("/api/events?limit=100").await.json();
    assert_eq!(listed["data"].as_array().unwrap().len(), 3);
}

#[actix_web::test]
async fn new_keys_get_the_plan_s_default_rate_limit_and_never_exceed_its_maximum() {
    let app = TestApp::start().await;
    let limits = json!({"default_rate_limit": 120, "max_rate_limit": 3600});
    let (program, operator) = set_plan_limits(&app, limits).await;
    let usual = program.post_json("/api/keys", json!({"name": "usual"})).await.assert_status(201).json();
    assert_eq!((usual["rate_limit"].clone(), usual["rate_window_seconds"].clone()), (json!(120), json!(3600)));
    let over = json!({"name": "x", "rate_limit": 2, "rate_window_seconds": 1});
    let refused = program.post_json("/api/keys", over).await.assert_invalid("rate_limit");
    assert_eq!(refused["errors"][0]["code"], "limit_reached");
    let path = format!("/api/keys/{}", usual["id"]);
    program.patch_json(&path, json!({"rate_limit": 3601})).await.assert_invalid("rate_limit");
    program.patch_json(&path, json!({"rate_window_seconds": 60})).await.assert_invalid("rate_limit");
    program.patch_json(&path, json!({"rate_limit": 3600})).await.assert_ok();
    // An existing limit above the plan's new maximum stays.
    operator.patch_json("/api/plans/free", json!({"max_rate_limit": 1000})).await.assert_ok();
    program.patch_json(&path, json!({"rate_limit": 3600, "name": "renamed"})).await.assert_ok();
    program.patch_json(&path, json!({"rate_limit": 2000})).await.assert_invalid("rate_limit");
}

#[actix_web::test]
async fn operators_read_and_change_plans_and_invalid_fields_are_refused_by_name() {
    let app = TestApp::start().await;
    let operator = app.instance_token_of(&app.operator("grace").await, &["*"]);
    let plans = operator.get("/api/plans").await.assert_ok().json();
    let names: Vec<_> = plans["data"].as_array().unwrap().iter().map(|plan| text(plan, "name").to_owned()).collect();
    assert_eq!(names, ["free", "pro", "unlimited"]);
    assert_eq!(plans["data"][2]["max_keys"], Value::Null);
    operator.patch_json("/api/plans/free", json!({"max_keys": -1})).await.assert_invalid("max_keys");
    operator.patch_json("/api/plans/free", json!({"default_rate_limit": 0})).await.assert_invalid("default_rate_limit");
    operator.patch_json("/api/plans/free", json!({"max_rate_limit": 1})).await.assert_invalid("max_rate_limit");
    operator.patch_json("/api/plans/free", json!({"name": "mine"})).await.assert_invalid("name");
    operator.patch_json("/api/plans/gold", json!({})).await.assert_problem(404, "not_found");
    let stale = json!({"max_keys": 1, "updated_at": "2020-01-01T00:00:00Z"});
    operator.patch_json("/api/plans/free", stale).await.assert_problem(409, "conflict");
    let changed = operator.patch_json("/api/plans/free", json!({"max_keys": null})).await.assert_ok().json();
    assert_eq!((&changed["max_keys"], &changed["max_webhooks"]), (&Value::Null, &json!(5)));
    let log = operator.get("/api/audit?action=plan.updated").await.assert_ok().json();
    assert_eq!(log["data"][0]["details"]["before"], json!({"max_keys": 10}));
    // A new tenant gets the smallest plan by default.
    let made = operator.post_json("/api/tenants", json!({"name": "New"})).await.assert_status(201).json();
    assert_eq!(text(&made, "plan"), "free");
    operator.post_json("/api/tenants", json!({"name": "x", "plan": "gold"})).await.assert_invalid("plan");
}
