//! Lists and filters on a large database, at the first call of a connection and at later ones.
//!
//! Postgres may change a statement's plan at the sixth call of a connection, so the sixth is printed beside the
//! median.

use std::time::Instant;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::BigInt;

use crate::child::Child;
use crate::client::{Line, Request};

/// Environment variable with the number of keys and deliveries. Usage gets five times as many records, the audit log a
/// fifth of the entries.
const SIZE: &str = "GATEPOST_BENCH_SIZE";
const CALLS: usize = 20;
/// Wait for table statistics, which Postgres writes at most once a second.
const STATISTICS: std::time::Duration = std::time::Duration::from_millis(1_200);

/// Requests with the token of the large tenant.
const OF_THE_TENANT: &[&str] = &[
    "/api/keys",
    "/api/keys?q=99999",
    "/api/keys?q=billing",
    "/api/keys?q=production",
    "/api/keys?tag=team-4",
    "/api/keys?tag=rare-tag",
    "/api/keys?scope=events:read",
    "/api/keys?owner=customer-4",
    "/api/keys?state=active",
    "/api/keys?state=disabled",
    "/api/keys?state=expired",
    "/api/keys?state=revoked",
    "/api/keys?state=rotating",
    "/api/keys?state=deleted",
    "/api/keys?environment=test",
    "/api/keys?unused_days=30",
    "/api/keys?expiring_days=7",
    "/api/keys?sort=name",
    "/api/keys?sort=last_used",
    "/api/keys?sort=expires",
    "/api/keys?sort=last_used&q=12",
    "/api/keys/count",
    "/api/tenants/1/plan",
    "/api/tenants/1/members",
    "/api/tenants/1/invitations",
    "/api/tokens",
    "/api/webhooks",
    "/api/webhooks/1/statistics",
    "/api/events",
    "/api/events?type=order.paid",
    "/api/events?type=order.never",
    "/api/deliveries",
    "/api/deliveries?state=failed",
    "/api/deliveries?state=retrying",
    "/api/deliveries?status=5xx",
    "/api/deliveries?type=order.paid",
    "/api/deliveries?state=failed&type=order.paid",
    "/api/deliveries?webhook_id=17",
    "/api/deliveries?webhook_id=17&state=failed",
    "/api/deliveries?since={week}&until={day}",
    "/api/webhook-logs",
    "/api/webhook-logs?success=false",
    "/api/webhook-logs?success=true",
    "/api/webhook-logs?status=5xx",
    "/api/webhook-logs?webhook_id=17",
    "/api/webhook-logs?webhook_id=17&success=false",
    "/api/webhook-logs?type=order.paid",
    "/api/webhook-logs?since={week}&until={day}",
    "/api/audit",
    "/api/audit?action=api_key.revoked",
    "/api/audit?actor=user4@example.com",
    "/api/usage/records",
    "/api/usage/records?refused=true",
    "/api/usage/records?outcome=EXPIRED",
    "/api/usage/records?since={week}&until={day}",
    "/api/usage",
    "/api/usage?since={week}",
    "/api/usage?since={month}&bucket=day",
    "/api/usage?since={month}&bucket=day&group_by=key",
    "/api/usage?since={month}&bucket=day&group_by=owner",
    "/api/usage?since={month}&bucket=day&group_by=endpoint",
    "/api/usage?since={month}&bucket=day&group_by=outcome",
    "/api/keys/{key}/usage?since={month}&bucket=day",
];

/// Requests with an operator's instance token.
const OF_THE_INSTANCE: &[&str] = &[
    "/api/tenants",
    "/api/users",
    "/api/keys",
    "/api/keys?state=revoked",
    "/api/deliveries?state=failed",
    "/api/webhook-logs?success=false",
    "/api/audit",
];

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

fn count(conn: &mut PgConnection, sql: &str) -> i64 {
    diesel::sql_query(sql).get_result::<Count>(conn).unwrap().count
}

pub async fn lists(gatepost: &Child) {
    let size: i64 =
        std::env::var(SIZE).map_or(1_000_000, |text| text.parse().expect("GATEPOST_BENCH_SIZE is a number"));
    let mut conn = PgConnection::establish(gatepost.told("database")).unwrap();
    println!("Lists of a tenant with 3 of 10 of {size} keys and 4 of 10 of {size} deliveries and {} calls", 5 * size);
    fill(&mut conn, size);
    println!("  {:<58} {:>9} {:>9} {:>9} {:>9}", "GET", "first ms", "median", "sixth", "rows read");
    for (token, paths) in [("token", OF_THE_TENANT), ("instance_token", OF_THE_INSTANCE)] {
        let bearer = format!("authorization: Bearer {}", gatepost.told(token));
        let mut line = Line::open(gatepost.addr).await;
        for path in paths {
            let path = path_now(path, gatepost);
            let request = Request::new("GET", &path, gatepost.addr, &[&bearer], "");
            measure(&mut conn, &mut line, &request, &path).await;
        }
    }
}

/// Fills the tables step by step, and prints the time of each step.
fn fill(conn: &mut PgConnection, size: i64) {
    let settings = format!("SET synchronous_commit = off; SET work_mem = '256MB'; SET bench.size = {size}");
    conn.batch_execute(&settings).unwrap();
    for step in include_str!("scale.sql").split("--# ").skip(1) {
        let (name, sql) = step.split_once('\n').unwrap();
        let begun = Instant::now();
        conn.batch_execute(sql).unwrap();
        eprintln!("  {name}: {:.0} s", begun.elapsed().as_secs_f64());
    }
    let begun = Instant::now();
    audit(conn, size / 5);
    conn.batch_execute("VACUUM ANALYZE").unwrap();
    eprintln!("  Audit log and vacuum: {:.0} s", begun.elapsed().as_secs_f64());
}

/// Inserts 500 entries per transaction: thousands of entries of one chain in a transaction take quadratic time.
fn audit(conn: &mut PgConnection, entries: i64) {
    for first in (0..entries).step_by(500) {
        diesel::sql_query(
            "INSERT INTO audit_entries (tenant_id, actor, via, action, target, details, ip, created_at)
             SELECT CASE WHEN n % 10 < 4 THEN 1 WHEN n % 10 > 4 THEN 2 + n % 999 END, 'user' || (n % 500) || '@example.com',
                 (ARRAY['page', 'api', 'cli'])[1 + n % 3],
                 (ARRAY['api_key.minted', 'api_key.updated', 'api_key.revoked', 'webhook.created'])[1 + n % 4],
                 'api_key:' || (n % 50000), '{\"name\": \"a key\"}', '203.0.113.7',
                 now() - INTERVAL '300 days' + n * INTERVAL '2 minutes'
             FROM generate_series($1, $1 + 499) n",
        )
        .bind::<BigInt, _>(first)
        .execute(conn)
        .unwrap();
    }
}

fn path_now(path: &str, gatepost: &Child) -> String {
    let ago = |days| (chrono::Utc::now() - chrono::TimeDelta::days(days)).format("%Y-%m-%dT%H:00:00Z").to_string();
    let path = path.replace("{day}", &ago(1)).replace("{week}", &ago(7)).replace("{month}", &ago(30));
    path.replace("{key}", &gatepost.told["key_id"].to_string())
}

async fn measure(conn: &mut PgConnection, line: &mut Line, request: &Request, path: &str) {
    const READ: &str =
        "SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)::bigint AS count FROM pg_stat_user_tables";
    let before = count(conn, READ);
    let mut took = Vec::new();
    for call in 0..=CALLS {
        // The last call only waits until all statistics are written, and is not timed.
        if call == CALLS {
            tokio::time::sleep(STATISTICS).await;
        }
        let begun = Instant::now();
        line.ask(request).await;
        took.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    took.truncate(CALLS);
    conn.batch_execute("SELECT pg_stat_clear_snapshot()").unwrap();
    let read = (count(conn, READ) - before) / (CALLS as i64 + 1);
    let (first, sixth) = (took[0], took[5]);
    let median = crate::client::median(took);
    println!("  {path:<58} {first:>9.1} {median:>9.1} {sixth:>9.1} {read:>9}");
}
