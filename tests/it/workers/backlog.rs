//! Backlog of one tenant: rows read by the statements that run for every delivery.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use gatepost::domain::delivery::Outcome;
use gatepost::domain::retry::Jitter;
use gatepost::domain::{Actor, Result, TenantId};
use gatepost::services::dispatch::{self, Claim, LeaseLimits, LeasedDeliveries};
use gatepost::services::events::NewEvent;
use gatepost::services::outbox::{self, PublishRequest};
use gatepost::store::{Db, Scope, Tx};
use serde_json::json;

use crate::support::database::rows_read;
use crate::support::{Receiver, TestApp};

const ROOM: LeaseLimits = LeaseLimits { slots: 16, for_failing: 4, per_tenant: 48 };
const LEASE: Duration = Duration::from_secs(75);
const BACKLOG: i64 = 100_000;
/// Maximum rows that a statement may read here: a few per delivery that it handles or that is in flight.
const FEW: i64 = 400;

/// Creates waiting deliveries of this tenant's webhook. Most wait until later, so the webhook is busy, not
/// unresponsive.
fn fill(conn: &mut PgConnection, tenant: TenantId, count: i64) {
    diesel::sql_query(
        "WITH due AS (
             INSERT INTO deliveries (id, tenant_id, event_id, event_type, webhook_id, state, attempts_max, created_at)
             SELECT uuid_v7(now()), w.tenant_id, e.id, 'a', w.id, 'pending', 10, now()
             FROM webhooks w, (SELECT id FROM events LIMIT 1) e, generate_series(1, $2) WHERE w.tenant_id = $1
             RETURNING *
         )
         INSERT INTO open_deliveries (tenant_id, delivery_id, event_id, event_type, webhook_id, attempts_made, attempts_max,
             next_attempt_at)
         SELECT tenant_id, id, event_id, event_type, webhook_id, 0, attempts_max, now() FROM due",
    )
    .bind::<BigInt, _>(tenant)
    .bind::<BigInt, _>(count)
    .execute(conn)
    .unwrap();
}

/// Worker on one connection with cached plans, like the server's connections.
struct Worker {
    db: Db,
    app: TestApp,
    tenants: [TenantId; 2],
}

impl Worker {
    /// Starts a server, creates two tenants with a webhook each, and stops the server.
    async fn start() -> Self {
        let mut app = TestApp::start().await;
        let program = app.program().await;
        let receiver = Receiver::start().await;
        program.subscribe(&receiver, json!({"max_in_flight": 4})).await;
        app.stop().await;
        let busy = app.make_tenant("busy");
        let copy = "INSERT INTO webhooks (tenant_id, name, url, events, is_active, payload_format, signature_style,
                timeout_seconds, max_in_flight, headers, created_at, updated_at)
            SELECT $1, name, url || '/busy', events, TRUE, payload_format, signature_style, timeout_seconds, max_in_flight,
                headers, created_at, updated_at FROM webhooks";
        diesel::sql_query(copy).bind::<BigInt, _>(busy).execute(&mut app.conn()).unwrap();
        let db = Db::by_index(&app.database.url, 1);
        Self { db, tenants: [app.tenant, busy], app }
    }

    /// Returns the rows of open deliveries that this work read, and its result.
    async fn reads<T: Send + 'static>(&self, work: impl FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static) -> (i64, T) {
        let work = |tx: &mut Tx<'_>| {
            let before = rows_read(tx, &["open_deliveries"]);
            let done = work(tx)?;
            Ok((rows_read(tx, &["open_deliveries"]) - before, done))
        };
        self.db.tx(Scope::Instance, work).await.unwrap()
    }

    /// Publishes, leases, sends and settles one event of each tenant, and looks for due deliveries. Returns the rows
    /// that each step read.
    async fn round(&self) -> Vec<(&'static str, i64)> {
        let event = || NewEvent::parse(Some("a"), Some("1"), None).unwrap();
        let posts: Vec<_> = self
            .tenants
            .iter()
            .map(|tenant| Arc::new(PublishRequest::new(Actor::system(*tenant), vec![event()])))
            .collect();
        let (publish, mut claims) = self.reads(move |tx| Ok(outbox::publish(tx, &posts, ROOM, LEASE)?.claims)).await;
        let (look, webhooks) = self.reads(|tx| Ok(dispatch::look(tx, ROOM, TimeDelta::zero())?.webhooks)).await;
        let lease = move |tx: &mut Tx<'_>| {
            let LeasedDeliveries { claims, .. } = dispatch::claim(tx, &webhooks, ROOM, LEASE, TimeDelta::zero())?;
            Ok(claims)
        };
        let (claim, more) = self.reads(lease).await;
        claims.extend(more);
        assert!(!claims.is_empty());
        let answered = Outcome { status: Some(200), ..Outcome::default() };
        let settled =
            claims.into_iter().map(|claim: Claim| claim.settle(&[], answered.clone(), Jitter::NONE)).collect();
        let settle = move |tx: &mut Tx<'_>| {
            let all: Vec<_> = settled;
            dispatch::settle(tx, &all, TimeDelta::zero()).map(|_| ())
        };
        let (settle, ()) = self.reads(settle).await;
        let (reap, _) = self.reads(move |tx| dispatch::reap(tx, 100)).await;
        vec![("publish", publish), ("look", look), ("claim", claim), ("settle", settle), ("reap", reap)]
    }
}

#[actix_web::test]
async fn no_statement_of_delivery_reads_a_backlog_whatever_statistics_say() {
    let worker = Worker::start().await;
    let mut conn = worker.app.conn();
    let mut read = vec![("an empty table", worker.round().await)];
    let moments = [
        ("a backlog with the plans of an empty table", "", BACKLOG, "SELECT 1"),
        ("a backlog with statistics", "", 0, "ANALYZE open_deliveries"),
        ("a backlog after a vacuum", "", 0, "VACUUM ANALYZE open_deliveries"),
        (
            "a small table with statistics",
            "DELETE FROM open_deliveries WHERE lease_token IS NULL",
            10,
            "ANALYZE open_deliveries",
        ),
        ("a backlog with the plans of a small table", "", BACKLOG, "SELECT 1"),
    ];
    for (moment, before, more, then) in moments {
        conn.batch_execute(&format!("{before}; SELECT 1")).unwrap();
        fill(&mut conn, worker.tenants[1], more);
        conn.batch_execute(then).unwrap();
        read.push((moment, worker.round().await));
    }
    for (moment, statements) in read {
        for (statement, rows) in statements {
            assert!(rows <= FEW, "beside {moment}, to {statement} reads {rows} rows");
        }
    }
}
