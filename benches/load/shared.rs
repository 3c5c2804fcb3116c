//! Verification with limits counted in Redis on this machine, compared with counting in the process.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::child::Child;
use crate::gate::{bare_route, latency_of, throughput_of, verification};

/// Environment variable with the socket of this Redis, a temporary file named after the measuring process.
const SOCKET: &str = "GATEPOST_BENCH_REDIS";

pub fn url() -> String {
    format!("unix://{}", std::env::var(SOCKET).expect("the section `shared` starts it"))
}

/// Running Redis, stopped when the measurement ends.
struct Redis(std::process::Child);

impl Redis {
    fn start(socket: &str) -> Self {
        let started = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket", socket])
            .stdout(Stdio::null())
            .spawn()
            .expect("Redis is installed: `make bench` sees to it");
        while std::os::unix::net::UnixStream::connect(socket).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
        Self(started)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub async fn limits(bare: &Child, gatepost: &Child) {
    let socket = std::env::temp_dir().join(format!("gatepost-bench-{}.sock", std::process::id()));
    let socket = socket.display().to_string();
    let _redis = Redis::start(&socket);
    let shared = Child::start_with("shared", &[(SOCKET, &socket)]);
    let sides = [
        ("bare route", bare, bare_route(bare)),
        ("POST /api/keys/verification", gatepost, verification(gatepost, gatepost.told("key"))),
        ("  counted in Redis", &shared, verification(&shared, shared.told("key"))),
    ];
    throughput_of(&sides).await;
    latency_of(&sides).await;
    let _ = std::fs::remove_file(&socket);
}
