//! `gatepost keys …`: lifecycle of a key on the command line.

use diesel::RunQueryDsl;
use serde_json::Value;

use super::command::{Gatepost, Ran};
use crate::support::database::Database;

fn instance_with_tenant() -> (Database, Gatepost) {
    let database = Database::clone_template();
    let gatepost = Gatepost::on(&database);
    gatepost.run(&["tenants", "create", "--name", "Acme"]).ok();
    gatepost.run(&["tenants", "create", "--name", "Beta"]).ok();
    (database, gatepost)
}

fn create(gatepost: &Gatepost, tenant: &str, name: &str, more: &[&str]) -> Value {
    let mut arguments = vec!["keys", "create", "--tenant", tenant, "--name", name, "--json"];
    arguments.extend_from_slice(more);
    gatepost.run(&arguments).ok().json()
}

fn code(gatepost: &Gatepost, secret: &str) -> String {
    gatepost.run_with(&["keys", "verify", "--json"], secret).json()["code"].as_str().unwrap().to_owned()
}

fn names(ran: &Ran) -> Vec<String> {
    let list = ran.json();
    list["data"].as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_key_is_rotated_disabled_revoked_deleted_and_restored() {
    let (_database, gatepost) = instance_with_tenant();
    let key = create(&gatepost, "acme", "ci", &["--scopes", "orders:read"]);
    let (id, public_id) = (key["id"].to_string(), key["key"].as_str().unwrap());
    let old = key["secret"].as_str().unwrap();

    let rotated = gatepost.run(&["keys", "rotate", public_id, "--overlap-seconds", "600"]).ok();
    let new = rotated.line().to_owned();
    assert!(new.starts_with("sk_") && rotated.stderr.contains("replaces key 1") && rotated.stderr.contains("600"));
    assert_eq!((code(&gatepost, old), code(&gatepost, &new)), ("VALID".to_owned(), "VALID".to_owned()));
    gatepost.run(&["keys", "rotate", &id]).assert_failed(1, &["already rotated", "key 2"]);
    gatepost.run(&["keys", "rotate", "2", "--overlap-seconds", "2592001"]).assert_failed(1, &["overlap_seconds"]);

    assert_eq!(gatepost.run(&["keys", "disable", "2", "--json"]).ok().json()["state"], "disabled");
    assert_eq!(code(&gatepost, &new), "DISABLED");
    assert!(gatepost.run(&["keys", "enable", "2"]).ok().line().contains("ci) is enabled"));
    gatepost.run(&["keys", "revoke", &id, "--reason", "all moved"]).ok();
    assert_eq!(code(&gatepost, old), "REVOKED");
    gatepost.run(&["keys", "enable", &id]).assert_failed(1, &["permanently"]);
    gatepost.run(&["keys", "delete", "2"]).ok();
    assert_eq!(code(&gatepost, &new), "NOT_FOUND");
    gatepost.run(&["keys", "delete", "2"]).assert_failed(1, &["no such API key"]);
    assert_eq!(gatepost.run(&["keys", "restore", "2", "--json"]).ok().json()["state"], "active");
    assert_eq!(code(&gatepost, &new), "VALID");

    let shown = gatepost.run(&["keys", "show", &id, "--json"]).ok().json();
    let facts = ["state", "revoked_reason", "rotated_to", "name"].map(|field| shown[field].to_string());
    assert_eq!(facts, ["\"revoked\"", "\"all moved\"", "2", "\"ci\""]);
    assert!(shown.get("secret").is_none());
    let text = gatepost.run(&["keys", "show", key["key"].as_str().unwrap()]).ok().stdout;
    assert!(text.contains("state                revoked") && !text.contains(old));
    gatepost.run(&["keys", "show", old]).assert_failed(1, &["secret", "command line"]);
    gatepost.run(&["keys", "show", "nonsense"]).assert_failed(1, &["id", "hint"]);
    gatepost.run(&["keys", "show", "99"]).assert_failed(1, &["no such API key"]);
}

#[test]
fn keys_are_listed_with_the_filters_of_the_api() {
    let (_database, gatepost) = instance_with_tenant();
    create(&gatepost, "acme", "b", &["--owner", "cus_1", "--tags", "eu", "--scopes", "orders:*"]);
    create(&gatepost, "acme", "a", &["--environment", "test", "--expires-in-days", "7"]);
    create(&gatepost, "beta", "c", &[]);
    let list = |arguments: &[&str]| {
        let mut all = vec!["keys", "list", "--json"];
        all.extend_from_slice(arguments);
        names(&gatepost.run(&all).ok())
    };
    assert_eq!(list(&[]), ["c", "a", "b"]);
    assert_eq!(list(&["--tenant", "acme", "--sort", "name"]), ["a", "b"]);
    assert_eq!(list(&["--owner", "cus_1"]), ["b"]);
    assert_eq!(list(&["--tag", "eu", "--scope", "orders:read"]), ["b"]);
    assert_eq!(list(&["--environment", "test", "--expiring-days", "14"]), ["a"]);
    assert_eq!(list(&["--unused-days", "30"]), [""; 0]);
    gatepost.run(&["keys", "delete", "3"]).ok();
    assert_eq!(list(&["--state", "deleted"]), ["c"]);
    let first = gatepost.run(&["keys", "list", "--json", "--limit", "1"]).ok().json();
    assert_eq!(list(&["--limit", "1", "--cursor", first["next_cursor"].as_str().unwrap()]), ["b"]);
    gatepost.run(&["keys", "list", "--cursor", "junk"]).assert_failed(1, &["cursor"]);

    let text = gatepost.run(&["keys", "list", "--tenant", "acme"]).ok();
    let lines: Vec<_> = text.stdout.lines().collect();
    assert!(lines.len() == 3 && lines[0].starts_with("ID ") && lines[2].ends_with(" b"), "{text:?}");
    let none = gatepost.run(&["keys", "list", "--q", "nothing like it"]).ok();
    assert_eq!((none.stdout.as_str(), none.stderr.trim()), ("", "No key matches."));
    assert_eq!(gatepost.run(&["keys", "list", "--state", "asleep"]).code, 2);
    assert_eq!(gatepost.run(&["keys", "list", "--unused-days", "0"]).code, 2);
    gatepost.run(&["keys", "list", "--tenant", "nobody"]).assert_failed(1, &["no such tenant"]);
}

#[test]
fn an_invalid_ip_address_is_refused_with_an_example() {
    for ip in ["203.0.113.7:80", "localhost", "203.0.113.0/24"] {
        let ran = Gatepost::new(&[]).run(&["keys", "verify", "--ip", ip]);
        ran.assert_wrong();
        assert!(ran.stderr.contains("must be an IPv4 or IPv6 address without a port, as in 203.0.113.7"), "{ran:?}");
    }
}

#[test]
fn a_list_of_one_tenant_finds_what_few_of_its_many_keys_have() {
    let (database, gatepost) = instance_with_tenant();
    create(&gatepost, "acme", "other", &[]);
    let copy = "INSERT INTO api_keys (tenant_id, name, environment, public_id, key_prefix, hint, hash_algorithm, pepper_id,
            digest, scopes, rate_limit, rate_window_seconds, allowed_ips, requires_owner, metadata, tags, is_active,
            created_at, updated_at)
        SELECT tenant_id, CASE n WHEN 7 THEN 'rocket 🚀' ELSE 'key ' || n END, environment, 'pk_' || n, key_prefix, hint,
            hash_algorithm, pepper_id, 'd' || n, scopes, rate_limit, rate_window_seconds, allowed_ips, requires_owner,
            metadata, CASE n WHEN 7 THEN '{rare}' ELSE tags END, is_active, created_at, updated_at
        FROM api_keys, generate_series(1, 399) AS n";
    diesel::sql_query(copy).execute(&mut database.connect()).unwrap();
    for filter in [["-q", "🚀"], ["-q", "rocket"], ["--tag", "rare"]] {
        for tenant in [&["--tenant", "acme"][..], &[]] {
            let arguments = [&["keys", "list", "--json"], &filter[..], tenant].concat();
            assert_eq!(names(&gatepost.run(&arguments).ok()), ["rocket 🚀"], "{arguments:?}");
        }
        let elsewhere = [&["keys", "list", "--json", "--tenant", "beta"], &filter[..]].concat();
        assert!(names(&gatepost.run(&elsewhere).ok()).is_empty(), "{elsewhere:?}");
    }
}
