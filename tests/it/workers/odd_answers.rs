//! Responses of 2xx with an odd head or a broken body: the receiver has the event, so it is not sent again.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::TestApp;

/// Way in which the receiver ends a connection.
#[derive(Clone, Copy)]
enum End {
    Stays,
    Closes,
    Resets,
}
use End::{Closes, Resets, Stays};

/// Starts a receiver that responds to every request with these bytes.
async fn receiver(answer: Vec<u8>, end: End) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, answer.clone(), end));
        }
    });
    url
}

async fn serve(mut stream: TcpStream, answer: Vec<u8>, end: End) {
    let mut request = Vec::new();
    while !request.ends_with(b"}") {
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let _ = stream.write_all(&answer).await;
    match end {
        Stays => while stream.read(&mut [0; 1024]).await.is_ok_and(|count| 0 < count) {},
        Closes => drop(stream.shutdown().await),
        // Wait until the client has read everything, since a reset discards unread bytes.
        Resets => {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            #[expect(deprecated, reason = "it does not block: no byte is kept back")]
            let _ = stream.set_linger(Some(std::time::Duration::ZERO));
        }
    }
}

fn answers() -> Vec<(&'static str, String, End)> {
    let ok = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 2\r\n\r\nok");
    let many = |count: usize, value: &str| (0..count).map(|n| format!("X-{n}: {value}\r\n")).collect::<String>();
    vec![
        ("a folded line", ok("X-A: one\r\n two\r\n"), Stays),
        ("a line folded by tabs, twice", ok("X-A: one\r\n\ttwo\r\n\t three\r\n"), Stays),
        ("an empty folded line", ok("X-A:\r\n one\r\n"), Stays),
        ("a blank before the colon", ok("X-A : one\r\nX-B\t: two\r\n"), Stays),
        ("bare line feeds", "HTTP/1.1 200 OK\nX-A: one\nContent-Length: 2\n\nok".to_owned(), Stays),
        ("values that are not ASCII", ok("X-A: Zoë €\r\n"), Stays),
        ("invalid names", ok("X A: one\r\nX(B): two\r\n: three\r\nno colon\r\n"), Stays),
        ("no reason", "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok".to_owned(), Stays),
        ("no reason after a blank", "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok".to_owned(), Stays),
        ("a reason that is not ASCII", "HTTP/1.1 200 Schön\r\nContent-Length: 2\r\n\r\nok".to_owned(), Stays),
        ("an unusual status", "HTTP/1.1 299 Fine\r\nContent-Length: 2\r\n\r\nok".to_owned(), Stays),
        ("many lines", ok(&many(500, "1")), Stays),
        ("large lines", ok(&many(8, &"a".repeat(10_000))), Stays),
        ("one very large line", ok(&many(1, &"a".repeat(100_000))), Stays),
        ("HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nok".to_owned(), Closes),
        ("no length", "HTTP/1.1 200 OK\r\n\r\nok".to_owned(), Closes),
        ("a length given twice", ok("Content-Length: 2\r\n"), Stays),
        ("a length listed twice", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok".to_owned(), Stays),
        ("no content", "HTTP/1.1 204 No Content\r\n\r\n".to_owned(), Stays),
        ("a body that ends early", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok".to_owned(), Closes),
        ("a head and nothing else", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n".to_owned(), Closes),
        ("a reset after the head", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n".to_owned(), Resets),
        ("a reset within the body", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok".to_owned(), Resets),
        ("a broken chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_owned(), Stays),
        ("an unfinished chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok".to_owned(), Closes),
        ("an early hint", format!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{}", ok("")), Stays),
        ("a 100 before", format!("HTTP/1.1 100 Continue\r\n\r\n{}", ok("")), Stays),
        ("garbage after the body", format!("{}\r\n\0garbage", ok("")), Stays),
        ("a second answer", format!("{}HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", ok("")), Stays),
    ]
}

#[actix_web::test]
async fn a_2xx_with_an_odd_head_or_a_broken_body_is_a_delivery() {
    let app = TestApp::start().await;
    let program = app.program().await;
    for (number, (what, answer, end)) in answers().into_iter().enumerate() {
        let url = receiver(answer.into_bytes(), end).await;
        let kind = format!("odd{number}");
        let ask = json!({"url": url, "events": [kind]});
        program.post_json("/api/webhooks", ask).await.assert_status(201);
        let event = program.publish(&kind, json!({})).await;
        let delivery = tried(&program, &event).await;
        assert_eq!(delivery["state"], "delivered", "{what}: {}", delivery["last_error"]);
        assert_eq!((&delivery["attempts_made"], &delivery["last_error"]), (&json!(1), &json!(null)), "{what}");
    }
}

/// Waits for the first attempt of an event's delivery, and returns the delivery.
async fn tried(program: &crate::support::Person, event: &serde_json::Value) -> serde_json::Value {
    let delivery = program.delivery_of(event).await;
    program.delivery_tried(delivery["id"].as_str().unwrap()).await;
    program.delivery_of(event).await
}

#[actix_web::test]
async fn a_folded_header_line_is_kept_with_a_space_in_place_of_its_fold() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let answer = b"HTTP/1.1 200 OK\r\nX-A: one\r\n  two\r\nContent-Length: 0\r\n\r\n".to_vec();
    let ask = json!({"url": receiver(answer, Stays).await, "events": ["*"]});
    program.post_json("/api/webhooks", ask).await.assert_status(201);
    let event = program.publish("a", json!({})).await;
    let delivery = tried(&program, &event).await;
    let kept = delivery["attempts"][0]["response_headers"]["x-a"].as_str().unwrap();
    assert_eq!(kept.split_whitespace().collect::<Vec<_>>(), ["one", "two"]);
    assert!(!kept.contains(['\r', '\n']), "{kept:?}");
}

#[actix_web::test]
async fn a_failure_with_an_odd_head_stays_a_failure() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let heads = [
        ("HTTP/1.1 500 No\r\nX-A: one\r\n two\r\nContent-Length: 10\r\n\r\nno", json!(500)),
        ("HTTP/1.1 302 Away\r\nX A: one\r\nContent-Length: 0\r\n\r\n", json!(302)),
        ("SSH-2.0-OpenSSH_9.2\r\n", json!(null)),
        ("HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", json!(null)),
        ("HTTP/1.1 103 Early Hints\r\n\r\n", json!(null)),
    ];
    for (number, (head, status)) in heads.into_iter().enumerate() {
        let kind = format!("odd{number}");
        let ask = json!({"url": receiver(head.as_bytes().to_vec(), Closes).await, "events": [kind]});
        program.post_json("/api/webhooks", ask).await.assert_status(201);
        let event = program.publish(&kind, json!({})).await;
        let delivery = tried(&program, &event).await;
        assert_eq!((&delivery["state"], &delivery["last_status"]), (&json!("retrying"), &status), "{head}");
    }
}
