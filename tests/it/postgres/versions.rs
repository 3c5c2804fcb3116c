//! Main job on every supported version of Postgres, for a superuser and for owners of only their database.

use std::time::Duration;

use diesel::dsl::count_star;
use diesel::prelude::*;
use gatepost::model::usage_log::usage_logs;
use serde_json::json;

use super::advised_sql;
use crate::boot::Gatepost;
use crate::support::database::Database;
use crate::support::{Cluster, Receiver, TestApp};

/// Migrates, creates a tenant, a user and a key, verifies the key, publishes, delivers, and writes usage.
pub async fn main_job(database: Database) {
    let receiver = Receiver::start().await;
    let mut app = TestApp::start_on(database, &[]).await;
    app.tenant = app.make_tenant("acme");
    let program = app.program().await;
    let minted = program.post_json("/api/keys", json!({"name": "main"})).await.assert_status(201).json();
    app.key(minted["secret"].as_str().unwrap()).get("/protected/").await.assert_ok();
    let key = minted["id"].as_i64().unwrap();
    program.patch_json(format!("/api/keys/{key}"), json!({"name": "changed"})).await.assert_ok();
    program.subscribe(&receiver, json!({"events": ["order.*"]})).await;
    let event = program.publish("order.created", json!({"id": 1})).await;
    receiver.wait_for(1).await;
    program.delivery_once(&event, "delivered", 1).await;
    app.stranger().get("/readyz").await.assert_ok();
    for _ in 0..500 {
        let written: i64 = usage_logs::table.select(count_star()).first(&mut app.conn()).unwrap();
        if 0 < written {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no usage is written");
}

async fn serves_every_kind_of_owner(major: u32) {
    let cluster = Cluster::of_version(major);

    // With CREATEROLE, the owner creates the role and uses it.
    main_job(cluster.owned_database("creator", "CREATEROLE")).await;

    // With CREATEROLE, after another owner has created the role. From version 16 on, only an administrator can grant
    // it.
    let second = cluster.owned_database("second", "CREATEROLE");
    if 16 <= cluster.version() {
        let refused = Gatepost::on(&second).run(&["migrate"]);
        refused.assert_failed(1, &["gatepost_app", "administrator"]);
        cluster.execute("postgres", advised_sql(&refused));
    }
    main_job(second).await;

    // Without CREATEROLE, after an administrator has run the SQL of the error message.
    let plain = cluster.owned_database("plain", "");
    let refused = Gatepost::on(&plain).run(&["migrate"]);
    refused.assert_failed(1, &["gatepost_app", "administrator"]);
    cluster.execute("postgres", advised_sql(&refused));
    main_job(plain).await;

    main_job(Database::elsewhere(cluster.url("gatepost", "gatepost"))).await;
}

#[actix_web::test]
async fn postgres_14_serves_a_superuser_and_plain_owners() {
    serves_every_kind_of_owner(14).await;
}

#[actix_web::test]
async fn postgres_15_serves_a_superuser_and_plain_owners() {
    serves_every_kind_of_owner(15).await;
}

#[actix_web::test]
async fn postgres_16_serves_a_superuser_and_plain_owners() {
    serves_every_kind_of_owner(16).await;
}

#[actix_web::test]
async fn postgres_17_serves_a_superuser_and_plain_owners() {
    serves_every_kind_of_owner(17).await;
}

#[actix_web::test]
async fn postgres_18_serves_a_superuser_and_plain_owners() {
    serves_every_kind_of_owner(18).await;
}
