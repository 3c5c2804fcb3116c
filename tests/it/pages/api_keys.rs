//! Pages about API keys.

use chrono::TimeDelta;

use crate::support::{Answer, Person, TestApp};

/// Fills in the form with these fields, and sends it.
async fn mint(person: &Person, fields: &[(&str, &str)]) -> (Vec<(String, String)>, Answer) {
    let page = person.visit("/keys/new").await;
    let form = page.assert_ok().html();
    let mut all: Vec<(String, String)> =
        ["_csrf", "nonce", "rate_limit"].map(|name| (name.to_owned(), form.value(name))).into();
    for (name, usual) in [("environment", "live"), ("expiry", "90"), ("rate_window_seconds", "3600")] {
        all.push((name.to_owned(), usual.to_owned()));
    }
    for (name, value) in fields {
        all.retain(|(other, _)| other != name);
        all.push(((*name).to_owned(), (*value).to_owned()));
    }
    let answer = send(person, &all).await;
    (all, answer)
}

async fn send(person: &Person, form: &[(String, String)]) -> Answer {
    let fields: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    person.submit_exactly("/keys", &fields).await
}

fn secret_in(answer: &Answer) -> String {
    answer.html().select("#key-secret")[0].text().collect()
}

#[actix_web::test]
async fn a_key_s_secret_is_shown_once_and_works() {
    let app = TestApp::start().await;
    let ada = app.developer("ada").await;

    let (form, created) =
        mint(&ada, &[("name", "Billing worker"), ("scopes", "orders:read\norders:write"), ("tags", "eu, night")]).await;

    created.assert_ok();
    assert_eq!(created.header("cache-control"), "no-store");
    assert_eq!(created.header("referrer-policy"), "no-referrer");
    let secret = secret_in(&created);
    app.key(&secret).get("/api/data").await.assert_ok();
    let again = send(&ada, &form).await;
    again.assert_see_other("/keys/1");
    let shown = ada.visit("/keys/1").await;
    assert!(shown.html().text("[role=status]").contains("its secret was shown only then"));
    for path in ["/keys", "/keys/1", "/keys/1/edit", "/"] {
        assert!(!ada.visit(path).await.body.contains(&secret), "{path}");
    }
    assert_eq!(
        ada.visit("/keys").await.html().texts(".cell-title a"),
        ["Billing worker"],
        "the second sending made no second key"
    );
    assert_eq!(ada.visit("/keys/1").await.html().texts(".facts .tag")[..2], ["orders:read", "orders:write"]);
}

#[actix_web::test]
async fn a_refused_form_comes_back_with_its_values_and_the_reasons_at_their_fields() {
    let app = TestApp::start().await;
    let ada = app.developer("ada").await;

    let (_, answer) = mint(
        &ada,
        &[
            ("name", " "),
            ("owner", "cus_1"),
            ("scopes", "or ders!"),
            ("rate_limit", "many"),
            ("metadata", "[1]"),
            ("expiry", "custom"),
        ],
    )
    .await;

    let page = answer.assert_status(422).html();
    assert_eq!(page.error_at("name"), "Name is required.");
    assert!(page.error_at("rate_limit").contains("whole number"));
    assert!(page.error_at("metadata").contains("JSON object"));
    assert!(page.error_at("expires_on").contains("Choose the date"));
    assert!(page.error_at("scopes").contains("must be 1 to 64"));
    assert_eq!((page.value("owner"), page.value("rate_limit")), ("cus_1".into(), "many".into()));
    let linked: Vec<_> =
        page.select(".error-summary a").iter().map(|a| a.value().attr("href").unwrap().to_owned()).collect();
    assert!(linked.len() == 5 && linked.iter().all(|href| page.has(&format!("[id='{}']", &href[1..]))), "{linked:?}");
    assert!(ada.visit("/keys").await.html().has(".empty"), "nothing was made");
}

#[actix_web::test]
async fn a_form_without_its_token_or_nonce_creates_nothing() {
    let app = TestApp::start().await;
    let ada = app.developer("ada").await;

    ada.submit_exactly("/keys", &[("name", "x")]).await.assert_status(403);
    let (_, answer) = mint(&ada, &[("name", "x"), ("nonce", "")]).await;

    assert!(answer.assert_status(422).html().text(".error-summary").contains("Open this form again"));
    assert!(ada.visit("/keys").await.html().has(".empty"));
}

#[actix_web::test]
async fn a_disabled_key_is_refused_until_it_is_enabled_and_a_revoked_one_for_good() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let (_, created) = mint(&ada, &[("name", "ci")]).await;
    let key = app.key(&secret_in(&created));

    ada.submit("/keys/1/deactivation", &[]).await.assert_see_other("/keys/1");
    key.get("/api/data").await.assert_problem(401, "api_key_disabled");
    ada.submit("/keys/1/activation", &[]).await.assert_see_other("/keys/1");
    key.get("/api/data").await.assert_ok();
    ada.submit("/keys/1/revocation", &[]).await.assert_see_other("/keys/1");
    key.get("/api/data").await.assert_problem(401, "api_key_disabled");

    ada.submit("/keys/1/activation", &[]).await.assert_see_other("/keys/1");
    let page = ada.visit("/keys/1").await.html();
    assert!(page.text("[role=alert]").contains("permanently revoked"));
    assert_eq!(page.texts(".page-head-meta .badge"), ["Revoked", "Live"]);
}

#[actix_web::test]
async fn deleting_asks_for_the_name_and_works_without_scripts() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    mint(&ada, &[("name", "Old export")]).await;

    let question = ada.visit("/keys/1/deletion").await;
    assert_eq!(question.assert_ok().html().text("h1"), "Delete Old export?");
    let refused = ada.submit("/keys/1/deletion", &[("confirmation", "old export")]).await;
    assert!(refused.assert_status(422).html().error_at("confirmation").contains("exactly"));
    ada.submit("/keys/1/deletion", &[("confirmation", "Old export")]).await.assert_see_other("/keys");

    assert!(ada.visit("/keys").await.html().text("[role=status]").contains("Old export is deleted"));
    ada.visit("/keys/1").await.assert_status(404);
}

#[actix_web::test]
async fn the_form_suggests_the_scopes_of_the_tenant_s_other_keys() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    assert!(!ada.visit("/keys/new").await.html().has("[data-suggestion]"), "there are none yet");
    for scopes in ["orders:read\norders:write\n*", "orders:read\ninvoices:read"] {
        mint(&ada, &[("name", "ci"), ("scopes", scopes), ("own_scopes", "events:write")]).await;
    }
    let eve = app.person("eve", app.make_tenant("other"), gatepost::domain::Role::Admin).await;
    mint(&eve, &[("name", "theirs"), ("scopes", "secret:plans")]).await;

    let given = ["invoices:read", "orders:read", "orders:write"];
    assert_eq!(ada.visit("/keys/new").await.html().texts("[data-suggestion]"), given);
    assert_eq!(ada.visit("/keys/1/edit").await.html().texts("[data-suggestion]"), given);
    let again = ada.submit("/keys", &[("name", "")]).await;
    assert_eq!(again.assert_status(422).html().texts("[data-suggestion]"), given);
}

#[actix_web::test]
async fn an_edit_keeps_what_it_does_not_change() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    mint(
        &ada,
        &[
            ("name", "ci"),
            ("owner", "cus_7"),
            ("expiry", "30"),
            ("metadata", "{\"plan\":\"gold\"}"),
            ("own_scopes", "events:write"),
        ],
    )
    .await;
    let form = ada.visit("/keys/1/edit").await.html();
    let kept: Vec<_> =
        ["owner", "expires_on", "rate_limit", "scopes", "metadata"].map(|name| (name, form.value(name))).into();
    let mut fields: Vec<_> = kept.iter().map(|(name, value)| (*name, value.as_str())).collect();
    fields.extend([("name", "CI runner"), ("rate_window_seconds", "3600"), ("own_scopes", "events:write")]);

    ada.submit("/keys/1", &fields).await.assert_see_other("/keys/1");

    let again = ada.visit("/keys/1/edit").await.html();
    assert_eq!(again.value("name"), "CI runner");
    for (name, value) in kept {
        assert_eq!(again.value(name).trim(), value.trim(), "{name}");
    }
    assert!(again.has("input[value='events:write'][checked]"));
    let empty = ada.submit("/keys/1", &[("name", "")]).await;
    assert_eq!(empty.assert_status(422).html().error_at("name"), "Name is required.");
}

#[actix_web::test]
async fn filters_and_pages_are_in_the_url() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    for number in 0..27 {
        mint(&ada, &[("name", &format!("key {number}"))]).await.1.assert_ok();
    }
    ada.submit("/keys/27/deactivation", &[]).await;

    let first = ada.visit("/keys").await.html();
    assert_eq!(first.texts(".cell-title a").len(), 25);
    let next = first.select("a[rel=next]")[0].value().attr("href").unwrap().to_owned();
    let second = ada.visit(next).await.html();
    assert_eq!(second.texts(".cell-title a"), ["key 1", "key 0"]);
    assert!(second.has("a[rel=prev]") && !second.has("a[rel=next]"));
    let disabled = ada.visit("/keys?state=disabled").await.html();
    assert_eq!(disabled.texts(".cell-title a"), ["key 26"]);
    assert_eq!(disabled.select(".chip")[0].value().attr("href"), Some("/keys"));
    assert!(ada.visit("/keys?q=nothing+like+it").await.html().text(".empty").contains("No key matches"));
}

#[actix_web::test]
async fn a_viewer_sees_no_button_that_they_cannot_use() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    mint(&ada, &[("name", "ci")]).await;
    let bob = app.viewer("bob").await;

    let list = bob.visit("/keys").await.html();
    assert!(!list.has("a[href='/keys/new']"));
    let key = bob.visit("/keys/1").await.html();
    assert!(!key.has("[href='/keys/1/edit']") && !key.has(".danger"));
    bob.visit("/keys/new").await.assert_status(403);
    bob.submit("/keys/1/revocation", &[]).await.assert_status(403);
}

#[actix_web::test]
async fn an_expired_key_is_shown_as_expired() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    mint(&ada, &[("name", "ci"), ("expiry", "30")]).await;

    app.advance(TimeDelta::days(31));
    let person = app.sign_in("ada", gatepost::domain::UserId(ada.user_id)).await;

    assert_eq!(person.visit("/keys").await.html().texts("tbody .badge"), ["Expired"]);
}

#[actix_web::test]
async fn an_invalid_number_is_refused_at_its_field() {
    let app = TestApp::start().await;
    let ada = app.developer("ada").await;
    for (field, value, says) in [
        ("rate_limit", "99999999999999999999", "is too large"),
        ("rate_limit", "many", "must be a whole number"),
        ("rate_limit", "1.5", "must be a whole number"),
        ("rate_window_seconds", "99999999999999999999", "is too large"),
        ("quota", "99999999999999999999", "is too large"),
    ] {
        let (_, answer) = mint(&ada, &[("name", "ci"), (field, value)]).await;
        let said = answer.assert_status(422).html().error_at(field);
        assert!(said.contains(says), "{field}={value}: {said}");
    }
}

#[actix_web::test]
async fn a_refused_form_names_its_fields_in_words() {
    let app = TestApp::start().await;
    let ada = app.developer("ada").await;
    mint(&ada, &[("name", "ci")]).await;
    for (overlap, says) in [("soon", "Overlap seconds must be a whole number"), ("-1", "Overlap seconds")] {
        let form = [("nonce", "x"), ("overlap_seconds", overlap)];
        let answer = ada.with("accept", "text/html").submit("/keys/1/rotation", &form).await;
        let page = answer.assert_status(422).html().all_text();
        assert!(page.contains(says) && !page.to_lowercase().contains("overlap_seconds"), "{page}");
    }
}
