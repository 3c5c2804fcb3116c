//! Usage records of a process that ends: a stop loses none, and a kill loses those of the last interval at most.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use diesel::prelude::*;
use gatepost::model::usage_log::usage_logs;
use serde_json::json;

use super::crashes::{on, prepare};
use super::serving::Served;
use crate::support::database::Database;
use crate::support::{Person, Receiver};

/// Default interval between writes of usage.
const FLUSH: Duration = Duration::from_millis(250);
/// Time allowed for one write on a busy machine.
const WRITE: Duration = Duration::from_secs(3);

struct Instance {
    database: Database,
    served: Served,
    program: Person,
    secret: String,
}

impl Instance {
    async fn start() -> Self {
        let database = Database::clone_template();
        let gatepost = on(&database);
        let token = prepare(&gatepost, &Receiver::start().await);
        let secret = gatepost.run(&["keys", "create", "--tenant", "acme", "--name", "ci"]).ok().line().to_owned();
        let served = Served::start(&gatepost);
        let program = Person::with_token(&served.base, &token);
        Self { database, served, program, secret }
    }

    /// Verifies the key, and returns the id of the request.
    async fn verify(&self) -> String {
        let answer = self.program.post_json("/api/keys/verification", json!({"key": self.secret})).await;
        answer.assert_ok().json()["request_id"].as_str().unwrap().to_owned()
    }
}

fn recorded_requests(database: &Database) -> BTreeSet<String> {
    let ids: Vec<String> = usage_logs::table.select(usage_logs::request_id).load(&mut database.connect()).unwrap();
    ids.into_iter().collect()
}

#[actix_web::test]
async fn a_stop_loses_no_usage() {
    let house = Instance::start().await;
    let ids = futures_util::future::join_all((0..100).map(|_| house.verify())).await;
    assert_eq!(house.served.stop(), 0);
    assert_eq!(recorded_requests(&house.database), ids.into_iter().collect());
}

#[actix_web::test]
async fn a_kill_loses_the_usage_of_one_interval_at_most() {
    let house = Instance::start().await;
    let (begun, mut answered) = (Instant::now(), Vec::new());
    while begun.elapsed() < WRITE + 4 * FLUSH {
        answered.push((house.verify().await, Instant::now()));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    house.served.kill();
    let killed = Instant::now();

    let kept = recorded_requests(&house.database);
    let lost = answered.iter().filter(|(id, _)| !kept.contains(id));
    let oldest = lost.map(|(_, at)| killed - *at).max().unwrap_or_default();
    assert!(oldest <= FLUSH + WRITE, "one of {oldest:?} before the end is lost");
    assert!(!kept.is_empty());
}
