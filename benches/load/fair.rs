//! Effects of one tenant's load on another tenant: a backlog, dead endpoints, and a long history.

use std::net::TcpListener;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use gatepost::store::partitions;

use crate::arrival;
use crate::child::Child;
use crate::client::{Line, Request, share};
use crate::delivery;
use crate::postgres::Cluster;

/// Waiting deliveries of one webhook.
const BACKLOG: i64 = 100_000;
/// Endpoints that accept connections and never respond, each with its own host and due deliveries.
const DEAD: usize = 1_000;
/// Due deliveries per dead endpoint.
const EACH: i64 = 5;
/// Deliveries that ended long ago, with their events and attempts.
const HISTORY: i64 = 1_000_000;

/// Inserts events and due deliveries. Parameters: webhook, count.
const DUE: &str = "WITH made AS (
     INSERT INTO events (id, tenant_id, type, payload, created_at)
     SELECT uuid_v7(clock_timestamp()), w.tenant_id, 'bench.due', '{}', now()
     FROM webhooks w, generate_series(1, $2) WHERE w.id = $1
     RETURNING id, tenant_id
 )
 , due AS (
     INSERT INTO deliveries (id, tenant_id, event_id, event_type, webhook_id, state, attempts_max, created_at)
     SELECT uuid_v7(clock_timestamp()), tenant_id, id, 'bench.due', $1, 'pending', 5, now() FROM made
     RETURNING *
 )
 INSERT INTO open_deliveries (tenant_id, delivery_id, event_id, event_type, webhook_id, attempts_made, attempts_max, next_attempt_at)
 SELECT tenant_id, id, event_id, event_type, webhook_id, 0, attempts_max, now() FROM due";

/// Inserts deliveries that ended in the past days. Parameters: webhook, count.
const PAST: &str = "WITH past AS (
     SELECT uuid_v7(now() - n * INTERVAL '2 seconds') AS id, now() - n * INTERVAL '2 seconds' AS at
     FROM generate_series(1, $2) n
 ), made AS (
     INSERT INTO events (id, tenant_id, type, payload, created_at)
     SELECT past.id, w.tenant_id, 'bench.past', '{\"id\": 1}', past.at FROM past, webhooks w WHERE w.id = $1
 ), delivered AS (
     INSERT INTO deliveries (id, tenant_id, event_id, event_type, webhook_id, state, attempts_made, attempts_max,
         last_status, created_at, finished_at)
     SELECT past.id, w.tenant_id, past.id, 'bench.past', w.id, 'delivered', 1, 10, 200, past.at, past.at
     FROM past, webhooks w WHERE w.id = $1
 )
 INSERT INTO attempts (id, tenant_id, delivery_id, event_id, event_type, webhook_id, number, request_url, request_headers,
     response_status, response_headers, response_body, duration_ms, success, created_at, finished_at)
 SELECT past.id, w.tenant_id, past.id, past.id, 'bench.past', w.id, 1, w.url, '{}', 200, '{}', '', 3, TRUE, past.at, past.at
 FROM past, webhooks w WHERE w.id = $1";

fn run(conn: &mut PgConnection, sql: &str, webhook: i64, count: i64) {
    diesel::sql_query(sql).bind::<BigInt, _>(webhook).bind::<BigInt, _>(count).execute(conn).unwrap();
}

/// Creates a webhook of the busy tenant and returns its id.
async fn subscribe(gatepost: &Child, url: &str, more: &str) -> i64 {
    let bearer = format!("authorization: Bearer {}", gatepost.told("token"));
    let ask = format!("{{\"url\": \"{url}\", \"events\": [\"bench.never\"]{more}}}");
    let request = Request::new("POST", "/api/webhooks", gatepost.addr, &[&bearer], &ask).expecting(201);
    let made: serde_json::Value = serde_json::from_str(&Line::open(gatepost.addr).await.ask(&request).await).unwrap();
    made["id"].as_i64().unwrap()
}

pub async fn to_others(bare: &Child, gatepost: &Child) {
    let calm = gatepost.told("calm_token");
    let per_second = (delivery::one_by_one(bare, gatepost, calm).await / 2.0) as u32;
    println!("One tenant's events at {per_second}/s, half of what can be delivered, from the answer to the arrival");
    let mut conn = PgConnection::establish(gatepost.told("database")).unwrap();
    arrival::subscribe(bare, gatepost, calm, "calm", "null").await;
    let tell = async |name: &str| {
        let took = arrival::measure(bare, gatepost, calm, "calm", per_second).await;
        println!("  {name:<44} p50 {:>6} µs   p99 {:>7} µs", share(&took, 500), share(&took, 990));
    };
    tell("alone").await;
    let busy = subscribe(gatepost, &format!("http://{}/hook", bare.addr), ", \"max_in_flight\": 100").await;
    run(&mut conn, DUE, busy, BACKLOG);
    tell("beside another's backlog of 100,000").await;
    println!("    of which wait after that              {:>8}", waiting(&mut conn));
    diesel::sql_query("DELETE FROM open_deliveries WHERE lease_token IS NULL").execute(&mut conn).unwrap();
    // A tenant may have 1,000 webhooks: delete the others to make room for the dead ones.
    let all = "UPDATE webhooks SET deleted_at = now() WHERE tenant_id = (SELECT tenant_id FROM webhooks WHERE id = $1)";
    diesel::sql_query(all).bind::<BigInt, _>(busy).execute(&mut conn).unwrap();
    // Connections stay in the accept queue while these listeners live.
    let listeners: Vec<_> = (0..DEAD).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let mut dead = Vec::new();
    for listener in &listeners {
        let url = format!("http://{}/", listener.local_addr().unwrap());
        dead.push(subscribe(gatepost, &url, ", \"timeout_seconds\": 2").await);
    }
    dead.iter().for_each(|webhook| run(&mut conn, DUE, *webhook, EACH));
    tell("beside another's 1,000 dead endpoints").await;
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

fn waiting(conn: &mut PgConnection) -> i64 {
    let query = "SELECT count(*) AS count FROM open_deliveries";
    diesel::sql_query(query).get_result::<Count>(conn).unwrap().count
}

/// Measures batch deliveries without history, with a million ended deliveries, and after dropping those. The last run
/// shows if the machine's speed has changed meanwhile.
pub async fn with_history(bare: &Child, gatepost: &Child) {
    println!("Published in batches and delivered");
    let mut conn = PgConnection::establish(gatepost.told("database")).unwrap();
    let before = told("with no history", bare, gatepost).await;
    let past = subscribe(gatepost, &format!("http://{}/hook", bare.addr), "").await;
    let now = chrono::Utc::now();
    let days: Vec<_> = (1..=30).map(|day| now - chrono::TimeDelta::days(day)).collect();
    partitions::make_by_id(&mut conn, &days).unwrap();
    run(&mut conn, PAST, past, HISTORY);
    for table in partitions::BY_ID {
        diesel::sql_query(format!("VACUUM ANALYZE {table}")).execute(&mut conn).unwrap();
    }
    // Write dirty pages now, so that they are not written during the measurement.
    diesel::sql_query("CHECKPOINT").execute(&mut conn).unwrap();
    let size: Size = diesel::sql_query("SELECT pg_size_pretty(pg_database_size(current_database())) AS size")
        .get_result(&mut conn)
        .unwrap();
    println!("  a million have ended: {}", size.size);
    let with = told("with them", bare, gatepost).await;
    for table in partitions::BY_ID {
        partitions::drop_by_id(&mut conn, table, now - chrono::TimeDelta::days(1)).unwrap();
    }
    let after = told("once they have been dropped", bare, gatepost).await;
    println!("  with, of the mean without      {:>8.2}", with * 2.0 / (before + after));
}

async fn told(name: &str, bare: &Child, gatepost: &Child) -> f64 {
    let cluster = Cluster::of(gatepost);
    let (server, database) = (gatepost.cpu(), cluster.cpu());
    let (rate, all) = delivery::in_batches(bare, gatepost).await;
    let [server, database] = [gatepost.cpu() - server, cluster.cpu() - database].map(|cpu| cpu * 1e3 / all as f64);
    println!("  {name:<30} {rate:>8.0}/s   CPU each: server {server:.2} ms, Postgres {database:.2} ms");
    rate
}

#[derive(QueryableByName)]
struct Size {
    #[diesel(sql_type = Text)]
    size: String,
}
