//! Access table: the expected status of every route for every kind of caller.

mod callers;
mod named;
mod rows;

use std::collections::BTreeSet;

use gatepost::web::routes::{self, Door};

use crate::boot::leaks;
use crate::support::TestApp;
use callers::{CALLERS, Callers};
use rows::Rows;

/// Expected statuses, one line per route: method, path, required scope, then one status per caller. `in` means a
/// redirect to the sign-in page.
///
/// In a path, `{key}` becomes the id of a new key of the tenant `acme`, created by its admin. `{own-key}` becomes the
/// id of a key that the caller owns. Other placeholders work alike. Requests name the tenant `acme` where a route takes
/// a tenant.
///
/// `other` is an admin of another tenant, `stranger` sends no credentials, and `suspended` has a key of the suspended
/// tenant `closed`. People use a session for pages, and a token with all scopes for the API. `bare-token` and
/// `bare-key` have every scope except the required one.
const TABLE: &str = include_str!("access/table.txt");

struct Line {
    method: String,
    path: String,
    scope: String,
    expected: Vec<String>,
    is_alias: bool,
}

/// Callers for the alternative paths. These suffice to show that an alternative path has the same access rules.
const CALLERS_OF_ALIASES: [&str; 4] = ["stranger", "other", "viewer", "admin"];

fn lines() -> Vec<Line> {
    let mut lines = TABLE.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let head: Vec<_> = lines.next().unwrap().split_whitespace().skip(3).collect();
    assert_eq!(head, CALLERS, "the table's columns");
    let parse = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        let line = Line {
            method: words.next().unwrap(),
            path: words.next().unwrap(),
            scope: words.next().unwrap(),
            expected: words.collect(),
            is_alias: false,
        };
        assert_eq!(line.expected.len(), CALLERS.len(), "{} {}", line.method, line.path);
        line
    };
    let lines: Vec<Line> = lines.map(parse).collect();
    let aliases: Vec<Line> = lines.iter().flat_map(aliases).collect();
    lines.into_iter().chain(aliases).collect()
}

/// Returns the alternative paths of an `/api/keys` route, with the same expected statuses.
fn aliases(line: &Line) -> Vec<Line> {
    let rest = line.path.strip_prefix("/api/keys").map(str::to_owned);
    let names = rest.map(|rest| [format!("/api/api-keys{rest}"), format!("/api-keys{rest}")]);
    let named = |path| Line {
        path,
        method: line.method.clone(),
        scope: line.scope.clone(),
        expected: line.expected.clone(),
        is_alias: true,
    };
    names.into_iter().flatten().map(named).collect()
}

/// Returns the route's pattern: `/api/keys/{own-key}?tenant_id={tenant}` becomes `/api/keys/{}`.
fn pattern(path: &str) -> String {
    let path = path.split('?').next().unwrap();
    let mut pattern = String::new();
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('{') {
        pattern.push_str(before);
        pattern.push_str("{}");
        rest = after.split_once('}').unwrap().1;
    }
    pattern + rest
}

#[test]
fn every_route_is_in_the_table() {
    let named: BTreeSet<_> = lines().iter().map(|line| format!("{} {}", line.method, pattern(&line.path))).collect();
    let routes: BTreeSet<_> =
        routes::all().iter().map(|entry| format!("{} {}", entry.method, pattern(&entry.path))).collect();
    let missing: Vec<_> = routes.difference(&named).collect();
    let gone: Vec<_> = named.difference(&routes).collect();
    assert!(missing.is_empty() && gone.is_empty(), "missing: {missing:#?}\nno such route: {gone:#?}");
}

/// Read-only routes for webhooks and deliveries, open to every member. All other routes with such ids change something.
const READS_OF_WEBHOOKS: [&str; 6] = [
    "GET /api/webhooks/{}",
    "GET /api/webhooks/{}/statistics",
    "GET /api/webhooks/{}/deliveries",
    "GET /api/deliveries/{}",
    "GET /webhooks/{}",
    "GET /deliveries/{}",
];

#[test]
fn every_change_of_a_webhook_is_in_the_table_for_own_and_other_webhooks() {
    let is_of_webhooks = |path: &str| path.contains("/webhooks/{}") || path.contains("/deliveries/{}");
    for entry in routes::all() {
        let route = format!("{} {}", entry.method, pattern(&entry.path));
        if !is_of_webhooks(&route) || READS_OF_WEBHOOKS.contains(&route.as_str()) {
            continue;
        }
        let lines = lines();
        let lines = lines.iter().filter(|line| format!("{} {}", line.method, pattern(&line.path)) == route);
        let (own, others): (Vec<_>, Vec<_>) = lines.partition(|line| line.path.contains("{own-"));
        assert!(!own.is_empty() && !others.is_empty(), "{route}");
        // `viewer` and `developer` are the third and fourth callers.
        for line in others {
            assert_eq!(line.expected[2..4], ["403", "403"], "{route}: another member's");
        }
    }
}

/// Returns the kind of route. `None` if no route matches the line, which `every_route_is_in_the_table` reports.
fn door(line: &Line) -> Option<Door> {
    let is_it =
        |entry: &routes::Entry| entry.method.as_str() == line.method && pattern(&entry.path) == pattern(&line.path);
    routes::all().into_iter().find(is_it).map(|entry| entry.door)
}

/// Requests the table's lines of some kinds of routes. Fails with the corrected line for each unexpected status.
async fn walk(is_wanted: impl Fn(Door, &str) -> bool) {
    let app = TestApp::start().await;
    let callers = Callers::gather(&app).await;
    let rows = Rows::new(&app, &callers);
    let (mut wrong, mut shown, mut makers) = (Vec::new(), Vec::new(), BTreeSet::new());
    for line in lines() {
        let Some(door) = door(&line).filter(|door| is_wanted(*door, &line.path)) else { continue };
        let mut answers = Vec::new();
        for (name, expected) in CALLERS.into_iter().zip(&line.expected) {
            if line.is_alias && !CALLERS_OF_ALIASES.contains(&name) {
                answers.push(expected.clone());
                continue;
            }
            let caller = callers.named(name, &line.scope, door, &app);
            let path = rows.fill(&line.path, &caller);
            let answer = caller.ask(&line.method, &path, rows.body(&line.method, &line.path, door)).await;
            if !leaks::secrets_in(&answer.body).is_empty() {
                makers.insert(format!("{} {}", line.method, pattern(&line.path)));
            }
            let is_elsewhere = ["stranger", "other", "suspended"].contains(&name);
            if is_elsewhere && answer.body.contains(rows::MARK) {
                shown.push(format!("{} {} shows acme's rows to {name}", line.method, line.path));
            }
            let to_sign_in = answer.status == 303 && answer.header("location").starts_with("/sign-in");
            answers.push(if to_sign_in { "in".to_owned() } else { answer.status.to_string() });
        }
        if answers != line.expected {
            wrong.push(print(&line, &line.expected).replacen(&line.method, "expected", 1));
            wrong.push(print(&line, &answers));
        }
    }
    // The test in `boot::leaks` calls each of these routes and searches for their secrets.
    let known = leaks::MAKERS.iter().chain(&leaks::MORE_MAKERS);
    let known: BTreeSet<_> = known.map(|route| (*route).to_owned()).collect();
    let unknown: Vec<_> = makers.difference(&known).collect();
    assert!(unknown.is_empty(), "these answer with secrets: {unknown:#?}");
    assert!(wrong.is_empty() && shown.is_empty(), "{shown:#?}\n{}", wrong.join("\n"));
}

fn print(line: &Line, answers: &[String]) -> String {
    let cells: String =
        answers.iter().zip(CALLERS).map(|(answer, name)| format!(" {answer:<w$}", w = name.len())).collect();
    format!("{:<6} {:<47} {:<28}{}", line.method, line.path, line.scope, cells).trim_end().to_owned()
}

/// Returns the number of the test that covers this page, since all pages are too many for one test.
fn part(path: &str) -> usize {
    let begins = |roots: &[&str]| roots.iter().any(|root| path.starts_with(root));
    if begins(&["/keys", "/usage", "/setup"]) {
        0
    } else if begins(&["/operator", "/settings", "/members", "/audit", "/invitation"]) {
        1
    } else {
        2
    }
}

#[actix_web::test]
async fn pages_about_keys_answer_every_caller_as_in_the_table() {
    walk(|door, path| door == Door::Page && part(path) == 0).await;
}

#[actix_web::test]
async fn pages_about_people_and_tenants_answer_every_caller_as_in_the_table() {
    walk(|door, path| door == Door::Page && part(path) == 1).await;
}

#[actix_web::test]
async fn all_other_pages_answer_every_caller_as_in_the_table() {
    walk(|door, path| door == Door::Page && part(path) == 2).await;
}

#[actix_web::test]
async fn the_api_answers_every_caller_as_in_the_table() {
    walk(|door, _| door == Door::Api).await;
}

#[actix_web::test]
async fn routes_for_keys_and_public_routes_answer_every_caller_as_in_the_table() {
    walk(|door, _| door != Door::Page && door != Door::Api).await;
}
