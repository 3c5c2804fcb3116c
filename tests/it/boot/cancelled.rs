//! Log messages about deliveries that were cancelled during an attempt.

use std::fs::{self, File};
use std::time::Duration;

use serde_json::json;

use super::crashes::{on, prepare};
use super::serving::{SERVE, Served};
use crate::support::database::Database;
use crate::support::receiver::Reply;
use crate::support::{Person, Receiver};

/// Waits until an attempt is settled.
async fn until_settled(served: &Served) {
    for _ in 0..1_000 {
        let metrics = Person::stranger(&served.base).get("/metrics").await.body;
        if metrics.lines().any(|line| line.starts_with("gatepost_attempts_total{") && line.ends_with(" 1")) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no attempt was settled");
}

#[actix_web::test]
async fn a_response_after_deletion_of_its_webhook_is_logged_as_cancelled_and_not_as_a_lost_lease() {
    let (database, folder, receiver) =
        (Database::clone_template(), tempfile::tempdir().unwrap(), Receiver::start().await);
    receiver.answer([Reply::new(200).held()]);
    let gatepost = on(&database);
    let token = prepare(&gatepost, &receiver);
    let log = folder.path().join("log");
    let served = Served::listening(gatepost.start_logging(&SERVE, File::create(&log).unwrap()));
    let program = Person::with_token(&served.base, &token);
    program.publish("a", json!(1)).await;
    receiver.wait_for(1).await;
    program.delete("/api/webhooks/1").await.assert_status(204);
    receiver.release();
    until_settled(&served).await;
    assert_eq!(served.stop(), 0);

    let log = fs::read_to_string(&log).unwrap();
    let said: Vec<_> = log.lines().filter(|line| line.contains("attempts came back after")).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("their delivery had been cancelled") && said[0].contains("INFO"), "{said:?}");
}
