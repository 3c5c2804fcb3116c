//! Pages about access tokens.

use crate::support::{Answer, Person, TestApp};

async fn mint(person: &Person, fields: &[(&str, &str)]) -> Answer {
    let form = person.visit("/tokens/new").await.html();
    let (token, nonce) = (form.value("_csrf"), form.value("nonce"));
    let mut all = vec![("_csrf", token.as_str()), ("nonce", nonce.as_str()), ("reach", "tenant"), ("expiry", "90")];
    all.retain(|(name, _)| !fields.iter().any(|(other, _)| other == name));
    all.extend_from_slice(fields);
    person.submit_exactly("/tokens", &all).await
}

#[actix_web::test]
async fn a_token_is_shown_once_works_and_is_revoked() {
    let app = TestApp::start().await;
    let ada = app.developer("ada").await;

    let created = mint(&ada, &[("name", "Backend"), ("scopes", "keys:read")]).await;

    let secret: String = created.assert_ok().html().select("#token-secret")[0].text().collect();
    assert_eq!(created.header("referrer-policy"), "no-referrer");
    let program = Person::with_token(&app.base, &secret);
    program.get("/api/keys").await.assert_ok();
    program.get("/api/webhooks").await.assert_problem(403, "forbidden");
    let list = ada.visit("/tokens").await;
    assert!(!list.body.contains(&secret) && list.html().all_text().contains("Backend"));
    ada.visit("/tokens/1/revocation").await.assert_ok();
    ada.submit("/tokens/1/revocation", &[]).await.assert_see_other("/tokens");
    program.get("/api/keys").await.assert_problem(401, "unauthenticated");
}

#[actix_web::test]
async fn only_operators_are_offered_the_whole_instance() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    assert!(!ada.visit("/tokens/new").await.html().has("[name=reach]"));
    mint(&ada, &[("name", "x"), ("reach", "instance")]).await.assert_status(403);

    let grace = app.operator("grace").await;
    assert!(grace.visit("/tokens/new").await.html().has("[name=reach]"));
    let created = mint(&grace, &[("name", "Everything"), ("reach", "instance")]).await;
    let secret: String = created.assert_ok().html().select("#token-secret")[0].text().collect();
    Person::with_token(&app.base, &secret).get("/api/tenants").await.assert_ok();
}

#[actix_web::test]
async fn a_refused_form_names_its_field() {
    let app = TestApp::start().await;
    let ada = app.developer("ada").await;

    let page = mint(&ada, &[("name", ""), ("scopes", "keys:read")]).await.assert_status(422).html();

    assert_eq!(page.error_at("name"), "Name is required.");
    assert!(page.has("input[value='keys:read'][checked]"));
}

#[actix_web::test]
async fn an_unknown_scope_is_refused_at_the_choice_of_scopes() {
    let app = TestApp::start().await;
    let ada = app.developer("ada").await;

    let page = mint(&ada, &[("name", "ci"), ("scopes", "made:up")]).await.assert_status(422).html();

    assert!(page.has("a[href='#field-scopes']"), "the summary leads there");
    assert!(page.text("#field-scopes .error").contains("not a scope"));
}
