//! Full disk of Postgres: writes are refused for a while, and nothing is lost.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use diesel::prelude::*;
use gatepost::store::embedded::Embedded;
use serde_json::{Value, json};

use super::until;
use crate::support::{Answer, Person, Receiver, TestApp};

/// Postgres in its own small file system. Mounting one needs root.
struct SmallDisk {
    folder: tempfile::TempDir,
    postgres: Option<Embedded>,
}

impl SmallDisk {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mount = ["-t", "tmpfs", "-o", "size=192m,mode=0755", "tmpfs", folder.path().to_str().unwrap()];
        assert!(Command::new("mount").args(mount).status().unwrap().success(), "root can mount a small disk");
        let mut disk = Self { folder, postgres: None };
        let postgres = Embedded::start(&disk.folder.path().join("data"), None).unwrap();
        // A Postgres that cannot extend its write-ahead log stops, so restart it.
        postgres.supervise();
        disk.postgres = Some(postgres);
        disk
    }

    fn url(&self) -> String {
        self.postgres.as_ref().unwrap().url()
    }

    fn filler(&self) -> PathBuf {
        self.folder.path().join("filler")
    }

    /// Fills the disk to the last byte.
    fn fill(&self) {
        let mut filler = File::create(self.filler()).unwrap();
        let block = [0; 4096];
        while filler.write_all(&block).is_ok() {}
        fs::set_permissions(self.filler(), Permissions::from_mode(0o600)).unwrap();
    }

    fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.postgres.take());
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}

/// Server on a small disk, a key in its cache, and a program of the key's tenant.
struct ServerOnSmallDisk {
    app: TestApp,
    program: Person,
    key: Value,
    holder: Person,
    disk: SmallDisk,
}

impl ServerOnSmallDisk {
    async fn set() -> Self {
        let disk = SmallDisk::start();
        let app = TestApp::start_at(&disk.url(), &[]).await;
        let program = app.program().await;
        let key = json!({"name": "known", "rate_limit": 1_000_000});
        let key = program.post_json("/api/keys", key).await.assert_status(201).json();
        let holder = app.key(key["secret"].as_str().unwrap());
        app.until_all_is_heard(&program).await;
        holder.get("/protected/").await.assert_ok();
        Self { app, program, key, holder, disk }
    }

    /// Repeats this request until it is refused, and returns the earlier responses. Writes succeed while existing pages
    /// have room.
    async fn until_refused(&self, path: &str, body: Value) -> Vec<Answer> {
        let mut taken = Vec::new();
        for _ in 0..2_000 {
            let answer = self.program.post_json(path, body.clone()).await;
            if !(200..300).contains(&answer.status) {
                answer.assert_problem(503, "unavailable");
                assert_eq!(answer.header("retry-after"), "2");
                return taken;
            }
            taken.push(answer);
        }
        panic!("{path} is never refused");
    }

    async fn until_taken(&self, path: &str, body: Value) {
        for _ in 0..400 {
            if self.program.post_json(path, body.clone()).await.status < 300 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{path} is never taken");
    }

    async fn assert_known_key_is_verified(&self, times: usize) {
        for _ in 0..times {
            self.holder.get("/protected/").await.assert_ok();
        }
    }
}

const EVENT: &str = "order.created";

#[actix_web::test]
async fn while_the_disk_is_full_writes_are_503_and_known_keys_are_verified() {
    let scene = ServerOnSmallDisk::set().await;
    scene.disk.fill();

    scene.until_refused("/api/keys", json!({"name": "another", "description": "x".repeat(400)})).await;
    scene.until_refused("/api/events", json!({"type": EVENT, "data": {"text": "x".repeat(2_000)}})).await;
    scene.assert_known_key_is_verified(20).await;
    until(503, &scene.app.stranger(), "/readyz").await;

    scene.disk.free();

    until(200, &scene.app.stranger(), "/readyz").await;
    scene.until_taken("/api/keys", json!({"name": "later"})).await;
    scene.until_taken("/api/events", json!({"type": EVENT, "data": {}})).await;
}

#[actix_web::test]
async fn usage_during_a_full_disk_is_written_once_there_is_room() {
    let scene = ServerOnSmallDisk::set().await;
    scene.disk.fill();

    scene.assert_known_key_is_verified(500).await;
    scene.until_refused("/api/keys", json!({"name": "another", "description": "x".repeat(400)})).await;
    scene.disk.free();

    scene.until_taken("/api/keys", json!({"name": "later"})).await;
    let path = format!("/api/keys/{}/usage", scene.key["id"]);
    for _ in 0..400 {
        scene.app.running().state.gate.flush().await;
        if scene.program.get(&path).await.json()["total"] == 501 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(scene.program.get(&path).await.json()["total"], 501);
}

#[actix_web::test]
async fn events_acknowledged_around_a_full_disk_are_all_delivered() {
    let scene = ServerOnSmallDisk::set().await;
    let receiver = Receiver::start().await;
    scene.program.subscribe(&receiver, json!({})).await;
    let event = json!({"type": EVENT, "data": {"text": "x".repeat(2_000)}});
    scene.disk.fill();

    let mut acknowledged: Vec<String> = Vec::new();
    for answer in scene.until_refused("/api/events", event.clone()).await {
        acknowledged.push(answer.json()["id"].as_str().unwrap().to_owned());
    }
    scene.disk.free();
    scene.until_taken("/api/events", event).await;

    for _ in 0..400 {
        let ids: Vec<String> = receiver.received().iter().map(|one| one.header("webhook-id").to_owned()).collect();
        acknowledged.retain(|id| !ids.contains(id));
        if acknowledged.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{acknowledged:?} were not delivered");
}

#[actix_web::test]
async fn a_postgres_that_stopped_on_a_full_disk_restarts_once_there_is_room() {
    let scene = ServerOnSmallDisk::set().await;
    scene.disk.fill();
    let mut conn = scene.app.conn();
    // Fill the write-ahead log until it needs a new segment.
    for _ in 0..20 {
        let switch = "SELECT pg_logical_emit_message(false, 'filler', 'x'), pg_switch_wal()";
        if diesel::sql_query(switch).execute(&mut conn).is_err() {
            break;
        }
    }

    scene.until_refused("/api/keys", json!({"name": "another"})).await;
    scene.assert_known_key_is_verified(20).await;
    scene.disk.free();

    scene.until_taken("/api/keys", json!({"name": "later"})).await;
    until(200, &scene.app.stranger(), "/readyz").await;
}
