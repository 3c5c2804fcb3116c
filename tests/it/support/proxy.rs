//! TCP proxy in front of the test cluster that can hold bytes back, like a network that drops packets silently.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use url::Url;

#[derive(Default)]
struct Held {
    /// Affects connections with a number below this one.
    below: AtomicUsize,
    /// Affects the listening connections with these numbers.
    listeners: Mutex<Vec<usize>>,
    all: AtomicBool,
}

impl Held {
    fn holds(&self, number: usize) -> bool {
        self.all.load(Ordering::SeqCst)
            || number < self.below.load(Ordering::SeqCst)
            || self.listeners.lock().unwrap().contains(&number)
    }
}

pub struct Proxy {
    /// Address of the same database, through the proxy.
    pub url: String,
    held: Arc<Held>,
    connections: Arc<AtomicUsize>,
    /// Numbers of connections that have sent LISTEN.
    listening: Arc<Mutex<Vec<usize>>>,
}

impl Proxy {
    pub fn start(database_url: &str) -> Self {
        let url = Url::parse(database_url).unwrap();
        let folder = url.query_pairs().find(|(name, _)| name == "host").unwrap().1.into_owned();
        let socket = PathBuf::from(folder).join(".s.PGSQL.5432");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (user, database, port) = (url.username(), url.path(), listener.local_addr().unwrap().port());
        let url = format!("postgres://{user}@127.0.0.1:{port}{database}?sslmode=disable&gssencmode=disable");
        let proxy = Self { url, held: Arc::default(), connections: Arc::default(), listening: Arc::default() };
        let (held, connections, listening) =
            (Arc::clone(&proxy.held), Arc::clone(&proxy.connections), Arc::clone(&proxy.listening));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let number = connections.fetch_add(1, Ordering::SeqCst);
                let Ok(server) = UnixStream::connect(&socket) else { continue };
                let (held, listening) = (Arc::clone(&held), Arc::clone(&listening));
                thread::spawn(move || carry(client, server, number, held, listening));
            }
        });
        proxy
    }

    /// Holds back the connections that listen now. Other connections pass.
    pub fn hold_listeners(&self) {
        let mut held = self.held.listeners.lock().unwrap();
        held.extend(self.listening.lock().unwrap().iter());
    }

    /// Holds back all connections that are open now. New ones pass.
    pub fn hold_present(&self) {
        self.held.below.store(self.connections.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// Holds back all connections, including new ones.
    pub fn hold_all(&self) {
        self.held.all.store(true, Ordering::SeqCst);
    }

    /// Sends everything that was held back.
    pub fn go_on(&self) {
        self.held.below.store(0, Ordering::SeqCst);
        self.held.listeners.lock().unwrap().clear();
        self.held.all.store(false, Ordering::SeqCst);
    }

    /// Returns the number of connections so far that have sent LISTEN.
    pub fn listeners(&self) -> usize {
        self.listening.lock().unwrap().len()
    }
}

fn carry(client: TcpStream, server: UnixStream, number: usize, held: Arc<Held>, listening: Arc<Mutex<Vec<usize>>>) {
    let (mut from_client, mut to_client) = (client.try_clone().unwrap(), client);
    let (mut from_server, mut to_server) = (server.try_clone().unwrap(), server);
    let theirs = Arc::clone(&held);
    thread::spawn(move || {
        pass(&mut from_server, &mut to_client, || theirs.holds(number), |_| ());
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let note = |bytes: &[u8]| {
        if bytes.windows(16).any(|window| window == b"LISTEN gatepost\0") {
            listening.lock().unwrap().push(number);
        }
    };
    pass(&mut from_client, &mut to_server, || held.holds(number), note);
    let _ = to_server.shutdown(Shutdown::Both);
}

fn pass(from: &mut impl Read, to: &mut impl Write, holds: impl Fn() -> bool, note: impl Fn(&[u8])) {
    let mut buffer = [0; 16_384];
    while let Ok(count) = from.read(&mut buffer)
        && 0 < count
    {
        note(&buffer[..count]);
        while holds() {
            thread::sleep(Duration::from_millis(2));
        }
        if to.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}
