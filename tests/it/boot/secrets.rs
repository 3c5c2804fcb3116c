//! Change of the master key while a server runs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gatepost::app::{App, Running};
use gatepost::domain::UserId;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::command::Gatepost;
use crate::support::people::PASSWORD;
use crate::support::receiver::Received;
use crate::support::settings::{self, MASTER_KEY, PEPPER};
use crate::support::{Person, Receiver, TestApp};

const NEW_KEY: &str = "mZ0o4l5T1u7qf3uHkz0cDJr2nKpV8yYgWbQxS6tEaLU=";

async fn serve(app: &TestApp, extra: &[(&str, &str)]) -> Running {
    App::start(settings::for_test(&app.database.url, extra), app.clock.clone()).await.expect("the server starts")
}

fn command(app: &TestApp, keys: &[(&str, &str)]) -> Gatepost {
    let base = [("DATABASE_URL", app.database.url.as_str()), ("API_KEY_PEPPER", PEPPER)];
    Gatepost::new(&[&base, keys].concat())
}

fn is_signed(secret: &str, received: &Received) -> bool {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let head = format!("{}.{}.", received.header("webhook-id"), received.header("webhook-timestamp"));
    let mac = Hmac::<Sha256>::new_from_slice(&key).unwrap().chain_update([head.as_bytes(), &received.body].concat());
    received.header("webhook-signature") == format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[actix_web::test]
async fn secrets_are_sealed_with_a_new_key_while_a_server_uses_them() {
    let mut app = TestApp::start().await;
    let owner = app.owner("olga").await;
    let token = app.mint_token(UserId(owner.user_id), Some(app.tenant), &["*"]);
    let program = Person::with_token(&app.base, &token);
    let receiver = Receiver::start().await;
    let webhook = program.subscribe(&receiver, json!({"headers": {"X-Team": "payments"}})).await;
    let secret = webhook["secret"].as_str().unwrap().to_owned();
    let hook = |n| json!({"url": format!("http://127.0.0.1:9/{n}"), "events": ["never.happens"]});
    let hooks = (0..150).map(|n| program.post_json("/api/webhooks", hook(n)));
    futures_util::future::join_all(hooks).await.iter().for_each(|made| {
        made.assert_status(201);
    });
    owner
        .submit("/account/second-factor", &[("current_password", PASSWORD)])
        .await
        .assert_see_other("/account/second-factor");
    app.stop().await;

    // With the new key alone, commands fail until everything is sealed with the new key.
    let new_alone = [("GATEPOST_MASTER_KEY", NEW_KEY)];
    command(&app, &new_alone).run(&["secrets", "status"]).assert_failed(1, &["GATEPOST_MASTER_KEYS_OLD"]);
    let both = [("GATEPOST_MASTER_KEY", NEW_KEY), ("GATEPOST_MASTER_KEYS_OLD", MASTER_KEY)];
    let running = serve(&app, &both).await;
    let program = Person::with_token(&format!("http://{}", running.addr), &token);
    let fresh = program.post_json("/api/webhooks", hook(200)).await.assert_status(201).json();
    // Some secrets are now sealed with the new key, and others with the old one. Commands with both keys open each.
    command(&app, &both).run(&["webhooks", "secret", "1"]).ok();
    command(&app, &new_alone).run(&["secrets", "status"]).assert_failed(1, &["GATEPOST_MASTER_KEYS_OLD"]);

    let rotate = {
        let gatepost = command(&app, &both);
        std::thread::spawn(move || gatepost.run(&["secrets", "rotate"]))
    };
    let mut published = 0;
    while !rotate.is_finished() || published < 20 {
        program.publish("order.created", json!(published)).await;
        published += 1;
    }
    let ran = rotate.join().unwrap().ok();

    assert!(
        ran.stdout.starts_with("100 of 153\n151 of 153\n152 of 153\n153 of 153\nAll secrets are sealed with "),
        "{ran:?}"
    );
    let received = receiver.wait_for(published).await;
    assert!(received.iter().all(|one| is_signed(&secret, one)), "each was signed with the same secret");
    assert!(received.iter().all(|one| one.header("x-team") == "payments"), "and had its header");
    let again = command(&app, &both).run(&["secrets", "rotate", "--json"]).ok().json();
    assert_eq!((again["resealed"].clone(), again["left"].clone()), (json!(0), json!(0)));
    running.stop().await;

    // After the rotation, the new key alone suffices, and the old one alone is refused.
    let old_alone = [("GATEPOST_MASTER_KEY", MASTER_KEY)];
    command(&app, &old_alone).run(&["secrets", "status"]).assert_failed(1, &["GATEPOST_MASTER_KEYS_OLD"]);
    let status = command(&app, &new_alone).run(&["secrets", "status", "--json"]).ok().json();
    assert_eq!((status["secrets"].clone(), status["is_present"].clone()), (json!(154), json!(true)));
    let running = serve(&app, &new_alone).await;
    let program = Person::with_token(&format!("http://{}", running.addr), &token);
    assert_eq!(secret_of_webhook(&program, &webhook).await, secret);
    program.publish("order.created", json!(1)).await;
    assert_eq!(receiver.wait_for(published + 1).await[published].header("x-team"), "payments");
    assert_eq!(secret_of_webhook(&program, &fresh).await, fresh["secret"].as_str().unwrap());
    let log = command(&app, &new_alone).run(&["audit", "verify"]).ok();
    assert!(!log.stdout.is_empty());
    running.stop().await;
}

async fn secret_of_webhook(program: &Person, webhook: &Value) -> String {
    let answer = program.get(format!("/api/webhooks/{}/secret", webhook["id"])).await.assert_ok().json();
    answer["secret"].as_str().unwrap().to_owned()
}
