//! Child processes of a measurement, one for each side, so that the CPU and memory of each can be measured.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{ChildStdin, Command, Stdio};

use serde_json::Value;

use crate::{house, shared};

/// Environment variable with the role of this process.
pub const ROLE: &str = "GATEPOST_BENCH_ROLE";

/// Running child process. Dropping it closes its stdin, which ends it.
pub struct Child {
    process: std::process::Child,
    _input: ChildStdin,
    pub addr: SocketAddr,
    /// Values that it printed when it was ready: secrets to call it with.
    pub told: Value,
}

impl Child {
    pub fn start(role: &str) -> Self {
        Self::start_with(role, &[])
    }

    /// Starts a child with these environment variables.
    pub fn start_with(role: &str, environment: &[(&str, &str)]) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .env(ROLE, role)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process can be started");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).expect("it says where it listens");
        let addr = told["addr"].as_str().unwrap().parse().unwrap();
        Self { _input: process.stdin.take().unwrap(), process, addr, told }
    }

    pub fn told(&self, name: &str) -> &str {
        self.told[name].as_str().unwrap()
    }

    /// Returns CPU seconds used so far: fields 14 and 15 of `/proc/<pid>/stat`, in ticks of 10 ms (proc(5)).
    pub fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap_or_default();
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
        ticks.sum::<f64>() / 100.0
    }

    /// Returns resident memory in MiB.
    pub fn memory(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches("kB").trim().parse::<f64>().unwrap_or_default() / 1024.0
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Plays a role in a child process until stdin ends.
pub fn play(role: &str) {
    actix_web::rt::System::new().block_on(async {
        let told = match role {
            "bare" => house::bare(),
            "shared" => house::gatepost("gatepost_bench_shared", &[("REDIS_URL", &shared::url())]).await,
            "signin" => house::gatepost("gatepost_bench_signin", &[("GATEPOST_TRUSTED_PROXIES", "127.0.0.1")]).await,
            _ => house::gatepost("gatepost_bench", &[]).await,
        };
        println!("{told}");
        let wait = || std::io::stdin().read_to_end(&mut Vec::new());
        let _ = tokio::task::spawn_blocking(wait).await;
    });
}
