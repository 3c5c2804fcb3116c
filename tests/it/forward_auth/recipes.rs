//! Gateway configurations: the page, the document and the nginx test show the same text.

use std::fs;

use gatepost::web::forward_auth::recipes::Site;
use serde_json::json;

use super::{mint_as, text};
use crate::support::TestApp;

fn panels(page: &crate::support::answer::Page, tabs: &str) -> Vec<String> {
    let names = page.select(&format!("input[name='{tabs}']"));
    let codes = (1..=names.len()).map(|number| format!("#{tabs}-code-{number}"));
    codes.map(|id| page.select(&id)[0].text().collect()).collect()
}

#[actix_web::test]
async fn a_key_s_page_shows_gateway_configurations_with_this_instance_s_address() {
    let app = TestApp::start_with(&[("GATEPOST_PUBLIC_URL", "https://keys.example.com")]).await;
    let ada = app.admin("ada").await;
    let token = app.token_of(&ada, &["*"]);
    let key = mint_as(&token, json!({"scopes": ["stock:*", "orders:read", "orders:write"]})).await;
    let plain = mint_as(&token, json!({})).await;
    let site = |scopes: &[&str]| {
        let scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
        let site = Site::example("https://keys.example.com".parse().unwrap(), "acme", scopes);
        site.all().unwrap().map(|(_, text)| text)
    };

    let page = ada.visit(format!("/keys/{}", key["id"])).await.assert_ok().html();

    assert_eq!(page.texts("label[for^='gateway-']"), ["nginx", "Traefik", "Caddy", "Envoy"]);
    assert_eq!(panels(&page, "gateway"), site(&["orders:read"]), "with a scope that this key has");
    let page = ada.visit(format!("/keys/{}", plain["id"])).await.html();
    assert_eq!(panels(&page, "gateway"), site(&[]));
    let form = ada.visit("/keys/new").await.html();
    let fields = [
        ("nonce", form.value("nonce")),
        ("name", "Orders".to_owned()),
        ("scopes", "orders:read".to_owned()),
        ("environment", "live".to_owned()),
        ("expiry", "never".to_owned()),
        ("rate_limit", "1000".to_owned()),
        ("rate_window_seconds", "3600".to_owned()),
    ];
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let created = ada.submit("/keys", &fields).await.assert_ok().html();
    assert_eq!(panels(&created, "try").last(), site(&["orders:read"]).first());
}

#[test]
fn the_document_shows_the_same_gateway_configurations() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/forward-auth.md");
    let document = fs::read_to_string(path).unwrap();
    let site = Site::example("http://127.0.0.1:8000".parse().unwrap(), "acme", vec!["orders:read".to_owned()]);
    for ((name, text), tag) in site.all().unwrap().into_iter().zip(["nginx", "yaml", "caddyfile", "yaml"]) {
        let block = format!("```{tag}\n{text}\n```\n");
        assert!(document.contains(&block), "docs/forward-auth.md should show for {name}:\n{block}");
    }
}

#[actix_web::test]
async fn gateway_configurations_use_the_requirements_that_auth_reads() {
    let app = TestApp::start().await;
    let key = mint_as(&app.program().await, json!({"scopes": ["orders:read"]})).await;
    let holder = app.key(text(&key, "secret"));
    let site = Site::example(app.base.parse().unwrap(), "acme", vec!["orders:read".to_owned()]);
    for (name, configuration) in &site.all().unwrap()[..3] {
        let (_, question) = configuration.split_once("/auth?").unwrap();
        let question: String = question.chars().take_while(|c| !c.is_whitespace() && !"\";".contains(*c)).collect();
        holder.get(format!("/auth?{question}")).await.assert_ok();
        let lacking = question.replace("orders:read", "orders:write");
        holder.get(format!("/auth?{lacking}")).await.assert_problem(403, "missing_scopes");
        assert_eq!(question.starts_with("nginx=1&"), *name == "nginx", "{question}");
    }
}
