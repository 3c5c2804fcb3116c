//! Leaks: no created secret appears in the database, the logs, the audit log or the metrics.

use std::collections::BTreeSet;
use std::fs::{self, File};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use diesel::prelude::*;
use diesel::sql_types::Text;
use gatepost::domain::Clock;
use serde_json::{Value, json};

use super::command::Gatepost;
use super::serving::{SERVE, Served};
use crate::pages::second_factor::Device;
use crate::support::database::Database;
use crate::support::people::PASSWORD;
use crate::support::secrets::mistyped;
use crate::support::settings::{MASTER_KEY, PEPPER};
use crate::support::{Answer, Person};

/// Routes whose responses contain a secret. The access test checks the responses of all routes, and fails if one is
/// missing here.
pub const MAKERS: [&str; 15] = [
    "POST /api/auth/login",
    "POST /api/keys",
    "POST /api/api-keys",
    "POST /api-keys",
    "POST /api/keys/{}/rotation",
    "POST /api/api-keys/{}/rotation",
    "POST /api-keys/{}/rotation",
    "POST /api/tenants/{}/invitations",
    "POST /api/tokens",
    "POST /api/webhooks",
    "GET /api/webhooks/{}/secret",
    "POST /keys",
    "POST /keys/{}/rotation",
    "POST /tokens",
    "POST /webhooks/{}/secret",
];

/// Further routes with secrets, which have no recognizable form or are part of links.
pub const MORE_MAKERS: [&str; 6] = [
    "POST /api/webhooks/{}/secret-rotation",
    "POST /members/invitations",
    "POST /operator/users/{}/reset-link",
    "GET /account/second-factor",
    "POST /account/second-factor/activation",
    "POST /account/second-factor/recovery-codes",
];

/// Returns Gatepost's secrets in a response: keys, access tokens, signing secrets, and tokens in links.
pub fn secrets_in(body: &str) -> Vec<String> {
    let is_inside = |c: char| c.is_ascii_alphanumeric() || "_+/=-".contains(c);
    let words = body.split(|c| !is_inside(c)).filter(|word| !word.is_empty());
    words.filter_map(secret_of).collect()
}

fn secret_of(word: &str) -> Option<String> {
    if let Some((_, token)) = word.split_once("token=") {
        return (token.len() == 43).then(|| token.to_owned());
    }
    if let Some(at) = word.find("whsec_") {
        return (word.len() - at > 30).then(|| word[at..].trim_end_matches('"').to_owned());
    }
    let word = word.trim_start_matches("GATEPOST_API_SECRET=");
    let (prefix, tail) = word.rsplit_once('_')?;
    let is_one = tail.len() == 71 && tail.chars().all(|c| c.is_ascii_alphanumeric()) && !prefix.is_empty();
    is_one.then(|| word.to_owned())
}

/// Secrets collected during the test.
#[derive(Default)]
struct CollectedSecrets(BTreeSet<String>);

impl CollectedSecrets {
    /// Collects the secrets in a response, which must contain at least one.
    #[track_caller]
    fn take(&mut self, answer: &Answer) -> Vec<String> {
        let found = secrets_in(&answer.body);
        assert!(!found.is_empty(), "{} {}", answer.status, answer.body);
        self.0.extend(found.iter().cloned());
        found
    }

    fn add(&mut self, secret: &str) {
        assert!(7 < secret.len(), "{secret} is too short to be found");
        self.0.insert(secret.to_owned());
    }

    /// Collects the session key in a cookie.
    fn cookie(&mut self, answer: &Answer) {
        let cookie = answer.header("set-cookie").split(';').next().unwrap_or_default();
        let value = cookie.split_once('=').map(|(_, value)| value).unwrap_or_default().replace("%3D", "=");
        assert!(60 < value.len(), "a signed session key: {cookie}");
        self.add(&value[value.len() - 43..]);
    }
}

/// Returns the forms in which a secret may be stored. Each is long enough to exclude chance matches.
fn forms(secret: &str) -> Vec<String> {
    // The id in a key is public, and so are four characters of its secret on both ends.
    let tail = secret.rsplit_once('_').map_or("", |(_, tail)| tail);
    let core = if tail.len() == 71 { &tail[27..66] } else { secret };
    let mut forms = vec![core.to_owned(), hex::encode(core), STANDARD.encode(secret)];
    for alphabet in [&STANDARD, &URL_SAFE_NO_PAD] {
        let raw = alphabet.decode(secret.trim_start_matches("whsec_")).unwrap_or_default();
        if 16 <= raw.len() {
            forms.extend([hex::encode(&raw), STANDARD.encode(&raw), URL_SAFE_NO_PAD.encode(&raw)]);
        }
    }
    forms.extend([core.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D"), core.replace(' ', "+")]);
    forms
}

/// Returns the secrets that a text contains in any form.
fn found<'a>(secrets: impl IntoIterator<Item = &'a String>, text: &str) -> Vec<String> {
    let stands = |secret: &&String| forms(secret).iter().any(|form| text.contains(form.as_str()));
    secrets.into_iter().filter(stands).cloned().collect()
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// Returns all rows of all tables, with bytes in hexadecimal.
fn dump(conn: &mut PgConnection) -> String {
    let tables = "SELECT relname::text AS line FROM pg_class WHERE relnamespace = 'public'::regnamespace
                  AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY 1";
    let tables: Vec<Line> = diesel::sql_query(tables).load(conn).unwrap();
    assert!(20 < tables.len());
    let mut text = String::new();
    for Line { line: table } in tables {
        let rows: Vec<Line> =
            diesel::sql_query(format!("SELECT t::text AS line FROM \"{table}\" t")).load(conn).unwrap();
        for row in rows {
            text.push_str(&format!("{table}: {}\n", row.line));
        }
    }
    text
}

async fn form(person: &Person, page: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
    let shown = person.visit(page).await.html();
    let (csrf, nonce) = (shown.value("_csrf"), shown.value("nonce"));
    let mut all = vec![("_csrf", csrf.as_str()), ("nonce", nonce.as_str())];
    all.extend_from_slice(fields);
    person.submit_exactly(path, &all).await
}

/// Creates the first operator by the setup link, and returns their signed-in browser.
async fn first_operator(served: &Served, loot: &mut CollectedSecrets) -> Person {
    let grace = Person::stranger(&served.base);
    let token = served.printed.rsplit_once("token=").unwrap().1.trim().to_owned();
    loot.add(&token);
    let page = grace.visit(format!("/setup?token={token}")).await.assert_ok().html();
    let (csrf, owner) = (page.value("_csrf"), "a setup of many random words");
    loot.add(owner);
    let fields = [("_csrf", csrf.as_str()), ("token", &token), ("email", "grace@example.com"), ("password", owner)];
    let done = grace.submit_exactly("/setup", &[&fields[..], &[("name", "Grace"), ("tenant", "Acme")]].concat()).await;
    loot.cookie(done.assert_see_other("/"));
    grace
}

/// Creates keys in every way, and presents them correctly and mistyped.
async fn keys(program: &Person, browser: &Person, loot: &mut CollectedSecrets) {
    let made = program.with("idempotency-key", "once").post_json("/api/keys", json!({"name": "one"})).await;
    let secret = loot.take(made.assert_status(201)).remove(0);
    program.with("idempotency-key", "once").post_json("/api/keys", json!({"name": "one"})).await.assert_status(201);
    let fields = [("name", "two"), ("environment", "test"), ("expiry", "never"), ("rate_window_seconds", "3600")];
    loot.take(form(browser, "/keys/new", "/keys", &fields).await.assert_ok());
    loot.take(program.post_json("/api/keys/1/rotation", json!({})).await.assert_status(201));
    let rotated = form(browser, "/keys/2/rotation", "/keys/2/rotation", &[("overlap_seconds", "0")]).await;
    loot.take(rotated.assert_ok());
    let nobody = Person::stranger(&browser.base);
    nobody.with("x-api-key", &secret).get("/protected/").await.assert_ok();
    nobody.with("authorization", &format!("Bearer {secret}")).get("/api/data").await.assert_ok();
    nobody.get(format!("/protected/?api_key={secret}")).await.assert_ok();
    nobody.with("x-api-key", &secret).get("/auth").await.assert_ok();
    let mistyped = mistyped(&secret);
    loot.add(&mistyped);
    nobody.with("x-api-key", &mistyped).get("/protected/").await.assert_status(401);
    for body in [json!({"key": secret}), json!({"key": mistyped}), json!({"key": secret, (secret.as_str()): 1})] {
        program.post_json("/api/keys/verification", body.clone()).await;
        program.post_json("/api/keys/lookup", body).await;
    }
    browser.submit("/keys/lookup", &[("clue", secret.as_str())]).await.assert_see_other("/keys/1");
    let unknown = browser.submit("/keys/lookup", &[("clue", mistyped.as_str())]).await;
    assert!(unknown.status < 500 && !unknown.body.contains(&mistyped), "{}", unknown.status);
}

async fn webhooks(program: &Person, browser: &Person, loot: &mut CollectedSecrets) {
    let hook = json!({"url": "https://example.com/hook", "events": ["never.happens"]});
    loot.take(program.post_json("/api/webhooks", hook).await.assert_status(201));
    let brought = "a signing secret that somebody brought along";
    loot.add(brought);
    let own = json!({"url": "https://example.com/own", "events": ["never.happens"], "secret": brought});
    program.post_json("/api/webhooks", own).await.assert_status(201);
    program.get("/api/webhooks/2/secret").await.assert_ok();
    let answer = program.post_json("/api/webhooks/1/secret-rotation", json!({})).await;
    loot.take(answer.assert_ok());
    let fields = [
        ("url", "https://example.com/page"),
        ("events", "never.happens"),
        ("payload_format", "standard"),
        ("signature_style", "prefixed"),
        ("timeout_seconds", "30"),
        ("max_in_flight", "10"),
    ];
    form(browser, "/webhooks/new", "/webhooks", &fields).await.assert_see_other("/webhooks/3");
    loot.take(browser.submit("/webhooks/3/secret", &[]).await.assert_ok());
    browser.submit("/webhooks/3/secret-rotation", &[]).await;
    loot.take(browser.submit("/webhooks/3/secret", &[]).await.assert_ok());
}

/// Invites people, resets passwords, and signs in.
async fn people(gatepost: &Gatepost, program: &Person, browser: &Person, loot: &mut CollectedSecrets) {
    // A mailed link is in no response.
    let ask = json!({"email": "dan@example.com", "role": "developer"});
    let mailed = program.post_json("/api/tenants/1/invitations", ask).await;
    assert_eq!(secrets_in(&mailed.assert_status(201).body), [""; 0]);
    let fields = [("email", "eve@example.com"), ("role", "viewer"), ("days", "7")];
    form(browser, "/members/invitations/new", "/members/invitations", &fields).await.assert_see_other("/members");
    let ask = ["members", "invite", "--email", "dan@example.com", "--tenant", "acme", "--role", "developer"];
    let link = secrets_in(&gatepost.run(&ask).ok().stdout).remove(0);
    loot.add(&link);
    let dan = Person::stranger(&browser.base);
    let joined = [("token", link.as_str()), ("name", "Dan"), ("password", PASSWORD)];
    loot.cookie(dan.submit("/invitation", &joined).await.assert_see_other("/"));
    let new = "quite another password of mine";
    let changed = [("current_password", PASSWORD), ("password", new)];
    loot.cookie(dan.submit("/account/password", &changed).await.assert_see_other("/account"));
    let mailed = browser.submit("/operator/users/2/reset-link", &[]).await;
    assert_eq!(secrets_in(&mailed.assert_see_other("/operator/users").body), [""; 0]);
    let reset = gatepost.run(&["users", "reset-link", "--email", "dan@example.com"]).ok();
    let reset = secrets_in(&reset.stdout).remove(0);
    loot.add(&reset);
    let last = "a password that was set by a link";
    let fields = [("token", reset.as_str()), ("password", last)];
    Person::stranger(&browser.base).submit("/password-reset", &fields).await.assert_see_other("/sign-in");
    let wrong = "a wrong guess at a password!!";
    let guess = [("email", "dan@example.com"), ("password", wrong)];
    Person::stranger(&browser.base).submit("/sign-in", &guess).await.assert_status(422);
    for password in [PASSWORD, new, last, wrong] {
        loot.add(password);
    }
}

/// Sets up a second factor, and signs in with a code and with recovery codes.
async fn second_factor(browser: &Person, loot: &mut CollectedSecrets) {
    let begin = [("current_password", "a setup of many random words")];
    browser.submit("/account/second-factor", &begin).await.assert_see_other("/account/second-factor");
    let page = browser.visit("/account/second-factor").await.html();
    let secret = page.text(".help .copyable code");
    loot.add(&secret);
    let code = Device::new(&secret).code(Clock::default().now());
    let shown = browser.submit("/account/second-factor/activation", &[("code", &code)]).await;
    let codes: String = shown.assert_ok().html().select("#recovery-codes")[0].text().collect();
    let codes: Vec<&str> = codes.split_whitespace().collect();
    let renewed = browser.submit("/account/second-factor/recovery-codes", &[("renewal_code", codes[0])]).await;
    let fresh: String = renewed.assert_ok().html().select("#recovery-codes")[0].text().collect();
    for code in codes.into_iter().chain(fresh.split_whitespace()) {
        loot.add(code);
        loot.add(&code.replace('-', ""));
    }
    let login = json!({
        "email": "grace@example.com", "password": "a setup of many random words",
        "code": fresh.split_whitespace().next().unwrap(),
    });
    let api = Person::stranger(&browser.base);
    loot.take(api.post_json("/api/auth/login", login).await.assert_status(201));
}

/// Runs the commands that print secrets.
fn console(gatepost: &Gatepost, loot: &mut CollectedSecrets) {
    let mut line = |arguments: &[&str], stdin: &str| {
        let ran = gatepost.run_with(arguments, stdin).ok();
        let secrets = secrets_in(&ran.stdout);
        assert_eq!(secrets.len(), 1, "{ran:?}");
        loot.add(&secrets[0]);
    };
    line(&["keys", "create", "--tenant", "acme", "--name", "console"], "");
    line(&["keys", "rotate", "5", "--overlap-seconds", "60"], "");
    line(&["tokens", "create", "--user", "grace@example.com", "--name", "all", "--scopes", "*"], "");
    line(&["members", "invite", "--email", "x@example.com", "--tenant", "acme", "--role", "viewer"], "");
    line(&["users", "reset-link", "--email", "dan@example.com"], "");
    let password = "a password typed at the console";
    gatepost.run_with(&["users", "set-password", "--email", "dan@example.com", "--password-stdin"], password).ok();
    loot.add(password);
}

#[actix_web::test]
async fn no_created_secret_appears_in_database_logs_or_metrics() {
    let (database, folder) = (Database::clone_template(), tempfile::tempdir().unwrap());
    let gatepost = Gatepost::new(&[
        ("DATABASE_URL", &database.url),
        ("API_KEY_PEPPER", PEPPER),
        ("GATEPOST_MASTER_KEY", MASTER_KEY),
        ("GATEPOST_ALLOW_QUERY_KEY", "true"),
        // No mail server listens here, so the mails wait in sealed form.
        ("GATEPOST_SMTP_URL", "smtp://me:the-password-of-a-mailbox@127.0.0.1:9"),
    ]);
    let log = folder.path().join("log");
    let served = Served::listening(gatepost.start_logging(&SERVE, File::create(&log).unwrap()));
    let mut loot = CollectedSecrets::default();
    loot.add(PEPPER);
    loot.add(MASTER_KEY);
    loot.add("the-password-of-a-mailbox");
    let browser = first_operator(&served, &mut loot).await;
    // Setup of a second factor revokes access tokens, so it comes first.
    second_factor(&browser, &mut loot).await;
    let fields = [("name", "page"), ("reach", "tenant"), ("expiry", "never")];
    let token = loot.take(form(&browser, "/tokens/new", "/tokens", &fields).await.assert_ok()).remove(0);
    let program = Person::with_token(&served.base, &token);
    let made = program.post_json("/api/tokens", json!({"name": "api", "scopes": ["keys:read"]})).await;
    loot.take(made.assert_status(201));
    keys(&program, &browser, &mut loot).await;
    webhooks(&program, &browser, &mut loot).await;
    people(&gatepost, &program, &browser, &mut loot).await;
    console(&gatepost, &mut loot);
    let marked = program.post_json("/api/keys", json!({"name": "the mark of this test"})).await.json();
    loot.take(&Answer { status: 201, headers: Default::default(), body: marked.to_string() });
    let metrics = browser.get("/metrics").await.body;
    let request_id = program.get("/api/keys/4711").await.json()["request_id"].as_str().unwrap().to_owned();
    assert_eq!(served.stop(), 0);

    let mut conn = database.connect();
    let (rows, log) = (dump(&mut conn), fs::read_to_string(&log).unwrap());
    assert!(45 < loot.0.len(), "{} secrets were made", loot.0.len());
    assert_eq!(found(&loot.0, &rows), [""; 0], "in the database");
    assert_eq!(found(&loot.0, &log), [""; 0], "in the logs");
    assert_eq!(found(&loot.0, &metrics), [""; 0], "in the metrics");

    // Check that the search works: names, ids and requests are found.
    assert!(rows.contains("mails: ") && rows.contains("signing_secrets: ") && rows.contains("second_factors: "));
    assert!(rows.contains("api_keys: ") && rows.contains("the mark of this test"));
    assert!(rows.contains(marked["key"].as_str().unwrap()) && rows.contains("user.password_changed"));
    assert!(log.contains(&request_id) && log.contains("TRACE") && log.contains("/api/keys/verification"));
    assert!(metrics.contains("gatepost_"));
    assert_search_finds(&mut conn, marked["secret"].as_str().unwrap());
}

/// Checks that the search finds a planted secret as text, as bytes, and in JSON.
fn assert_search_finds(conn: &mut PgConnection, secret: &str) {
    let secrets = [secret.to_owned()];
    let detail = json!({"note": Value::from(secret)}).to_string();
    for statement in [
        format!("UPDATE api_keys SET description = 'x {secret} y' WHERE id = 1"),
        format!("UPDATE sessions SET state = '{detail}'::jsonb"),
        format!("UPDATE signing_secrets SET sealed = convert_to('{secret}', 'UTF8')"),
        format!("UPDATE idempotency_keys SET answer = '{detail}'::jsonb"),
    ] {
        let planted = conn.transaction::<(), diesel::result::Error, _>(|conn| {
            assert!(0 < diesel::sql_query(&statement).execute(conn)?, "{statement}");
            assert_eq!(found(&secrets, &dump(conn)), secrets, "{statement}");
            Err(diesel::result::Error::RollbackTransaction)
        });
        assert!(matches!(planted, Err(diesel::result::Error::RollbackTransaction)), "{planted:?}");
    }
}
