//! Sample code that a webhook's page offers to receivers, run on real requests.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::receiver::Received;
use crate::support::{Receiver, TestApp};

mod rust {
    include!("../../../templates/webhooks/verify/verify.rs");
}

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/templates/webhooks/verify");

const PYTHON: &str = "
import json, sys
asked = json.load(sys.stdin)
verify(asked['secret'], asked['headers'], asked['body'].encode())
";
const JAVASCRIPT: &str = r#"
import { readFileSync } from "node:fs";
const asked = JSON.parse(readFileSync(0, "utf8"));
verify(asked.secret, asked.headers, Buffer.from(asked.body));
"#;

/// Runs a sample on a request. Returns true if it accepts the request, and `None` on a machine without the interpreter.
fn ask(interpreter: &str, sample: &str, driver: &str, secret: &str, received: &Received, body: &str) -> Option<bool> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(sample);
    let code = std::fs::read_to_string(format!("{FOLDER}/{sample}")).unwrap();
    let code = match interpreter {
        "go" => {
            code.replace("package webhook", "package main").replace("import (", "import (\n\"encoding/json\"\n\"os\"")
        }
        _ => code,
    };
    std::fs::write(&file, format!("{code}\n{driver}")).unwrap();
    let headers: serde_json::Map<_, _> =
        received.headers.iter().map(|(name, value)| (name.to_lowercase(), json!(value))).collect();
    let arguments: &[&str] = if interpreter == "go" { &["run"] } else { &[] };
    let mut child = Command::new(interpreter)
        .args(arguments)
        .arg(&file)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let asked = json!({"secret": secret, "headers": headers, "body": body}).to_string();
    let _ = child.stdin.take().unwrap().write_all(asked.as_bytes());
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success() || said.contains("wrong signature") || said.contains("too old"), "{sample}: {said}");
    Some(ended.status.success())
}

fn ask_rust(secret: &str, received: &Received, body: &str) -> bool {
    let header = |name| received.header(name);
    let at = header("webhook-timestamp").parse::<i64>().unwrap();
    let verify = |now| {
        let (id, at, all) = (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"));
        rust::verify(secret, id, at, all, body.as_bytes(), now)
    };
    assert_eq!(verify(at + 301), Err("too old"));
    verify(at + 299).is_ok()
}

const GO: &str = "
func main() {
	var asked struct{ Secret, Body string; Headers map[string]string }
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil { panic(err) }
	headers := http.Header{}
	for name, value := range asked.Headers { headers.Set(name, value) }
	if err := Verify(asked.Secret, headers, []byte(asked.Body)); err != nil { panic(err) }
}
";
const RUBY: &str = "
require 'json'
asked = JSON.parse($stdin.read)
verify(asked['secret'], asked['headers'], asked['body'])
";
const PHP: &str = "
$asked = json_decode(file_get_contents('php://stdin'), true);
verify($asked['secret'], $asked['headers'], $asked['body']);
";

/// Samples with their interpreters, and the code that calls them.
const SAMPLES: [(&str, &str, &str); 5] = [
    ("python3", "verify.py", PYTHON),
    ("node", "verify.mjs", JAVASCRIPT),
    ("go", "verify.go", GO),
    ("ruby", "verify.rb", RUBY),
    ("php", "verify.php", PHP),
];

/// Runs each sample whose interpreter is installed.
fn ask_all(secret: &str, received: &Received, body: &str, expected: bool) {
    assert_eq!(ask_rust(secret, received, body), expected);
    for (interpreter, sample, driver) in SAMPLES {
        match ask(interpreter, sample, driver, secret, received, body) {
            Some(said) => assert_eq!(said, expected, "{sample}"),
            None => eprintln!("{interpreter} is not on this machine: {sample} is not run"),
        }
    }
}

#[actix_web::test]
async fn the_samples_accept_a_secret_of_any_form() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    let long = format!("whsec_{}", "A".repeat(84));
    for (count, secret) in [(1, "correct horse"), (2, "größe €"), (3, "c2hvcnQ="), (4, long.as_str())] {
        let webhook = program.subscribe(&receiver, json!({"secret": secret})).await;
        assert_eq!(webhook["secret"], secret);
        program.publish("order.created", json!({"name": "Zoë"})).await;
        let received = receiver.wait_for(count).await.remove(count - 1);
        ask_all(secret, &received, &received.text(), true);
        ask_all("another secret", &received, &received.text(), false);
        program.delete(format!("/api/webhooks/{}", webhook["id"])).await.assert_status(204);
    }
}

#[actix_web::test]
async fn the_samples_accept_only_real_deliveries() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    let webhook = program.subscribe(&receiver, json!({"ed25519": true})).await;
    let old = webhook["secret"].as_str().unwrap().to_owned();
    let rotate = format!("/api/webhooks/{}/secret-rotation", webhook["id"]);
    let rotated = program.post_json(rotate, json!({"overlap_seconds": 3600})).await.assert_ok().json();
    let new = rotated["secret"].as_str().unwrap().to_owned();
    program.publish("order.created", json!({"name": "Zoë", "total": 1.50})).await;
    let received = receiver.wait_for(1).await.remove(0);
    let (body, other) = (received.text(), received.text().replace("1.5", "2.5"));

    for (secret, body, expected) in [(&new, &body, true), (&old, &body, true), (&new, &other, false)] {
        ask_all(secret, &received, body, expected);
    }
    app.advance(chrono::TimeDelta::minutes(10));
    program.publish("order.created", json!(1)).await;
    let early = receiver.wait_for(2).await.remove(1);
    for (interpreter, sample, driver) in SAMPLES {
        let said = ask(interpreter, sample, driver, &new, &early, &early.text());
        assert_ne!(said, Some(true), "{sample} takes a timestamp of ten minutes from now");
    }
}
