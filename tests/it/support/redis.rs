//! Real Redis in its own directory, on a socket there, stopped when the test ends.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gatepost::config::{self, Outage};
use redis::{Client, Commands, Connection};
use rustix::process::{Pid, Signal, kill_process};

pub struct Redis {
    pub url: String,
    folder: tempfile::TempDir,
    process: Option<Child>,
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Redis {
    /// Starts Redis without persistence, so that it is empty after a restart.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("unix://{}", folder.path().join("redis.sock").display());
        let mut redis = Self { url, folder, process: None };
        redis.restart();
        redis
    }

    pub fn restart(&mut self) {
        self.kill();
        let process = Command::new("redis-server")
            .args(["--port", "0", "--unixsocket", "redis.sock", "--save", "", "--appendonly", "no", "--dir", "."])
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Redis is installed: `make test` sees to it");
        self.process = Some(process);
        let start = Instant::now();
        while Client::open(self.url.as_str()).unwrap().get_connection().is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "Redis does not answer");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills Redis, which loses all its data.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Stops Redis from responding until `go_on`, while it still accepts connections.
    pub fn hang(&self) {
        self.signal(Signal::STOP);
    }

    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    pub fn connect(&self) -> Connection {
        Client::open(self.url.as_str()).unwrap().get_connection().unwrap()
    }

    /// Changes a Redis setting.
    pub fn configure(&self, name: &str, value: &str) {
        redis::cmd("CONFIG").arg("SET").arg(name).arg(value).exec(&mut self.connect()).unwrap();
    }

    /// Returns the number of scripts that Redis has run.
    pub fn scripts_run(&self) -> u64 {
        let told: String = redis::cmd("INFO").arg("commandstats").query(&mut self.connect()).unwrap();
        let line = told.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls=")).unwrap_or("0,");
        line.split_once(',').unwrap().0.parse().unwrap()
    }

    /// Returns all keys and values as text.
    pub fn contents(&self) -> Vec<String> {
        let mut conn = self.connect();
        let names: Vec<String> = conn.keys("*").unwrap();
        let show = |name: String| {
            let fields: Vec<String> = conn.hgetall(&name).unwrap();
            format!("{name} {}", fields.join(" "))
        };
        names.into_iter().map(show).collect()
    }

    /// Returns the settings of a server that uses this Redis.
    pub fn settings(&self, outage: Outage) -> config::Redis {
        let server = config::redis::server(&self.url).unwrap();
        config::Redis { server, outage, timeout: Duration::from_secs(10) }
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("it runs");
        kill_process(Pid::from_child(process), signal).unwrap();
    }
}
