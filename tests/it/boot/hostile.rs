//! Hostile receivers: each attempt ends in time with its own outcome, and the server's memory stays small.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::crashes::{on, prepare};
use super::serving::Served;
use crate::support::database::Database;
use crate::support::{Person, Receiver};

/// Seconds that an attempt may take.
const DEADLINE: i64 = 5;
/// Memory in MiB that the server may use while all of them are called at once.
const MOST_MEMORY: u64 = 256;

/// Behavior of a receiver after the request has arrived.
#[derive(Clone, Copy)]
enum Harm {
    Silent,
    /// Sends one byte of a header every tenth of a second.
    DripsHead,
    /// Sends one byte of the body every tenth of a second.
    DripsBody,
    EndlessBody,
    EndlessHead,
    TenThousandHeaders,
    /// Sends five megabytes of zeros, compressed to 32 kilobytes.
    GzipBomb,
    Redirect,
    HangsUp,
    BadTls,
    NoHttp,
    EndsEarly,
}

const ALL: [(Harm, &str, Option<&str>); 12] = [
    (Harm::Silent, "silent", Some("timeout")),
    (Harm::DripsHead, "drips_head", Some("timeout")),
    (Harm::DripsBody, "drips_body", Some("timeout")),
    (Harm::EndlessBody, "endless_body", Some("response_too_large")),
    (Harm::EndlessHead, "endless_head", Some("response_too_large")),
    (Harm::TenThousandHeaders, "headers", Some("response_too_large")),
    // Counts as a success with 32 kilobytes, since nothing is decompressed.
    (Harm::GzipBomb, "bomb", None),
    // Fails, since redirects are not followed.
    (Harm::Redirect, "redirect", None),
    (Harm::HangsUp, "hangs_up", Some("protocol")),
    (Harm::BadTls, "bad_tls", Some("tls")),
    (Harm::NoHttp, "no_http", Some("protocol")),
    // Counts as a success: the status has arrived, so the receiver has accepted the event.
    (Harm::EndsEarly, "ends_early", None),
];

async fn start(harm: Harm, elsewhere: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let scheme = if matches!(harm, Harm::BadTls) { "https" } else { "http" };
    let url = format!("{scheme}://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(misbehave(stream, harm, elsewhere.clone()));
        }
    });
    url
}

/// Responds as `harm` says, until the server closes the connection.
async fn misbehave(mut stream: TcpStream, harm: Harm, elsewhere: String) {
    let mut buffer = [0; 8192];
    let _ = stream.read(&mut buffer).await;
    let head = b"HTTP/1.1 200 OK\r\n";
    let _ = match harm {
        Harm::Silent => std::future::pending().await,
        Harm::DripsHead => drip(&mut stream, head).await,
        Harm::DripsBody => drip(&mut stream, b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n").await,
        Harm::EndlessBody => flood(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "x").await,
        Harm::EndlessHead => flood(&mut stream, "HTTP/1.1 200 OK\r\nX-A: ", "x").await,
        Harm::TenThousandHeaders => {
            let lines: String = (0..10_000).map(|n| format!("X-{n}: 1\r\n")).collect();
            stream.write_all(format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 0\r\n\r\n").as_bytes()).await
        }
        Harm::GzipBomb => {
            let bomb = gzip_of_zeros();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", bomb.len());
            stream.write_all(&[head.as_bytes(), &bomb].concat()).await
        }
        Harm::Redirect => {
            let head = format!("HTTP/1.1 307 Away\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(head.as_bytes()).await
        }
        Harm::HangsUp => Ok(()),
        Harm::BadTls => stream.write_all(b"\x16\x03\x03\x00\x02\xff\xff").await,
        Harm::NoHttp => stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await,
        Harm::EndsEarly => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await,
    };
    let _ = stream.shutdown().await;
}

async fn drip(stream: &mut TcpStream, head: &[u8]) -> std::io::Result<()> {
    for byte in head.iter().chain(std::iter::repeat(&b'x')) {
        stream.write_all(&[*byte]).await?;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    Ok(())
}

async fn flood(stream: &mut TcpStream, head: &str, piece: &str) -> std::io::Result<()> {
    stream.write_all(head.as_bytes()).await?;
    let chunk = piece.repeat(65_536);
    loop {
        stream.write_all(chunk.as_bytes()).await?;
    }
}

/// Returns five megabytes of zeros as gzip (RFC 1951 §3.2.6, fixed codes): one zero, then many times "repeat the last
/// byte 258 times".
fn gzip_of_zeros() -> Vec<u8> {
    const TIMES: usize = 20_000;
    let mut bits = String::from("110");
    bits.push_str("00110000");
    bits.push_str(&"1100010100000".repeat(TIMES));
    bits.push_str("0000000");
    let byte = |bits: &[u8]| bits.iter().rev().fold(0_u8, |byte, bit| byte << 1 | (bit - b'0'));
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255];
    bytes.extend(bits.as_bytes().chunks(8).map(byte));
    let zeros = vec![0; 1 + 258 * TIMES];
    bytes.extend(crc32fast::hash(&zeros).to_le_bytes());
    bytes.extend(u32::try_from(zeros.len()).unwrap().to_le_bytes());
    bytes
}

/// Returns the process's peak memory in MiB, or `None` on systems that do not report it.
fn most_memory(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib / 1024)
}

#[actix_web::test]
async fn hostile_receivers_get_their_own_outcome_in_time_and_cost_little_memory() {
    let database = Database::clone_template();
    let (gatepost, fine) = (on(&database), Receiver::start().await);
    let token = prepare(&gatepost, &fine);
    let served = Served::start(&gatepost);
    let program = Person::with_token(&served.base, &token);
    let elsewhere = Receiver::start().await;
    for (harm, kind, _) in ALL {
        let url = start(harm, elsewhere.url.clone()).await;
        let ask = json!({"url": url, "events": [kind], "timeout_seconds": DEADLINE, "retry_schedule": []});
        program.post_json("/api/webhooks", ask).await.assert_status(201);
    }
    let batch: Vec<Value> = (0..3).flat_map(|_| ALL).map(|(_, kind, _)| json!({"type": kind, "data": 1})).collect();
    let sent = program.post_json("/api/events/batch", json!({"events": batch})).await.assert_status(202).json();
    let count = sent["data"].as_array().unwrap().len();

    let mut ended = Vec::new();
    for _ in 0..1_500 {
        ended = program.get("/api/webhook-logs?limit=100").await.assert_ok().json()["data"].as_array().unwrap().clone();
        ended.retain(|row| !row["duration_ms"].is_null() && row["webhook_id"] != 1);
        if ended.len() == count {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(ended.len(), count, "all have ended");
    for row in &ended {
        let (_, _, expected) = ALL.iter().find(|(_, kind, _)| row["event"] == *kind).unwrap();
        assert_eq!(row["error_kind"].as_str(), *expected, "{row}");
        assert_eq!(row["success"], row["event"] == "bomb" || row["event"] == "ends_early", "{row}");
        assert!(row["duration_ms"].as_i64().unwrap() <= DEADLINE * 4_000, "{row}");
        assert!(row["response_body"].as_str().unwrap_or_default().len() <= 16 * 1024);
    }
    assert_eq!(ended.iter().filter(|row| row["response_status"] == 307).count(), 3);
    assert!(elsewhere.received().is_empty(), "a redirect was followed");
    assert_eq!(fine.wait_for(count).await.len(), count, "who is well gets all of it");
    if let Some(memory) = most_memory(served.child.id()) {
        assert!(memory <= MOST_MEMORY, "{memory} MiB");
    }
    served.stop();
}
