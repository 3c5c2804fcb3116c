//! Single connection to the server, for requests that are sent byte for byte.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

#[derive(Debug)]
pub struct RawAnswer {
    pub status: u16,
    /// Status line and headers, in lower case.
    pub head: String,
    pub body: String,
}

impl Connection {
    pub async fn open(base: &str) -> Self {
        let stream = TcpStream::connect(base.trim_start_matches("http://")).await.unwrap();
        Self { stream, received: Vec::new() }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Reads the next response. `has_body` is false after HEAD.
    pub async fn answer(&mut self, has_body: bool) -> RawAnswer {
        let head = self.until(|received| received.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4)).await;
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let has_body = has_body && ![204, 304].contains(&status);
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let body = match length {
            _ if !has_body => Vec::new(),
            Some(length) => self.take(length.parse().unwrap()).await,
            None if head.contains("transfer-encoding: chunked") => self.chunks().await,
            None => Vec::new(),
        };
        RawAnswer { status, head, body: String::from_utf8_lossy(&body).into_owned() }
    }

    async fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = self.until(|received| received.windows(2).position(|end| end == b"\r\n").map(|at| at + 2)).await;
            let size = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
            let chunk = self.take(size + 2).await;
            if size == 0 {
                return body;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    async fn take(&mut self, length: usize) -> Vec<u8> {
        self.until(|received| (length <= received.len()).then_some(length)).await
    }

    /// Reads until `end` finds the end, and returns everything before it.
    async fn until(&mut self, end: impl Fn(&[u8]) -> Option<usize>) -> Vec<u8> {
        loop {
            if let Some(end) = end(&self.received) {
                return self.received.drain(..end).collect();
            }
            let read = self.stream.read_buf(&mut self.received).await.unwrap();
            assert!(0 < read, "the server closed the connection after {:?}", String::from_utf8_lossy(&self.received));
        }
    }
}
