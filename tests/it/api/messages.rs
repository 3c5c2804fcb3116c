//! Error messages for unreadable input: they name the field and say what to write, without the words of a library.

use gatepost::web::routes::{self, Door};
use serde_json::{Value, json};

use super::odd_input::{bodies, bodies_of_operators, leaves};
use super::{admin, mint, text};
use crate::support::{Answer, Person, TestApp};

/// Words of parsers that mean nothing to a user.
const OF_LIBRARIES: [&str; 18] = [
    "premature end",
    "invalid characters",
    "unsupported value",
    "invalid digit",
    "found in string",
    "trailing input",
    "input contains",
    "input is",
    "unknown variant",
    "provided string",
    "empty string",
    "target type",
    "invalid type",
    "invalid value",
    "invalid IP",
    ", expected ",
    "struct ",
    "sequence",
];

#[track_caller]
fn assert_plain(problem: &Value) {
    let said = problem.to_string();
    let theirs: Vec<_> = OF_LIBRARIES.iter().filter(|words| said.contains(*words)).collect();
    assert!(theirs.is_empty(), "{theirs:?} in {said}");
}

const WITH_TIMES: [&str; 6] =
    ["/api/events", "/api/deliveries", "/api/webhook-logs", "/api/usage", "/api/usage/records", "/api/audit"];

#[actix_web::test]
async fn a_time_can_be_a_date_and_can_have_an_unencoded_plus() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    for list in WITH_TIMES {
        for since in ["2026-11-30", "2026-11-30T00:00:00Z", "2026-11-30T01:00:00+01:00", "2026-11-30T01:00:00%2B01:00"]
        {
            token.get(format!("{list}?since={since}")).await.assert_ok();
        }
    }
}

#[actix_web::test]
async fn an_unreadable_time_is_refused_with_an_example() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    for list in WITH_TIMES {
        for since in ["", "yesterday", "2026-11", "30.11.2026", "2026-11-31", "1764504000", "2026-11-30T00:00:00"] {
            let problem = token.get(format!("{list}?since={since}")).await.assert_invalid("since");
            assert_plain(&problem);
            assert!(text(&problem, "detail").contains("as in 2026-11-30T12:00:00Z"), "{problem}");
        }
    }
    let body = json!({"name": "a", "expires_at": "soon"});
    let problem = token.post_json("/api/keys", body).await.assert_invalid("expires_at");
    assert!(text(&problem, "detail").contains("as in 2026-11-30"), "{problem}");
}

#[actix_web::test]
async fn a_date_without_a_time_means_midnight() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({"expires_at": "2099-12-31"})).await;
    assert_eq!(key["expires_at"], "2099-12-31T00:00:00Z");
}

#[actix_web::test]
async fn a_repeated_parameter_must_be_given_once() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    for (query, field) in [
        ("/api/keys?limit=1&limit=2", "limit"),
        ("/api/keys?q=a&q=b", "q"),
        ("/api/webhooks?state=active&state=failing", "state"),
        ("/api/deliveries?since=2026-11-30&since=2026-12-01", "since"),
        ("/api/audit?cursor=MQ&cursor=MQ", "cursor"),
    ] {
        let problem = token.get(query).await.assert_invalid(field);
        assert_eq!(problem["errors"][0]["detail"], "must be given once", "{query}");
    }
}

#[actix_web::test]
async fn no_parameter_of_any_list_is_refused_in_the_words_of_a_library() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    const NAMES: [&str; 18] = [
        "limit",
        "offset",
        "cursor",
        "since",
        "until",
        "state",
        "webhook_id",
        "event_id",
        "key_id",
        "tenant_id",
        "user_id",
        "is_active",
        "environment",
        "status",
        "success",
        "format",
        "bucket",
        "sort",
    ];
    for entry in routes::all() {
        let is_list = entry.method.as_str() == "GET" && matches!(entry.door, Door::Api | Door::ApiOrKey);
        if !is_list || entry.path.contains('{') {
            continue;
        }
        for name in NAMES {
            for value in ["x", "", "-", "1.5", "99999999999999999999", "%FF", "null"] {
                let answer = token.get(format!("{}?{name}={value}", entry.path)).await;
                assert!(answer.status < 500, "{}", answer.body);
                if answer.status != 200 {
                    assert_plain(&answer.json());
                }
            }
        }
    }
}

/// Sends bytes as a JSON body.
async fn send(token: &Person, headers: &[(&'static str, &str)], body: Vec<u8>) -> Answer {
    let mut request = token.client.post(format!("{}/api/keys", token.base)).headers(token.headers.clone());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::read(request.body(body).send().await.unwrap()).await
}

#[actix_web::test]
async fn an_encoded_body_is_refused_by_the_name_of_its_header() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    for coding in ["gzip", "GZIP", "br", "zstd", "deflate", "gzip, identity", "aes128gcm"] {
        let body = br#"{"name": "ci"}"#.to_vec();
        let problem =
            send(&token, &[("content-encoding", coding)], body).await.assert_problem(415, "unsupported_media_type");
        assert!(text(&problem, "detail").contains("Content-Encoding"), "{problem}");
    }
    send(&token, &[("content-encoding", "identity")], br#"{"name": "ci"}"#.to_vec()).await.assert_status(201);
}

#[actix_web::test]
async fn a_verification_refuses_an_encoded_body_too() {
    let app = TestApp::start().await;
    let token = admin(&app).await.with("content-encoding", "gzip");
    token.post_json("/api/keys/verification", json!({"key": "x"})).await.assert_problem(415, "unsupported_media_type");
}

#[actix_web::test]
async fn a_body_of_another_type_or_charset_is_refused_by_name() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    for (kind, says) in [
        ("text/plain", "text/plain"),
        ("multipart/form-data; boundary=x", "multipart/form-data"),
        ("application/xml", "application/xml"),
        ("application/json; charset=utf-16", "utf-16"),
        ("application/json;charset=\"ISO-8859-1\"", "iso-8859-1"),
    ] {
        let answer = send(&token, &[("content-type", kind)], br#"{"name": "ci"}"#.to_vec()).await;
        let problem = answer.assert_problem(415, "unsupported_media_type");
        assert!(text(&problem, "detail").contains(says), "{problem}");
    }
    for kind in ["application/json; charset=UTF-8", "application/problem+json", "Application/JSON;charset=\"utf-8\""] {
        send(&token, &[("content-type", kind)], br#"{"name": "ci"}"#.to_vec()).await.assert_status(201);
    }
}

#[actix_web::test]
async fn invalid_json_is_refused_with_its_position_and_the_reason() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    for (body, place, says) in [
        (b"{\"name\": \"a\",}".to_vec(), "line 1, column 14", "comma"),
        (b"{\n\"name\": [1,]}".to_vec(), "line 2, column 12", "comma"),
        (b"{\"name\": \"a\"".to_vec(), "line 1, column 12", "ends too early"),
        (b"{\"name\": \"a\"} x".to_vec(), "line 1, column 15", "nothing may follow"),
        (b"{name: 1}".to_vec(), "line 1, column 2", "double quotes"),
        (b"name=a".to_vec(), "line 1", "the body is a form: send JSON"),
        (b"user%5Bname%5D=a&b=c".to_vec(), "line 1", "the body is a form: send JSON"),
        (b"--x\r\nContent-Disposition: form-data\r\n".to_vec(), "line 1", "multipart form: send JSON"),
        (b"<key/>".to_vec(), "line 1", "XML"),
        (b"{'name': 1}".to_vec(), "line 1", "double quotes"),
        (b"{\"name\" 1}".to_vec(), "line 1", "a colon must follow"),
        (b"[1 2]".to_vec(), "line 1", "a comma or the closing bracket"),
        (b"{\"name\": \"a\tb\"}".to_vec(), "line 1", "written \\n and \\t"),
        (b"hello".to_vec(), "line 1", "a JSON value is expected"),
        (b"{\"name\": }".to_vec(), "line 1, column 10", "value is expected"),
        (b"\x1f\x8b\x08\x00\x00".to_vec(), "line 1", "gzip"),
        (utf16("{\"name\": \"a\"}"), "line 1", "UTF-16"),
        ([b"\xff\xfe".to_vec(), utf16("{}")].concat(), "line 1", "UTF-16"),
        (b"{\"name\": \"Andr\xe9\"}".to_vec(), "line 1, column 15", "UTF-8"),
    ] {
        let problem = send(&token, &[], body).await.assert_problem(400, "malformed_json");
        let detail = text(&problem, "detail");
        assert!(detail.contains(place) && detail.contains(says), "{place} and {says} in {detail}");
    }
}

#[actix_web::test]
async fn a_byte_order_mark_is_ignored() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    send(&token, &[], b"\xef\xbb\xbf{\"name\": \"ci\"}".to_vec()).await.assert_status(201);
}

#[actix_web::test]
async fn a_single_resource_refuses_an_unknown_parameter() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({})).await;
    let hook = json!({"url": "https://example.com/", "events": ["a.b"]});
    let hook = token.post_json("/api/webhooks", hook).await.assert_status(201).json();
    let event = token.post_json("/api/events", json!({"type": "x.y", "data": {}})).await.assert_status(202).json();
    let (key, hook, event) = (&key["id"], &hook["id"], text(&event, "id"));
    for path in [
        format!("/api/keys/{key}"),
        format!("/api/keys/{key}/usage"),
        format!("/api/webhooks/{hook}"),
        format!("/api/webhooks/{hook}/statistics"),
        format!("/api/webhooks/{hook}/secret"),
        format!("/api/webhooks/{hook}/headers"),
        format!("/api/events/{event}"),
        format!("/api/tenants/{}", app.tenant),
        format!("/api/tenants/{}/plan", app.tenant),
    ] {
        token.get(&path).await.assert_ok();
        token.get(format!("{path}?colour=red")).await.assert_invalid("colour");
        token.get(format!("{path}?tenant=acme")).await.assert_ok();
    }
}

/// Values of every JSON type, and numbers that fit no integer.
fn of_other_types() -> [Value; 9] {
    let large: Value = serde_json::from_str("100000000000000000000").unwrap();
    [
        json!(null),
        json!(true),
        json!(-1),
        json!(1.5),
        json!("x at line 3"),
        json!([]),
        json!({}),
        json!(u64::MAX),
        large,
    ]
}

#[actix_web::test]
async fn no_field_of_a_body_is_refused_in_the_words_of_a_library() {
    let app = TestApp::start().await;
    let (token, grace) = (admin(&app).await, app.operator("grace").await);
    let instance = app.instance_token_of(&grace, &["*"]);
    let of_tenant = bodies().into_iter().map(|one| (&token, one));
    for (who, (method, path, body)) in of_tenant.chain(bodies_of_operators().into_iter().map(|one| (&instance, one))) {
        let mut places = Vec::new();
        leaves(&body, "", &mut places);
        for place in places {
            for value in of_other_types() {
                let mut sent = body.clone();
                *sent.pointer_mut(&place).unwrap() = value;
                let answer = who.send(method.clone(), path, Some(("application/json", sent.to_string()))).await;
                if answer.status == 422 {
                    assert_plain(&answer.json());
                }
            }
        }
    }
}

#[actix_web::test]
async fn a_value_of_another_type_is_refused_with_the_type_to_write() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let large: Value = serde_json::from_str("100000000000000000000").unwrap();
    for (field, value, says) in [
        ("name", json!(7), "must be text"),
        ("rate_limit", json!("5"), "must be a whole number"),
        ("rate_limit", json!(1.5), "must be a whole number"),
        ("rate_limit", large, "is too large"),
        ("rate_limit", json!(u64::MAX), "is too large"),
        ("is_active", json!("x, expected u8"), "must be true or false"),
        ("scopes", json!("a"), "must be an array"),
        ("quota", json!([]), "must be an object"),
        ("expires_at", json!(7), "must be text"),
    ] {
        let mut body = json!({"name": "ci"});
        body[field] = value;
        let problem = token.post_json("/api/keys", body).await.assert_invalid(field);
        assert_eq!(problem["errors"][0]["detail"], says, "{problem}");
    }
    let answer = send(&token, &[], br#"{"name": "ci", "rate_limit": 1e999}"#.to_vec()).await;
    assert_eq!(answer.assert_invalid("rate_limit")["errors"][0]["detail"], "is too large");
    let body = json!({"key": "sk_x", "cost": -1});
    let problem = token.post_json("/api/keys/verification", body).await.assert_invalid("cost");
    assert_eq!(problem["errors"][0]["detail"], "must be 0 or more");
}

#[actix_web::test]
async fn an_unknown_choice_is_refused_with_the_allowed_choices() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    for (path, field, says) in [
        ("/api/usage?format=xml", "format", "must be one of json, csv"),
        ("/api/webhook-logs?success=yes", "success", "must be true or false"),
        ("/api/keys?is_active=1", "is_active", "must be true or false"),
    ] {
        let problem = token.get(path).await.assert_invalid(field);
        assert_eq!(problem["errors"][0]["detail"], says, "{path}");
    }
}

#[actix_web::test]
async fn an_invalid_ip_address_is_refused_with_an_example() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    for ip in ["203.0.113.7:80", "[::1]", "localhost", "", "203.0.113.0/24", "fe80::1%eth0"] {
        let key = json!({"key": "sk_x", "ip": ip});
        let record = json!({"key_id": 1, "ip": ip});
        for (path, body, field) in [
            ("/api/keys/verification", key.clone(), "ip"),
            ("/api/keys/verifications", json!({"verifications": [key]}), "verifications[0].ip"),
            ("/api/usage", json!({"records": [record]}), "records[0].ip"),
        ] {
            let problem = token.post_json(path, body).await.assert_invalid(field);
            let says = text(&problem["errors"][0], "detail");
            assert_eq!(says, "must be an IPv4 or IPv6 address without a port, as in 203.0.113.7", "{ip} at {path}");
        }
    }
}
