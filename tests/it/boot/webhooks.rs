//! `gatepost webhooks …` and `gatepost deliveries …` on the command line.

use serde_json::{Value, json};

use super::command::{Gatepost, Ran};
use crate::support::database::Database;
use crate::support::settings::{MASTER_KEY, PEPPER};

fn instance_with_tenant() -> (Database, Gatepost) {
    let database = Database::clone_template();
    let gatepost = Gatepost::new(&[
        ("DATABASE_URL", &database.url),
        ("API_KEY_PEPPER", PEPPER),
        ("GATEPOST_MASTER_KEY", MASTER_KEY),
    ]);
    gatepost.run(&["tenants", "create", "--name", "Acme"]).ok();
    (database, gatepost)
}

fn shown(gatepost: &Gatepost) -> Value {
    gatepost.run(&["webhooks", "show", "1", "--json"]).ok().json()
}

fn ids(ran: Ran) -> Vec<String> {
    let list = ran.ok().json();
    list["data"].as_array().unwrap().iter().map(|row| row["id"].to_string()).collect()
}

#[test]
fn a_webhook_is_created_changed_shown_and_deleted() {
    let (_database, gatepost) = instance_with_tenant();
    let create = ["webhooks", "create", "--tenant", "acme", "--url", "https://hooks.example.com/x", "--events"];
    let made = gatepost.run(&[&create[..], &["order.*,invoice.paid", "--header", "X-Team: blue"]].concat()).ok();
    assert!(made.line().starts_with("whsec_") && made.stderr.contains("Created webhook 1"), "{made:?}");
    gatepost.run(&[&create[..], &["order created"]].concat()).assert_failed(1, &["events"]);
    assert_eq!(gatepost.run(&["webhooks", "secret", "1"]).ok().line(), made.line());
    assert_eq!(gatepost.run(&["webhooks", "headers", "1"]).ok().line(), "x-team: blue");
    assert_eq!(shown(&gatepost)["headers"], json!({"x-team": "••••"}));

    let update = ["webhooks", "update", "1", "--name", "ERP", "--retry-schedule", "5 s, 1 h", "--rate-per-second", "3"];
    assert!(gatepost.run(&update).ok().line().contains("(ERP) is saved"));
    let now = shown(&gatepost);
    let facts = ["name", "retry_schedule", "rate_per_second", "events"].map(|field| now[field].clone());
    assert_eq!(facts, [json!("ERP"), json!([5, 3600]), json!(3), json!(["order.*", "invoice.paid"])]);
    gatepost.run(&["webhooks", "update", "1", "--retry-schedule", "usual", "--rate-per-second", "0"]).ok();
    assert_eq!(
        (&shown(&gatepost)["retry_schedule"], &shown(&gatepost)["rate_per_second"]),
        (&json!(null), &json!(null))
    );

    let fresh = gatepost.run(&["webhooks", "rotate-secret", "1", "--overlap-seconds", "0"]).ok();
    assert_ne!(fresh.line(), made.line());
    gatepost.run(&["webhooks", "rotate-secret", "1", "--overlap-seconds", "604801"]).assert_failed(1, &["overlap"]);
    let key = gatepost.run(&["webhooks", "rotate-key", "1"]).ok();
    assert_eq!(shown(&gatepost)["public_keys"], json!([key.line()]));
    let listed = gatepost.run(&["webhooks", "list", "--json"]).ok().json();
    assert_eq!(listed["data"][0]["public_keys"], json!([key.line()]));
    gatepost.run(&["webhooks", "remove-key", "1"]).ok();
    assert_eq!(shown(&gatepost)["public_keys"], json!([]));

    gatepost.run(&["webhooks", "deactivate", "1"]).ok();
    assert_eq!(ids(gatepost.run(&["webhooks", "list", "--state", "paused", "--json"])), ["1"]);
    gatepost.run(&["webhooks", "test", "1"]).assert_failed(1, &["paused or disabled"]);
    gatepost.run(&["webhooks", "activate", "1", "--probe"]).ok();
    assert_eq!(shown(&gatepost)["is_active"], false, "the probe waits for a server");
    gatepost.run(&["webhooks", "activate", "1"]).ok();
    assert_eq!(shown(&gatepost)["state"], "active");
    gatepost.run(&["webhooks", "delete", "1"]).ok();
    gatepost.run(&["webhooks", "show", "1"]).assert_failed(1, &["no such webhook"]);
}

#[test]
fn headers_of_a_webhook_are_removed_on_the_command_line() {
    let (_database, gatepost) = instance_with_tenant();
    let create = ["webhooks", "create", "--tenant", "acme", "--url", "https://hooks.example.com/x", "--events", "*"];
    gatepost.run(&[&create[..], &["--header", "X-Team: blue"]].concat()).ok();
    gatepost.run(&["webhooks", "update", "1", "--no-headers"]).ok();
    assert_eq!(shown(&gatepost)["headers"], json!({}));
}

#[test]
fn the_command_line_obeys_the_rules_of_test_events_and_sealed_headers() {
    let (_database, gatepost) = instance_with_tenant();
    let create = ["webhooks", "create", "--tenant", "acme", "--url", "https://hooks.example.com/x", "--events", "*"];
    gatepost.run(&[&create[..], &["--header", "X-Team: blue"]].concat()).ok();
    let test = ["webhooks", "test", "1", "--type"];
    gatepost.run(&[&test[..], &["api_key.revoked"]].concat()).assert_failed(1, &["type", "Gatepost publishes"]);
    gatepost.run(&[&test[..], &["order.created"]].concat()).ok();
    let update = ["webhooks", "update", "1", "--url", "https://hooks.example.com/y"];
    gatepost.run(&update).assert_failed(1, &["headers", "entered again"]);
    gatepost.run(&[&update[..], &["--header", "X-Team: red"]].concat()).ok();
    assert_eq!(gatepost.run(&["webhooks", "headers", "1"]).ok().line(), "x-team: red");
}

#[test]
fn deliveries_are_filtered_and_cancelled_on_the_command_line() {
    let (_database, gatepost) = instance_with_tenant();
    let create = ["webhooks", "create", "--tenant", "acme", "--url", "https://hooks.example.com/x", "--events", "*"];
    gatepost.run(&create).ok();
    for kind in ["order.created", "order.shipped"] {
        gatepost.run(&["events", "publish", "--tenant", "acme", "--type", kind, "--data", "{}"]).ok();
    }
    let list = |more: &[&str]| {
        let list = gatepost.run(&[&["deliveries", "list", "--json"][..], more].concat()).ok().json();
        list["data"].as_array().unwrap().iter().map(|row| row["event"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list(&[]), ["order.shipped", "order.created"]);
    assert_eq!(list(&["--tenant", "acme", "--type", "order.created"]), ["order.created"]);
    assert_eq!(list(&["--webhook", "1", "--state", "pending", "--limit", "1"]), ["order.shipped"]);
    assert!(list(&["--status", "5xx"]).is_empty() && list(&["--until", "2001-01-01T00:00:00Z"]).is_empty());
    assert_eq!(list(&["--since", "2001-01-01T00:00:00Z"]).len(), 2);
    gatepost.run(&["deliveries", "list", "--status", "teapot"]).assert_failed_with(2, &["2xx"]);

    let all = gatepost.run(&["deliveries", "list", "--json"]).ok().json();
    let id = all["data"][0]["id"].as_str().unwrap();
    assert_eq!(gatepost.run(&["deliveries", "show", id]).ok().json()["attempts"], json!([]));
    gatepost.run(&["deliveries", "cancel", id]).ok();
    assert_eq!(list(&["--state", "cancelled"]), ["order.shipped"]);
    gatepost.run(&["deliveries", "cancel", id]).assert_failed(1, &["cancelled"]);
    gatepost.run(&["deliveries", "redeliver", id]).ok();
    assert_eq!(list(&["--state", "pending"]).len(), 2);
    assert!(gatepost.run(&["deliveries", "list"]).ok().stdout.starts_with("ID"));
}
