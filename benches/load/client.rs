//! HTTP client with little overhead: requests are serialised once, connections are kept, bodies are read by content
//! length.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Request as sent over the wire, with the expected status.
#[derive(Clone)]
pub struct Request {
    pub addr: SocketAddr,
    bytes: Arc<[u8]>,
    status: u16,
}

impl Request {
    pub fn new(method: &str, path: &str, addr: SocketAddr, headers: &[&str], body: &str) -> Self {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let length = body.len();
        let text =
            format!("{method} {path} HTTP/1.1\r\nhost: {addr}\r\n{headers}content-length: {length}\r\n\r\n{body}");
        Self { addr, bytes: text.into_bytes().into(), status: 200 }
    }

    pub fn expecting(self, status: u16) -> Self {
        Self { status, ..self }
    }
}

/// Kept-alive connection.
pub struct Line {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Line {
    pub async fn open(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.expect("the server accepts");
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::with_capacity(4096) }
    }

    /// Sends a request and returns the body. A status other than the expected one ends the measurement.
    pub async fn ask(&mut self, request: &Request) -> String {
        self.stream.write_all(&request.bytes).await.unwrap();
        self.buffer.clear();
        loop {
            assert!(0 < self.stream.read_buf(&mut self.buffer).await.unwrap(), "the server has hung up");
            let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(self.buffer.get(..end).unwrap()).to_lowercase();
            assert!(head.starts_with(&format!("http/1.1 {}", request.status)), "{head}");
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a content length");
            let whole = end + 4 + length.trim().parse::<usize>().unwrap();
            while self.buffer.len() < whole {
                assert!(0 < self.stream.read_buf(&mut self.buffer).await.unwrap(), "the server has hung up");
            }
            return String::from_utf8_lossy(self.buffer.get(end + 4..).unwrap()).into_owned();
        }
    }
}

/// Counts responses within a time, where each connection sends the next request as soon as it has a response.
pub async fn flood(request: &Request, connections: usize, length: Duration) -> u64 {
    let until = Instant::now() + length;
    let loops = (0..connections).map(|_| {
        let request = request.clone();
        tokio::spawn(async move {
            let (mut line, mut count) = (Line::open(request.addr).await, 0);
            while Instant::now() < until {
                line.ask(&request).await;
                count += 1;
            }
            count
        })
    });
    join_all(loops).await.into_iter().map(|count| count.expect("no loop panics")).sum()
}

/// Returns microseconds from the time when each request was due, at a fixed rate. A slow request thus counts for those
/// queued behind it.
pub async fn paced(request: &Request, per_second: u32, connections: u32, length: Duration) -> Vec<u64> {
    let gap = Duration::from_secs(1) * connections / per_second;
    let begun = Instant::now();
    let loops = (0..connections).map(|index| {
        let request = request.clone();
        tokio::spawn(async move {
            let mut line = Line::open(request.addr).await;
            let (mut due, mut took) = (begun + gap * index / connections, Vec::new());
            while due < begun + length {
                tokio::time::sleep_until(due.into()).await;
                // Tokio's timer rounds up to whole milliseconds, which is not the server's delay.
                let from = Instant::now().min(due + Duration::from_millis(2)).max(due);
                line.ask(&request).await;
                took.push(from.elapsed().as_micros() as u64);
                due += gap;
            }
            took
        })
    });
    let mut all: Vec<u64> = join_all(loops).await.into_iter().flat_map(|took| took.expect("no loop panics")).collect();
    all.sort_unstable();
    all
}

pub fn share(sorted: &[u64], of_thousand: usize) -> u64 {
    sorted.get((sorted.len() * of_thousand / 1000).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
