//! Origins of forms: forms of this instance's own pages are accepted, however browsers and proxies write the address.

use crate::support::{Answer, Person, TestApp};

/// Sends a form of Ada with a valid token and these headers.
async fn submit_with(ada: &Person, headers: &[(&'static str, &str)]) -> Answer {
    let token = ada.form_token().await;
    let browser = headers.iter().fold(ada.clone(), |browser, (name, value)| browser.with(name, value));
    browser.submit_exactly("/tenant", &[("_csrf", &token), ("tenant", "1")]).await
}

async fn is_accepted(ada: &Person, headers: &[(&'static str, &str)]) -> bool {
    let answer = submit_with(ada, headers).await;
    assert!([303, 403].contains(&answer.status), "{headers:?}: {} {}", answer.status, answer.body);
    answer.status == 303
}

#[actix_web::test]
async fn the_public_url_s_origin_is_accepted_whatever_host_a_proxy_names() {
    let app = TestApp::start_with(&[("GATEPOST_PUBLIC_URL", "http://keys.example.com:8088")]).await;
    let ada = app.admin("ada").await;
    for origin in ["http://keys.example.com:8088", "http://KEYS.example.com.:8088"] {
        for host in ["keys.example.com", "app:8000", "127.0.0.1"] {
            assert!(is_accepted(&ada, &[("origin", origin), ("host", host)]).await, "{origin} {host}");
        }
    }
}

#[actix_web::test]
async fn the_request_s_own_origin_is_accepted_in_every_spelling() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    for (origin, host) in [
        ("http://keys.example.com", "Keys.Example.com"),
        ("http://keys.example.com", "keys.example.com:80"),
        ("https://keys.example.com", "keys.example.com:443"),
        ("https://keys.example.com:8443", "keys.example.com:8443"),
        ("http://keys.example.com", "keys.example.com."),
        ("http://[::1]:8000", "[0:0:0:0:0:0:0:1]:8000"),
        ("http://xn--bcher-kva.example", "xn--BCHER-kva.example"),
    ] {
        assert!(is_accepted(&ada, &[("origin", origin), ("host", host)]).await, "{origin} {host}");
    }
}

#[actix_web::test]
async fn another_origin_is_refused() {
    let app = TestApp::start_with(&[("GATEPOST_PUBLIC_URL", "http://keys.example.com:8088")]).await;
    let ada = app.admin("ada").await;
    for origin in [
        "http://evil.example",
        "http://keys.example.com",
        "https://keys.example.com:8088",
        "http://keys.example.com:80880",
        "http://keys.example.com:8088.evil.example",
        "http://keys.example.com:8088@evil.example",
        "http://a.keys.example.com:8088",
        "null",
        "",
        "file://",
        "http://",
    ] {
        assert!(!is_accepted(&ada, &[("origin", origin), ("host", "app:8000")]).await, "{origin}");
    }
}

#[actix_web::test]
async fn a_cross_site_report_of_the_browser_outweighs_the_origin() {
    let app = TestApp::start_with(&[("GATEPOST_PUBLIC_URL", "http://keys.example.com")]).await;
    let ada = app.admin("ada").await;
    for site in ["cross-site", "same-site", "", "x"] {
        let headers = [("origin", "http://keys.example.com"), ("sec-fetch-site", site)];
        assert!(!is_accepted(&ada, &headers).await, "{site}");
    }
    assert!(is_accepted(&ada, &[("sec-fetch-site", "same-origin")]).await);
}

#[actix_web::test]
async fn a_forwarded_host_counts_only_from_a_trusted_proxy() {
    let headers = [
        ("origin", "https://keys.example.com:8443"),
        ("host", "app:8000"),
        ("x-forwarded-host", "keys.example.com:8443"),
        ("x-forwarded-proto", "https"),
    ];
    for (trusted, is_near) in [("127.0.0.1", true), ("10.0.0.1", false), ("none", false)] {
        let app = TestApp::start_with(&[("GATEPOST_TRUSTED_PROXIES", trusted)]).await;
        assert_eq!(is_accepted(&app.admin("ada").await, &headers).await, is_near, "{trusted}");
    }
}

#[actix_web::test]
async fn a_forwarded_host_from_the_client_is_ignored_behind_a_trusted_proxy() {
    let app = TestApp::start_with(&[("GATEPOST_TRUSTED_PROXIES", "127.0.0.1")]).await;
    let ada = app.admin("ada").await;
    let origin = ("origin", "https://evil.example");
    let forwarded = ("x-forwarded-host", "evil.example, keys.example.com");
    assert!(!is_accepted(&ada, &[origin, forwarded]).await);
}

#[actix_web::test]
async fn the_scheme_named_by_a_trusted_proxy_must_equal_the_form_s() {
    let app = TestApp::start_with(&[("GATEPOST_TRUSTED_PROXIES", "127.0.0.1")]).await;
    let ada = app.admin("ada").await;
    let of =
        |proto| [("origin", "http://keys.example.com"), ("host", "keys.example.com"), ("x-forwarded-proto", proto)];
    assert!(is_accepted(&ada, &of("http")).await);
    assert!(!is_accepted(&ada, &of("https")).await);
}

#[actix_web::test]
async fn an_error_names_the_setting_and_the_received_headers() {
    let app = TestApp::start_with(&[("GATEPOST_PUBLIC_URL", "http://localhost:8000")]).await;
    let ada = app.admin("ada").await;
    let headers = [("origin", "http://keys.example.com:8088"), ("host", "keys.example.com")];
    let page = submit_with(&ada, &headers).await.assert_status(403).html().all_text();
    for part in ["GATEPOST_PUBLIC_URL", "http://keys.example.com:8088", "http://localhost:8000"] {
        assert!(page.contains(part), "{part} in {page}");
    }
}

#[actix_web::test]
async fn a_program_gets_the_same_error_as_json() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let (origin, accept) = (("origin", "http://keys.example.com:8088"), ("accept", "application/json"));
    let body = Some(("application/x-www-form-urlencoded", String::new()));
    let program = ada.with(origin.0, origin.1).with(accept.0, accept.1);
    let answer = program.send(reqwest::Method::POST, "/tenant", body).await;
    let problem = answer.assert_problem(403, "forbidden");
    assert!(problem["detail"].as_str().unwrap().contains("GATEPOST_PUBLIC_URL is http://"), "{problem}");
}

#[actix_web::test]
async fn a_trusted_proxy_s_port_completes_the_host() {
    let headers = [
        ("origin", "https://keys.example.com:8443"),
        ("host", "keys.example.com"),
        ("x-forwarded-port", "8443"),
        ("x-forwarded-proto", "https"),
    ];
    for (trusted, is_near) in [("127.0.0.1", true), ("10.0.0.1", false)] {
        let app = TestApp::start_with(&[("GATEPOST_TRUSTED_PROXIES", trusted)]).await;
        assert_eq!(is_accepted(&app.admin("ada").await, &headers).await, is_near, "{trusted}");
    }
}

#[actix_web::test]
async fn an_error_names_the_proxy_whose_headers_were_ignored() {
    let app = TestApp::start_with(&[("GATEPOST_TRUSTED_PROXIES", "10.0.0.1")]).await;
    let ada = app.admin("ada").await;
    let origin = ("origin", "http://keys.example.com:8088");
    let refusal =
        async |headers: &[(&'static str, &str)]| submit_with(&ada, headers).await.assert_status(403).html().all_text();
    for name in ["x-forwarded-host", "x-forwarded-proto", "x-forwarded-port"] {
        let page = refusal(&[origin, ("host", "app"), (name, "8088")]).await;
        assert!(page.contains("from 127.0.0.1 were ignored") && page.contains("GATEPOST_TRUSTED_PROXIES"), "{page}");
    }
    assert!(!refusal(&[origin, ("host", "app")]).await.contains("GATEPOST_TRUSTED_PROXIES"));
}
