//! `/api/keys/lookup`: finding the key for a secret, id or hint, without disclosing anything else.

use chrono::TimeDelta;
use gatepost::domain::Role;
use serde_json::{Value, json};

use super::{admin, mint, path, text};
use crate::support::secrets::{mistyped, with_id_of};
use crate::support::{Person, TestApp};

async fn look(token: &Person, text: &str) -> Value {
    token.post_json("/api/keys/lookup", json!({"key": text})).await.assert_ok().json()
}

/// Returns the code and the ids of the found keys.
fn code_and_ids(answer: &Value) -> (&str, Vec<&Value>) {
    (text(answer, "code"), answer["keys"].as_array().unwrap().iter().map(|key| &key["id"]).collect())
}

#[actix_web::test]
async fn a_key_is_found_by_secret_id_and_hint() {
    for hash in ["hmac-sha256", "argon2id"] {
        let app = TestApp::start_with(&[("GATEPOST_KEY_HASH", hash)]).await;
        let token = admin(&app).await;
        let (key, other) = (mint(&token, json!({})).await, mint(&token, json!({})).await);
        let (secret, id) = (text(&key, "secret"), key["id"].to_string());
        let hint = text(&key, "hint");
        for clue in [secret, &format!("  {secret}\n"), text(&key, "key"), &id, hint, &hint.replace('…', "...")] {
            let answer = look(&token, clue).await;
            assert_eq!(
                (code_and_ids(&answer), &answer["found"]),
                (("FOUND", vec![&key["id"]]), &json!(true)),
                "{clue}"
            );
            assert!(answer["keys"][0].get("secret").is_none());
        }
        let beginning = look(&token, text(&key, "key_prefix")).await;
        assert_eq!(code_and_ids(&beginning), ("FOUND", vec![&key["id"]]));
        let wrong = look(&token, &with_id_of(secret, text(&other, "secret"))).await;
        assert_eq!((code_and_ids(&wrong), &wrong["found"]), (("WRONG_SECRET", vec![&key["id"]]), &json!(false)));
        let shown = token.get(path(&key, "")).await.json();
        assert_eq!(shown["last_used_at"], Value::Null, "looking it up is no use of it");
    }
}

#[actix_web::test]
async fn failed_lookups_name_their_reason() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({})).await;
    let secret = text(&key, "secret");
    let mistyped = mistyped(secret);
    let access = app.mint_token(gatepost::domain::UserId(1), Some(app.tenant), &["*"]);
    for (clue, code) in [
        (mistyped.as_str(), "MALFORMED"),
        (access.as_str(), "NOT_A_KEY"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "NOT_A_KEY"),
        ("pk_0000000000000000000000", "NOT_FOUND"),
        ("999999", "NOT_FOUND"),
        ("sk_zzzz…zzzz", "NOT_FOUND"),
        ("", "UNREADABLE"),
        ("what is this", "UNREADABLE"),
        ("sk_\u{0}", "UNREADABLE"),
    ] {
        let answer = look(&token, clue).await;
        assert_eq!((code_and_ids(&answer), &answer["found"]), ((code, vec![]), &json!(false)), "{clue}");
        assert!(!text(&answer, "detail").is_empty());
    }
    token.post_json("/api/keys/lookup", json!({})).await.assert_invalid("key");

    token.delete(path(&key, "")).await.assert_status(204);
    assert_eq!(code_and_ids(&look(&token, secret).await), ("DELETED", vec![&key["id"]]));
    app.advance(TimeDelta::days(30));
    assert_eq!(code_and_ids(&look(&token, secret).await), ("NOT_FOUND", vec![]));
}

#[actix_web::test]
async fn another_tenant_s_key_is_reported_as_unknown() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({})).await;
    let beta = app.make_tenant("beta");
    let eve = app.person("eve", beta, Role::Owner).await;
    let eve = Person::with_token(&app.base, &app.mint_token(gatepost::domain::UserId(eve.user_id), Some(beta), &["*"]));
    let nobody_s = look(&eve, "pk_0000000000000000000000").await;
    for clue in [text(&key, "secret"), text(&key, "key"), text(&key, "hint"), &key["id"].to_string()] {
        assert_eq!(look(&eve, clue).await, nobody_s, "{clue}");
    }
    let olga = app.operator("olga").await;
    let instance = app.instance_token_of(&olga, &["keys:read"]);
    assert_eq!(code_and_ids(&look(&instance, text(&key, "secret")).await), ("FOUND", vec![&key["id"]]));
}

#[actix_web::test]
async fn a_hint_of_more_than_ten_keys_says_that_its_list_is_cut() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({})).await;
    let shown = async |count: usize| {
        for _ in 1..count {
            mint(&token, json!({})).await;
        }
        let alike = diesel::sql_query("UPDATE api_keys SET hint = (SELECT hint FROM api_keys ORDER BY id LIMIT 1)");
        diesel::RunQueryDsl::execute(alike, &mut app.conn()).unwrap();
        let answer = look(&token, text(&key, "hint")).await;
        (answer["keys"].as_array().unwrap().len(), answer["keys_are_capped"].clone())
    };
    assert_eq!(shown(10).await, (10, json!(false)));
    assert_eq!(shown(2).await, (10, json!(true)));
}
