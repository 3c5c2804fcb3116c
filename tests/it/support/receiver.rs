//! Webhook receiver on loopback: responds as scripted, and records every request byte for byte.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Response of the receiver to one request.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// Waits for [`Receiver::release`] before it responds.
    pub holds: bool,
}

impl Reply {
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: format!("answered {status}"), holds: false }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn held(mut self) -> Self {
        self.holds = true;
        self
    }
}

/// Request as received.
#[derive(Debug, Clone)]
pub struct Received {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Received {
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str()).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

#[derive(Default)]
struct Script {
    replies: VecDeque<Reply>,
    otherwise: Option<Reply>,
    received: Vec<Received>,
    busy: usize,
    most_busy: usize,
}

pub struct Receiver {
    pub url: String,
    script: Arc<Mutex<Script>>,
    gate: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Receiver {
    /// Starts a receiver that responds 200 unless scripted otherwise.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (script, gate) = (Arc::new(Mutex::new(Script::default())), Arc::new(Notify::new()));
        let (theirs, held) = (Arc::clone(&script), Arc::clone(&gate));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&theirs), Arc::clone(&held)));
            }
        });
        Self { url, script, gate, task }
    }

    /// Scripts the next responses, in this order. Later requests get 200.
    pub fn answer(&self, replies: impl IntoIterator<Item = Reply>) {
        self.script.lock().unwrap().replies.extend(replies);
    }

    /// Sets the response to all requests without a scripted one.
    pub fn answer_always(&self, reply: Reply) {
        self.script.lock().unwrap().otherwise = Some(reply);
    }

    pub fn received(&self) -> Vec<Received> {
        self.script.lock().unwrap().received.clone()
    }

    pub fn count(&self) -> usize {
        self.script.lock().unwrap().received.len()
    }

    /// Returns the highest number of requests that were open at once.
    pub fn most_busy(&self) -> usize {
        self.script.lock().unwrap().most_busy
    }

    /// Responds to all held requests that are open now.
    pub fn release(&self) {
        self.gate.notify_waiters();
    }

    /// Waits for this number of requests, and returns them.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> impl Future<Output = Vec<Received>> + '_ {
        let caller = std::panic::Location::caller();
        async move {
            for _ in 0..1_000 {
                let received = self.received();
                if count <= received.len() {
                    return received;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            panic!("{caller}: {} requests came, {count} were expected", self.received().len());
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Mutex<Script>>, gate: Arc<Notify>) {
    let mut buffer = Vec::new();
    while let Some(received) = read(&mut stream, &mut buffer).await {
        let released = gate.notified();
        let reply = {
            let mut script = script.lock().unwrap();
            script.received.push(received);
            script.busy += 1;
            script.most_busy = script.most_busy.max(script.busy);
            let otherwise = script.otherwise.clone();
            script.replies.pop_front().or(otherwise).unwrap_or_else(|| Reply::new(200))
        };
        if reply.holds {
            released.await;
        }
        script.lock().unwrap().busy -= 1;
        let mut head = format!("HTTP/1.1 {} Scripted\r\nContent-Length: {}\r\n", reply.status, reply.body.len());
        for (name, value) in &reply.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if stream.write_all(format!("{head}\r\n{}", reply.body).as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Received> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    let mut lines = head.lines();
    let line = lines.next()?.to_owned();
    let pairs = lines.filter_map(|line| line.split_once(": "));
    let headers: Vec<_> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.map_or(0, |(_, value)| value.parse().unwrap());
    let start = end + 4;
    while buffer.len() < start + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = buffer[start..start + length].to_vec();
    buffer.drain(..start + length);
    Some(Received { line, headers, body })
}
