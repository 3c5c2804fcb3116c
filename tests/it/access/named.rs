//! Tenants named in the query: every route of the API respects them.

use gatepost::domain::TenantId;
use gatepost::services::tenants::{self, TenantRef};
use gatepost::web::routes::Door;
use serde_json::{Value, json};

use super::callers::{Body, Caller, Callers};
use super::rows::{self, Rows};
use super::{Line, door, lines};
use crate::support::{Answer, TestApp};

/// Routes of the whole instance, which refuse a tenant.
const OF_THE_INSTANCE: [&str; 3] = ["/api/users", "/api/plans", "POST /api/tenants"];

/// Returns the table's lines for API routes, except those whose path already has `tenant_id`.
fn api_lines() -> Vec<(Line, Door)> {
    let with_door = |line: Line| door(&line).map(|door| (line, door));
    let wanted = |(line, door): &(Line, Door)| {
        matches!(door, Door::Api | Door::ApiOrKey) && !line.is_alias && !line.path.contains("tenant_id=")
    };
    lines().into_iter().filter_map(with_door).filter(wanted).collect()
}

fn is_of_the_instance(line: &Line) -> bool {
    let whole = format!("{} {}", line.method, line.path);
    OF_THE_INSTANCE.iter().any(|route| line.path.starts_with(route) || whole == *route)
}

fn naming(path: &str, tenant: &str) -> String {
    format!("{path}{}{tenant}", if path.contains('?') { '&' } else { '?' })
}

/// Returns the body without any `tenant_id`.
fn without_tenant(body: Body) -> Body {
    let Body::Json(mut value) = body else { return body };
    value.as_object_mut().unwrap().remove("tenant_id");
    if let Some(items) = value.get_mut("verifications").and_then(Value::as_array_mut) {
        items.iter_mut().for_each(|item| drop(item.as_object_mut().unwrap().remove("tenant_id")));
    }
    Body::Json(value)
}

fn names_tenant(body: &Body) -> bool {
    matches!(body, Body::Json(value) if value.to_string().contains("tenant_id"))
}

fn beta(app: &TestApp) -> TenantId {
    tenants::find(&mut app.conn(), &TenantRef::Slug("beta".to_owned())).unwrap().id
}

struct Walk<'a> {
    app: &'a TestApp,
    rows: Rows<'a>,
    wrong: Vec<String>,
}

impl Walk<'_> {
    async fn ask(&self, caller: &Caller, line: &Line, tenant: &str, body: Body) -> Answer {
        caller.ask(&line.method, &naming(&self.rows.fill(&line.path, caller), tenant), body).await
    }

    fn expect(&mut self, line: &Line, said: &str, answer: &Answer, is_right: bool) {
        if !is_right {
            self.wrong.push(format!("{} {} {said}: {} {}", line.method, line.path, answer.status, answer.body));
        }
    }

    /// Sends an instance token that names `beta`, with rows of `acme` in the path or the body.
    async fn check_instance_token(&mut self, instance: &Caller, line: &Line, door: Door) {
        let body = self.rows.body(&line.method, &line.path, door);
        if names_tenant(&body) {
            let both = self.ask(instance, line, "tenant=beta", body).await;
            self.expect(line, "named acme and beta", &both, both.status == 422 && both.body.contains("tenant"));
        }
        let body = without_tenant(self.rows.body(&line.method, &line.path, door));
        let answer = self.ask(instance, line, "tenant=beta", body).await;
        let is_right = if is_of_the_instance(line) {
            answer.status == 422
        } else if line.path.contains('{') {
            answer.status == 404
        } else {
            // Keys of `acme` are reported as unknown, and bulk changes skip them.
            answer.status < 300 || (line.path == "/api/usage" && answer.status == 422)
        };
        self.expect(line, "was asked in beta", &answer, is_right && !answer.body.contains(rows::MARK));
        if let Some(made) = serde_json::from_str::<Value>(&answer.body).unwrap_or_default().get("tenant_id") {
            let is_there = *made == json!(beta(self.app));
            self.expect(line, "was made elsewhere than in beta", &answer, is_there);
        }
    }

    /// Sends a token and a key of `acme` that name other tenants, which must look nonexistent.
    async fn check_other_tenants(&mut self, callers: &Callers, line: &Line, door: Door) {
        let names = if door == Door::ApiOrKey { &["owner", "key"][..] } else { &["owner"][..] };
        let scope = if door == Door::ApiOrKey { line.scope.as_str() } else { "-" };
        for name in names.iter().copied() {
            let caller = callers.named(name, scope, door, self.app);
            let mut details = Vec::new();
            let by_id = format!("tenant_id={}", beta(self.app));
            for tenant in ["tenant=beta", &by_id, "tenant=none", "tenant_id=999999"] {
                let body = without_tenant(self.rows.body(&line.method, &line.path, door));
                let answer = self.ask(&caller, line, tenant, body).await;
                let is_operators = answer.status == 403 && line.expected[5] == "403";
                let is_hidden = answer.status == 404 || is_operators;
                self.expect(line, &format!("by a {name} of acme with {tenant}"), &answer, is_hidden);
                details.push(serde_json::from_str::<Value>(&answer.body).unwrap_or_default()["detail"].take());
            }
            if details.iter().any(|detail| *detail != details[0]) {
                self.wrong
                    .push(format!("{} {}: a {name} learns which tenants exist: {details:?}", line.method, line.path));
            }
        }
    }
}

#[actix_web::test]
async fn every_route_respects_a_tenant_named_in_the_query() {
    let app = TestApp::start().await;
    let callers = Callers::gather(&app).await;
    let mut walk = Walk { app: &app, rows: Rows::new(&app, &callers), wrong: Vec::new() };
    for (line, door) in api_lines() {
        let instance = callers.named("instance", "-", door, &app);
        walk.check_instance_token(&instance, &line, door).await;
        walk.check_other_tenants(&callers, &line, door).await;
    }
    assert!(walk.wrong.is_empty(), "{}", walk.wrong.join("\n"));
}

#[actix_web::test]
async fn a_write_refuses_unknown_query_parameters() {
    let app = TestApp::start().await;
    let callers = Callers::gather(&app).await;
    let mut walk = Walk { app: &app, rows: Rows::new(&app, &callers), wrong: Vec::new() };
    for (line, door) in api_lines().into_iter().filter(|(line, _)| line.method != "GET") {
        for name in if door == Door::ApiOrKey { &["instance", "key"][..] } else { &["instance"] } {
            let caller = callers.named(name, if *name == "key" { &line.scope } else { "-" }, door, &app);
            let body = walk.rows.body(&line.method, &line.path, door);
            let answer = walk.ask(&caller, &line, "overlap=0", body).await;
            walk.expect(&line, "with overlap=0", &answer, answer.status == 422 && answer.body.contains("overlap"));
        }
    }
    assert!(walk.wrong.is_empty(), "{}", walk.wrong.join("\n"));
}

#[actix_web::test]
async fn contradictory_tenants_in_one_request_are_refused() {
    let app = TestApp::start().await;
    let (beta, oscar) = (app.make_tenant("beta"), app.operator("oscar").await);
    let instance = app.instance_token_of(&oscar, &["*"]);
    let both = json!({"name": "ci", "tenant": "beta", "tenant_id": app.tenant});
    instance.post_json("/api/keys", both).await.assert_invalid("tenant");
    let (acme, key) = (format!("tenant_id={}", app.tenant), json!({"name": "ci", "tenant": "acme"}));
    let made = instance.post_json(format!("/api/keys?{acme}&tenant=acme"), key).await.assert_status(201).json();
    assert_eq!(made["tenant_id"], json!(app.tenant));
    instance.get(format!("/api/keys?{acme}&tenant=beta")).await.assert_invalid("tenant");
    instance.get(format!("/api/keys?{acme}&tenant_id={beta}")).await.assert_invalid("tenant_id");
    instance.get("/api/keys?tenant_id=acme").await.assert_invalid("tenant_id");
    // Verifications answered before routing (`src/web/direct.rs`) and routed ones behave alike.
    let asked = json!({"key": made["secret"]});
    for path in ["/api/keys/verification", "/api/keys/verify"] {
        let here = instance.post_json(format!("{path}?tenant=acme"), asked.clone()).await.assert_ok().json();
        let there = instance.post_json(format!("{path}?tenant=beta"), asked.clone()).await.assert_ok().json();
        assert_eq!((&here["code"], &there["code"]), (&json!("VALID"), &json!("NOT_FOUND")));
    }
    let many = json!({"verifications": [{"key": made["secret"]}, {"key": made["secret"], "tenant": "beta"}]});
    let there = instance.post_json("/api/keys/verifications?tenant=beta", many.clone()).await.assert_ok().json();
    assert!(there["data"].as_array().unwrap().iter().all(|one| one["code"] == "NOT_FOUND"));
    let refused = instance.post_json("/api/keys/verifications?tenant=acme", many.clone()).await;
    refused.assert_invalid("verifications[1].tenant");
    instance.post_json("/api/keys/verifications?tenant=none", many).await.assert_problem(404, "not_found");
    // An instance token can create a token for the named tenant.
    let token = json!({"name": "ci", "scopes": ["keys:read"]});
    let token = instance.post_json("/api/tokens?tenant=acme", token).await.assert_status(201).json();
    assert_eq!(token["tenant_id"], json!(app.tenant));
    instance.get(format!("/api/tokens/{}?tenant=acme", token["id"])).await.assert_ok();
    instance.get(format!("/api/tokens/{}?tenant=beta", token["id"])).await.assert_problem(404, "not_found");
    instance.get(format!("/api/tenants/{}?tenant=acme", app.tenant)).await.assert_ok();
    let listed = instance.get("/api/tenants?tenant=beta").await.assert_ok().json();
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
}
