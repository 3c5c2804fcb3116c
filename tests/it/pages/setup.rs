//! First start: the one-time setup link.

use gatepost::services::accounts;

use crate::support::TestApp;
use crate::support::people::PASSWORD;

async fn first_start() -> (TestApp, String) {
    let app = TestApp::start_bare(&[]).await;
    let token = app.tx(accounts::offer_setup).unwrap().expect("nobody is there yet");
    (app, token)
}

fn form(token: &str) -> [(&str, &str); 5] {
    [("token", token), ("email", "Ada@Example.com"), ("name", "Ada"), ("password", PASSWORD), ("tenant", "Acme Corp.")]
}

#[actix_web::test]
async fn the_setup_link_makes_the_first_operator_and_tenant_and_works_once() {
    let (app, token) = first_start().await;
    let ada = app.stranger();
    let page = ada.visit(format!("/setup?token={token}")).await;
    page.assert_ok();
    let csrf = page.html().value("_csrf");
    let mut fields = vec![("_csrf", csrf.as_str())];
    fields.extend(form(&token));

    ada.submit_exactly("/setup", &fields).await.assert_see_other("/");

    let overview = ada.visit("/").await;
    assert!(overview.assert_ok().html().all_text().contains("Acme Corp."));
    ada.visit(format!("/setup?token={token}")).await.assert_status(404);
    let late = app.stranger();
    late.submit("/setup", &form(&token)).await.assert_status(404);
    assert_eq!(app.tx(accounts::offer_setup).unwrap(), None);
}

#[actix_web::test]
async fn when_several_requests_use_the_setup_link_at_once_one_succeeds() {
    let (app, token) = first_start().await;
    let racers = (0..4).map(|_| {
        let (app, token) = (app.stranger(), token.clone());
        async move { app.submit("/setup", &form(&token)).await.status }
    });
    let mut statuses = futures_util::future::join_all(racers).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 404, 404, 404]);
}

#[actix_web::test]
async fn without_the_link_setup_is_404_hashes_nothing_and_is_slowed_down() {
    let (app, _) = first_start().await;
    let stranger = app.stranger();
    // Without the link, the fields are not read: even an invalid form gets 404.
    let mut fields = form("nobody's");
    fields[3].1 = "short";
    let csrf = stranger.visit("/sign-in").await.html().value("_csrf");
    let sent: Vec<_> = [("_csrf", csrf.as_str())].into_iter().chain(fields).collect();
    for _ in 0..50 {
        stranger.submit_exactly("/setup", &sent).await.assert_status(404);
    }
    let slowed = stranger.submit_exactly("/setup", &sent).await;
    assert!(!slowed.assert_status(429).header("retry-after").is_empty());
}

#[actix_web::test]
async fn an_invalid_setup_form_comes_back_with_messages_and_values_but_no_password() {
    let (app, token) = first_start().await;
    let ada = app.stranger();
    let fields =
        [("token", token.as_str()), ("email", "nonsense"), ("name", "Ada"), ("password", "short"), ("tenant", "")];

    let answer = ada.submit("/setup", &fields).await;

    let page = answer.assert_status(422).html();
    assert_eq!(
        (page.value("email"), page.value("name"), page.value("password")),
        ("nonsense".into(), "Ada".into(), "".into())
    );
    for field in ["email", "password", "tenant"] {
        assert!(!page.error_at(field).is_empty(), "{field}");
    }
    ada.visit(format!("/setup?token={token}")).await.assert_ok();
}

#[actix_web::test]
async fn a_made_up_setup_token_is_refused() {
    let (app, _) = first_start().await;
    app.stranger().visit("/setup?token=guess").await.assert_status(404);
    app.stranger().visit("/setup").await.assert_status(404);
}

#[actix_web::test]
async fn setup_refuses_odd_addresses_and_passwords_made_of_known_words() {
    let (app, token) = first_start().await;
    for (place, value, field) in [
        (1, "Ada <ada@example.com>", "email"),
        (1, "a..b@example.com", "email"),
        (3, "Acme-Corp.-2026!", "password"),
        (3, "ada@example.com", "password"),
        (3, "Gatepost2026!Gatepost", "password"),
    ] {
        let mut fields = form(&token);
        fields[place].1 = value;
        let refused = app.stranger().submit("/setup", &fields).await.assert_status(422).html();
        assert!(!refused.error_at(field).is_empty(), "{value}");
    }
}
