//! Requests to receivers in every payload format and signature style, with signatures verified over the received bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Verifier, VerifyingKey};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::receiver::Received;
use crate::support::{Receiver, TestApp};

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(message).finalize().into_bytes().to_vec()
}

/// Computes the signature as a Standard Webhooks library does.
fn standard(secret: &str, received: &Received) -> String {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let head = format!("{}.{}.", received.header("webhook-id"), received.header("webhook-timestamp"));
    format!("v1,{}", STANDARD.encode(hmac(&key, &[head.as_bytes(), &received.body].concat())))
}

/// True if the reference library of Standard Webhooks accepts the request.
fn is_accepted(secret: &str, received: &Received) -> bool {
    let pairs = received.headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    let headers: reqwest::header::HeaderMap = pairs.collect();
    standardwebhooks::Webhook::new(secret).unwrap().verify(&received.body, &headers).is_ok()
}

/// Returns for each `v1a` signature if this public key verifies it.
fn verified_by(public: &str, received: &Received) -> Vec<bool> {
    let bytes = STANDARD.decode(public.strip_prefix("whpk_").unwrap()).unwrap();
    let key = VerifyingKey::from_bytes(&bytes.try_into().unwrap()).unwrap();
    let head = format!("{}.{}.", received.header("webhook-id"), received.header("webhook-timestamp"));
    let signed = [head.as_bytes(), &received.body].concat();
    let all = received.header("webhook-signature").split(' ').filter_map(|one| one.strip_prefix("v1a,"));
    all.map(|one| key.verify(&signed, &Signature::from_slice(&STANDARD.decode(one).unwrap()).unwrap()).is_ok())
        .collect()
}

#[actix_web::test]
async fn every_format_and_style_is_signed_over_the_bytes_that_arrive() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let payload = r#"{ "b": 1.0,  "a":12345678901234567890123, "é":"\u00e9" }"#;
    for format in ["standard", "event", "raw", "cloudevents"] {
        for style in ["prefixed", "hex"] {
            let receiver = Receiver::start().await;
            let kind = format!("{format}.{style}");
            let settings = json!({"payload_format": format, "signature_style": style, "events": [kind]});
            let webhook = program.subscribe(&receiver, settings).await;
            let secret = webhook["secret"].as_str().unwrap();
            let body = format!(r#"{{"type": "{kind}", "data": {payload}}}"#);
            let answer = program.send(reqwest::Method::POST, "/api/events", Some(("application/json", body))).await;
            let event = answer.assert_status(202).json();
            let received = receiver.wait_for(1).await.remove(0);

            assert_eq!(received.line, "POST /hook HTTP/1.1");
            assert_eq!(received.header("webhook-signature"), standard(secret, &received), "{kind}");
            assert!(is_accepted(secret, &received), "{kind}");
            assert!(!is_accepted("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", &received), "{kind}");
            let hex = hex::encode(hmac(secret.as_bytes(), &received.body));
            let expected = if style == "hex" { hex } else { format!("sha256={hex}") };
            assert_eq!(received.header("x-webhook-signature"), expected, "{kind}");
            assert_eq!(received.header("webhook-id"), event["id"]);
            assert_eq!(
                (received.header("x-webhook-event"), received.header("x-webhook-attempt")),
                (kind.as_str(), "1")
            );
            assert!(received.header("user-agent").starts_with("Gatepost/"));
            let content_type =
                if format == "cloudevents" { "application/cloudevents+json" } else { "application/json" };
            assert_eq!(received.header("content-type"), content_type);
            let at = &event["created_at"];
            let expected = match format {
                "standard" => format!(r#"{{"type":"{kind}","timestamp":{at},"data":{payload}}}"#),
                "event" => format!(r#"{{"event":"{kind}","timestamp":{at},"data":{payload}}}"#),
                "raw" => payload.to_owned(),
                _ => received.text(),
            };
            assert_eq!(received.text(), expected);
            if format == "cloudevents" {
                let body: Value = serde_json::from_slice(&received.body).unwrap();
                assert_eq!(
                    (&body["specversion"], &body["source"]),
                    (&json!("1.0"), &json!("urn:gatepost:tenant:acme"))
                );
                assert!(received.text().contains(payload));
            }
        }
    }
}

#[actix_web::test]
async fn overlapping_secrets_all_sign_with_the_newest_first() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    let webhook = program.subscribe(&receiver, json!({})).await;
    let rotate = format!("/api/webhooks/{}/secret-rotation", webhook["id"]);
    let rotated = program.post_json(&rotate, json!({"overlap_seconds": 3600})).await.assert_ok().json();
    let (old, new) = (webhook["secret"].as_str().unwrap(), rotated["secret"].as_str().unwrap());
    assert_ne!(old, new);
    program.publish("a", json!(1)).await;
    let received = receiver.wait_for(1).await.remove(0);
    let both = format!("{} {}", standard(new, &received), standard(old, &received));
    assert_eq!(received.header("webhook-signature"), both);
    assert!(is_accepted(old, &received) && is_accepted(new, &received));
    assert_eq!(
        received.header("x-webhook-signature"),
        format!("sha256={}", hex::encode(hmac(new.as_bytes(), &received.body)))
    );

    app.advance(chrono::TimeDelta::minutes(61));
    program.publish("a", json!(2)).await;
    let received = receiver.wait_for(2).await.remove(1);
    assert_eq!(received.header("webhook-signature"), standard(new, &received));
    program.post_json(&rotate, json!({"overlap_seconds": 604_801})).await.assert_invalid("overlap_seconds");
}

#[actix_web::test]
async fn a_key_pair_signs_beside_the_secret_and_is_rotated_with_an_overlap() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    let webhook = program.subscribe(&receiver, json!({"ed25519": true})).await;
    let path = format!("/api/webhooks/{}", webhook["id"]);
    let first = webhook["public_keys"][0].as_str().unwrap().to_owned();
    program.publish("a", json!(1)).await;
    let received = receiver.wait_for(1).await.remove(0);
    let secret = webhook["secret"].as_str().unwrap();
    assert!(received.header("webhook-signature").starts_with(&format!("{} v1a,", standard(secret, &received))));
    assert!(is_accepted(secret, &received), "a receiver that knows v1 alone");
    assert_eq!(verified_by(&first, &received), [true]);

    let ask = json!({"overlap_seconds": 3600});
    let rotated = program.post_json(format!("{path}/key-rotation"), ask).await.assert_ok().json();
    let second = rotated["public_keys"][0].as_str().unwrap().to_owned();
    assert_eq!(rotated["public_keys"], json!([second, first]));
    program.publish("a", json!(2)).await;
    let received = receiver.wait_for(2).await.remove(1);
    assert_eq!(verified_by(&second, &received), [true, false]);
    assert_eq!(verified_by(&first, &received), [false, true]);

    app.advance(chrono::TimeDelta::minutes(61));
    assert_eq!(program.get(&path).await.json()["public_keys"], json!([second]));
    program.publish("a", json!(3)).await;
    assert_eq!(verified_by(&second, &receiver.wait_for(3).await.remove(2)), [true]);

    program.delete(format!("{path}/key")).await.assert_status(204);
    assert_eq!(program.get(&path).await.json()["public_keys"], json!([]));
    program.publish("a", json!(4)).await;
    let received = receiver.wait_for(4).await.remove(3);
    assert_eq!(received.header("webhook-signature"), standard(secret, &received));
}

/// Returns secrets with the prefix of Standard Webhooks that its libraries would decode to other bytes.
fn misleading() -> Vec<String> {
    let (good, short) = (STANDARD.encode([0xfb; 32]), STANDARD.encode([7; 16]));
    let (first, rest) = good.split_at(8);
    vec![
        format!("whsec_{short}"),
        format!("whsec_{}", STANDARD.encode([7; 65])),
        format!("whsec_{}", good.trim_end_matches('=')),
        format!("whsec_{}", good.replace('+', "-").replace('/', "_")),
        format!("whsec_{first} {rest}"),
        format!("whsec_{first}\n{rest}"),
        format!("whsec_ {good}"),
        format!("v1,whsec_{good}"),
        format!("WHSEC_{good}"),
        format!("\"whsec_{good}\""),
        "whsec_".to_owned(),
    ]
}

#[actix_web::test]
async fn a_secret_with_the_standard_prefix_is_verified_by_the_reference_library() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    for (count, length) in (1..).zip([24, 25, 32, 64]) {
        let secret = format!("whsec_{}", STANDARD.encode(vec![0xfb_u8; length]));
        let webhook = program.subscribe(&receiver, json!({"secret": format!(" {secret}\n")})).await;
        assert_eq!(webhook["secret"], secret, "without the blanks around it");
        program.publish("a", json!(1)).await;
        let received = receiver.wait_for(count).await.remove(count - 1);
        assert!(is_accepted(&secret, &received), "{length} bytes");
        program.delete(format!("/api/webhooks/{}", webhook["id"])).await.assert_status(204);
    }
}

#[actix_web::test]
async fn a_secret_that_the_reference_library_would_misread_is_refused() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    let webhook = program.subscribe(&receiver, json!({})).await;
    let rotation = format!("/api/webhooks/{}/secret-rotation", webhook["id"]);
    for secret in misleading() {
        let ask = json!({"url": receiver.url, "events": ["*"], "secret": secret});
        program.post_json("/api/webhooks", ask).await.assert_invalid("secret");
        program.post_json(&rotation, json!({"secret": secret})).await.assert_invalid("secret");
    }
    assert_eq!(program.get("/api/webhooks?offset=0").await.json()["total"], 1);
}
