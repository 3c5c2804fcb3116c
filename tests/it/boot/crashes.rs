//! Crashes of processes and databases during publishing and delivery: no acknowledged event is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use diesel::prelude::*;
use gatepost::domain::EventId;
use gatepost::schema::{attempts, deliveries};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::command::Gatepost;
use super::serving::Served;
use crate::support::database::Database;
use crate::support::people::PASSWORD;
use crate::support::receiver::Reply;
use crate::support::settings::{MASTER_KEY, PEPPER};
use crate::support::{Person, Receiver};

const KILLS: usize = 20;
const EVENTS: usize = 10_000;
const BATCH: usize = 100;

pub const LOOPBACK: [(&str, &str); 4] = [
    ("API_KEY_PEPPER", PEPPER),
    ("GATEPOST_MASTER_KEY", MASTER_KEY),
    ("GATEPOST_ALLOW_PRIVATE_NETWORKS", "127.0.0.0/8"),
    ("GATEPOST_ALLOW_HTTP_WEBHOOKS", "true"),
];

pub fn on(database: &Database) -> Gatepost {
    Gatepost::new(&[&[("DATABASE_URL", database.url.as_str())][..], &LOOPBACK].concat())
}

/// Creates a tenant with a webhook to this receiver, and returns a token that can publish.
pub fn prepare(gatepost: &Gatepost, receiver: &Receiver) -> String {
    gatepost.run(&["tenants", "create", "--name", "Acme", "--plan", "unlimited"]).ok();
    let user = ["users", "create", "--email", "ada@example.com", "--operator", "--password-stdin"];
    gatepost.run_with(&user, PASSWORD).ok();
    gatepost.run(&["members", "add", "--user", "ada@example.com", "--tenant", "acme", "--role", "owner"]).ok();
    let webhook = ["webhooks", "create", "--tenant", "acme", "--url", &receiver.url, "--events", "*"];
    gatepost.run(&[&webhook[..], &["--max-in-flight", "100"]].concat()).ok();
    let token = ["tokens", "create", "--user", "ada@example.com", "--tenant", "acme", "--name", "ci", "--scopes", "*"];
    gatepost.run(&token).ok().line().to_owned()
}

/// Client that publishes batch after batch to the current server, and keeps the ids of acknowledged events.
#[derive(Clone)]
struct Publisher {
    base: Arc<Mutex<String>>,
    token: String,
    acknowledged: Arc<Mutex<Vec<String>>>,
    is_over: Arc<AtomicBool>,
    refused: Arc<AtomicUsize>,
}

impl Publisher {
    fn new(base: &str, token: String) -> Self {
        Self {
            base: Arc::new(Mutex::new(base.to_owned())),
            token,
            acknowledged: Arc::default(),
            is_over: Arc::default(),
            refused: Arc::default(),
        }
    }

    async fn run(self, events: usize) {
        let client = gatepost::outbound::http().tls_certs_only([]).build().unwrap();
        let batch: Vec<Value> = (0..BATCH).map(|n| json!({"type": "order.created", "data": {"n": n}})).collect();
        let body = json!({"events": batch}).to_string();
        while self.acknowledged.lock().await.len() < events && !self.is_over.load(Ordering::Acquire) {
            let url = format!("{}/api/events/batch", self.base.lock().await);
            let request = client.post(url).bearer_auth(&self.token).header("content-type", "application/json");
            // Without a response, the batch counts as not acknowledged.
            let answer = match request.body(body.clone()).send().await {
                Ok(answer) if answer.status() == 202 => answer.text().await,
                Ok(answer) => {
                    assert_eq!(answer.status(), 503, "{:?}", answer.text().await);
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            };
            let Ok(answer) = answer else { continue };
            let Ok(answer) = serde_json::from_str::<Value>(&answer) else { continue };
            let ids = answer["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned());
            self.acknowledged.lock().await.extend(ids);
        }
    }
}

/// Waits for a condition, at most this long.
async fn until(what: &str, patience: Duration, mut is_so: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + patience;
    while !is_so().await {
        assert!(Instant::now() < end, "in {patience:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    count: i64,
}

fn waiting(conn: &mut PgConnection) -> i64 {
    deliveries::table.filter(deliveries::state.ne("delivered")).count().get_result(conn).unwrap()
}

/// Counts other connections: a killed process may have sent a COMMIT that is still running.
fn others(conn: &mut PgConnection) -> i64 {
    let sql = "SELECT count(*) AS count FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    diesel::sql_query(sql).get_result::<Count>(conn).unwrap().count
}

/// Makes all leases expire, and returns their number.
fn expire_leases(conn: &mut PgConnection) -> usize {
    let sql = "UPDATE open_deliveries SET lease_until = clock_timestamp() - INTERVAL '1 second' WHERE lease_token IS NOT NULL";
    diesel::sql_query(sql).execute(conn).unwrap()
}

/// Returns the number of arrivals of each event, by its id.
fn counts(receiver: &Receiver) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in receiver.received() {
        *counts.entry(request.header("webhook-id").to_owned()).or_default() += 1;
    }
    counts
}

/// Asserts that each received request has an attempt on record.
fn assert_attempts_recorded(conn: &mut PgConnection, receiver: &Receiver) {
    let rows: Vec<(EventId, i64)> = attempts::table.select((attempts::event_id, attempts::number)).load(conn).unwrap();
    let on_record: BTreeSet<_> = rows.into_iter().map(|(event, number)| (event.to_string(), number)).collect();
    for request in receiver.received() {
        let seen = (request.header("webhook-id").to_owned(), request.header("x-webhook-attempt").parse().unwrap());
        assert!(on_record.contains(&seen), "{seen:?} has no attempt");
    }
}

#[actix_web::test]
async fn twenty_kills_lose_no_event_and_repeat_only_requests_in_flight() {
    let database = Database::clone_template();
    let (gatepost, receiver) = (on(&database), Receiver::start().await);
    let token = prepare(&gatepost, &receiver);
    let mut conn = database.connect();
    let mut served = Served::start(&gatepost);
    let publisher = Publisher::new(&served.base, token);
    let publishing = tokio::spawn(publisher.clone().run(EVENTS));
    let mut in_flight = 0;
    for kill in 1..=KILLS {
        let wanted = kill * EVENTS / (KILLS + 1);
        until("deliveries come", Duration::from_secs(60), async || wanted <= receiver.count()).await;
        served.kill();
        until("its transactions are over", Duration::from_secs(20), async || others(&mut conn) == 0).await;
        in_flight += expire_leases(&mut conn);
        served = Served::start(&gatepost);
        *publisher.base.lock().await = served.base.clone();
    }
    publishing.await.unwrap();
    until("all is delivered", Duration::from_secs(60), async || waiting(&mut conn) == 0).await;

    let (acknowledged, counts) = (publisher.acknowledged.lock().await.clone(), counts(&receiver));
    assert!(EVENTS <= acknowledged.len());
    let lost: Vec<_> = acknowledged.iter().filter(|id| !counts.contains_key(*id)).collect();
    assert!(lost.is_empty(), "{} are lost: {lost:?}", lost.len());
    let doubled: usize = counts.values().map(|count| count - 1).sum();
    assert!(doubled <= in_flight, "{doubled} came twice, {in_flight} were in flight");
    assert!(0 < in_flight, "no kill has hit anything");
    assert_attempts_recorded(&mut conn, &receiver);
    served.stop();
}

/// Requests that one process may have in flight. Two processes may have twice as many.
const OF_ONE: usize = 20;

#[actix_web::test]
async fn two_processes_share_the_work_and_send_nothing_twice() {
    let database = Database::clone_template();
    let receiver = Receiver::start().await;
    let most = OF_ONE.to_string();
    let own = [("DATABASE_URL", database.url.as_str()), ("GATEPOST_DELIVERIES_IN_FLIGHT", &most)];
    let gatepost = Gatepost::new(&[&own[..], &LOOPBACK].concat());
    let token = prepare(&gatepost, &receiver);
    receiver.answer(std::iter::repeat_n(Reply::new(200).held(), 2 * OF_ONE));
    let (one, two) = (Served::start(&gatepost), Served::start(&gatepost));
    let publish = |base: &str| Publisher::new(base, token.clone()).run(600);
    futures_util::future::join(publish(&one.base), publish(&two.base)).await;
    receiver.wait_for(2 * OF_ONE).await;
    receiver.release();
    let mut conn = database.connect();
    until("all is delivered", Duration::from_secs(30), async || waiting(&mut conn) == 0).await;
    let counts = counts(&receiver);
    assert_eq!((counts.len(), counts.values().max()), (1_200, Some(&1)));
    for base in [&one.base, &two.base] {
        let metrics = Person::stranger(base).get("/metrics").await.body;
        let sent = metrics.lines().find(|line| line.starts_with("gatepost_attempts_total{success=\"true\"}"));
        assert!(sent.is_some_and(|line| !line.ends_with(" 0")), "{sent:?}");
    }
    assert_attempts_recorded(&mut conn, &receiver);
    assert_eq!((one.stop(), two.stop()), (0, 0));
}

#[actix_web::test]
async fn a_crash_between_sending_and_settling_sends_again_and_records_a_lost_attempt() {
    let database = Database::clone_template();
    let (gatepost, receiver) = (on(&database), Receiver::start().await);
    let token = prepare(&gatepost, &receiver);
    let served = Served::start(&gatepost);
    receiver.answer([Reply::new(200).held()]);
    let event = Person::with_token(&served.base, &token).publish("order.created", json!(1)).await;
    receiver.wait_for(1).await;
    served.kill();
    assert_eq!(expire_leases(&mut database.connect()), 1);
    receiver.release();

    let served = Served::start(&gatepost);
    let received = receiver.wait_for(2).await;
    assert_eq!(received[0].header("webhook-id"), received[1].header("webhook-id"));
    assert_eq!(received[1].header("x-webhook-attempt"), "2");
    let delivery = Person::with_token(&served.base, &token).delivery_once(&event, "delivered", 2).await;
    let first = &delivery["attempts"][0];
    assert!(first["error"].as_str().unwrap().contains("stopped before it could note the answer"), "{first}");
    served.stop();
}

fn postmaster(data_dir: &Path) -> Option<i32> {
    let note = std::fs::read_to_string(data_dir.join("postgres/postmaster.pid")).ok()?;
    note.lines().next()?.parse().ok()
}

/// Connects to the private Postgres of a data directory, using the port in its note.
fn connect_to_private(data_dir: &Path) -> PgConnection {
    let note = std::fs::read_to_string(data_dir.join("postgres/postmaster.pid")).unwrap();
    let lines: Vec<_> = note.lines().map(str::trim).collect();
    let address = format!("host='{}' port={} user=gatepost dbname=gatepost", lines[4], lines[3]);
    PgConnection::establish(&address).unwrap()
}

#[actix_web::test]
async fn an_immediate_stop_of_postgres_under_load_loses_no_event() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let data_dir = folder.path().join("data");
    let place = data_dir.display().to_string();
    let own = [("GATEPOST_DATA_DIR", place.as_str()), ("PATH", "/usr/local/bin:/usr/bin:/bin")];
    let gatepost = Gatepost::new(&[&own[..], &LOOPBACK[2..]].concat());
    let receiver = Receiver::start().await;
    let served = Served::start(&gatepost);
    let token = prepare(&gatepost, &receiver);
    let publisher = Publisher::new(&served.base, token.clone());
    // Several publishers, so that each stop interrupts at least one.
    let publishing: Vec<_> = (0..3).map(|_| tokio::spawn(publisher.clone().run(usize::MAX))).collect();
    for stop in 1..=3 {
        let before = receiver.count();
        until("deliveries come", Duration::from_secs(30), async || before + 200 <= receiver.count()).await;
        let stopped = postmaster(&data_dir).unwrap();
        kill_process(Pid::from_raw(stopped).unwrap(), Signal::QUIT).unwrap();
        let is_back = async || postmaster(&data_dir).is_some_and(|now| now != stopped);
        until(&format!("stop {stop}: it is started again"), Duration::from_secs(30), is_back).await;
    }
    let before = receiver.count();
    until("deliveries come again", Duration::from_secs(30), async || before + 200 <= receiver.count()).await;
    publisher.is_over.store(true, Ordering::Release);
    for one in publishing {
        one.await.unwrap();
    }
    assert!(0 < publisher.refused.load(Ordering::Relaxed), "nobody noticed");

    let acknowledged = publisher.acknowledged.lock().await.clone();
    let program = Person::with_token(&served.base, &token);
    // If a COMMIT was done but its response was lost, no process knows of its leases, so make them expire.
    expire_leases(&mut connect_to_private(&data_dir));
    until("all is delivered", Duration::from_secs(60), async || {
        let left = ["pending", "retrying"].map(|state| format!("/api/deliveries?limit=1&state={state}"));
        let mut count = 0;
        for list in left {
            count += program.get(list).await.assert_ok().json()["data"].as_array().unwrap().len();
        }
        count == 0
    })
    .await;
    let counts = counts(&receiver);
    let lost: Vec<_> = acknowledged.iter().filter(|id| !counts.contains_key(*id)).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
    assert_eq!(served.stop(), 0);
}
