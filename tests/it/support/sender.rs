//! Program of a tenant: it registers webhooks, publishes events, and reads deliveries.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::Text;
use gatepost::store::notify::Change;
use serde_json::{Value, json};

use super::{Person, Receiver, TestApp};

impl TestApp {
    /// Returns a program with all rights in the tenant `acme`.
    pub async fn program(&self) -> Person {
        let owner = self.owner("olga").await;
        self.token_of(&owner, &["*"])
    }

    /// Waits until the server has received all notifications so far. They arrive in the order of their commits, so the
    /// effect of the last one shows that all have arrived. A late notification about a new key would remove the key
    /// from the cache.
    pub async fn until_all_is_heard(&self, program: &Person) {
        let marker = program.post_json("/api/keys", json!({"name": "marker"})).await.assert_status(201).json();
        let holder = self.key(marker["secret"].as_str().unwrap());
        holder.get("/protected/").await.assert_ok();
        let public_id = marker["key"].as_str().unwrap().to_owned();
        let disable = diesel::sql_query("UPDATE api_keys SET is_active = false WHERE public_id = $1");
        let news = Change::Key(public_id.clone());
        self.tx(|tx| {
            disable.bind::<Text, _>(public_id).execute(&mut **tx)?;
            tx.announce(news);
            Ok(())
        })
        .unwrap();
        for _ in 0..100 {
            if holder.get("/protected/").await.status == 401 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the news of a change are not heard");
    }
}

impl Person {
    /// Registers this receiver for all events, with these additional settings.
    pub async fn subscribe(&self, receiver: &Receiver, besides: Value) -> Value {
        let mut body = json!({"url": receiver.url, "events": ["*"]});
        body.as_object_mut().unwrap().extend(besides.as_object().unwrap().clone());
        let answer = self.post_json("/api/webhooks", body).await;
        answer.assert_status(201);
        answer.json()
    }

    pub async fn publish(&self, kind: &str, data: Value) -> Value {
        let answer = self.post_json("/api/events", json!({"type": kind, "data": data})).await;
        answer.assert_status(202);
        answer.json()
    }

    /// Returns the only delivery of an event, with its attempts.
    pub async fn delivery_of(&self, event: &Value) -> Value {
        let list = self.get(format!("/api/deliveries?event_id={}", event["id"].as_str().unwrap())).await;
        let list = list.assert_ok().json();
        assert_eq!(list["data"].as_array().unwrap().len(), 1, "{list}");
        let found = self.get(format!("/api/deliveries/{}", list["data"][0]["id"].as_str().unwrap())).await;
        found.assert_ok().json()
    }

    /// Waits until this delivery has a finished attempt.
    pub async fn delivery_tried(&self, id: &str) {
        for _ in 0..1_000 {
            let delivery = self.get(format!("/api/deliveries/{id}")).await.assert_ok().json();
            if !delivery["attempts"].as_array().unwrap().is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no attempt of {id} has come back");
    }

    /// Waits until the only delivery of an event has this state and this number of finished attempts, with none under
    /// way. Returns the delivery.
    pub async fn delivery_once(&self, event: &Value, state: &str, attempts: i64) -> Value {
        for _ in 0..1_000 {
            let delivery = self.delivery_of(event).await;
            let finished = i64::try_from(delivery["attempts"].as_array().unwrap().len()).unwrap();
            if delivery["state"] == state && delivery["attempts_made"] == attempts && finished == attempts {
                return delivery;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{state} after {attempts} was expected: {}", self.delivery_of(event).await);
    }
}
