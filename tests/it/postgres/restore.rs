//! Restored dumps: by the guide's own commands, without the database role, and long after their creation.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use diesel::connection::SimpleConnection;
use gatepost::domain::Clock;
use gatepost::store::partitions;
use serde_json::json;

use super::versions::main_job;
use super::{soon, wrong};
use crate::boot::{Gatepost, data_dir};
use crate::readme::{blocks, read};
use crate::support::database::Database;
use crate::support::{Cluster, Receiver, TestApp};

const DROP_PARTITIONS: &str = "DO $$ DECLARE part REGCLASS; BEGIN
    FOR part IN SELECT inhrelid::regclass FROM pg_inherits
        WHERE inhparent IN ('events'::regclass, 'deliveries'::regclass, 'attempts'::regclass)
    LOOP EXECUTE 'DROP TABLE ' || part; END LOOP; END $$";

/// Returns the only block of the guide that contains all of these words.
fn guide(words: &[&str]) -> String {
    let fitting = blocks(&read("docs/operations.md"), "sh");
    let mut fitting = fitting.into_iter().filter(|block| words.iter().all(|word| block.contains(word)));
    let found = fitting.next().unwrap_or_else(|| panic!("the guide has no block with {words:?}"));
    assert_eq!(fitting.next(), None, "only one block has {words:?}");
    found
}

/// Fills an instance. Its `check` tries a known key, a tenant's change, and publishing.
const SEED: &str = r#"
gatepost migrate
gatepost tenants create --name Acme --plan unlimited
gatepost users create --email ada@example.com --operator --password-stdin <<< 'correct horse battery staple'
gatepost members add --user ada@example.com --tenant acme --role owner
TOKEN=$(gatepost tokens create --user ada@example.com --tenant acme --name ci --scopes '*')
SECRET=$(gatepost keys create --tenant acme --name known)
until_ready() { until curl -fs http://127.0.0.1:8000/readyz; do sleep 0.1; done; }
post() { curl -fsS "http://127.0.0.1:8000$1" -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d "$2"; }
check() {
    until_ready
    post /api/keys '{"name": "new"}' | grep -q sk_
    post /api/events '{"type": "order.created", "data": 1}' | grep -q evt_
    curl -fsS http://127.0.0.1:8000/protected/ -H "X-API-Key: $SECRET"
    gatepost doctor | grep -v '^ok' | { ! grep WRONG; }
}
"#;

/// Runs a script as an operator would, with a directory and port of its own in place of the guide's.
fn run(folder: &Path, script: &str) {
    let data_dir = folder.join("instance").display().to_string();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let script =
        script.replace("/var/lib/gatepost", &data_dir).replace("127.0.0.1:8000", &address).replace("sudo ", "");
    let programs = Path::new(env!("CARGO_BIN_EXE_gatepost")).parent().unwrap().display().to_string();
    let mut command = Command::new("bash");
    command.args([
        "-euo",
        "pipefail",
        "-c",
        &format!("trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n{script}"),
    ]);
    command.env_clear().env("PATH", format!("{programs}:/usr/local/bin:/usr/bin:/bin")).env("GATEPOST_BIND", &address);
    command.env("GATEPOST_DRAIN_SECONDS", "0").env("GATEPOST_DATA_DIR", &data_dir).current_dir(folder);
    let output = command.stdin(Stdio::null()).output().expect("bash starts");
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}\n--- stdout ---\n{said}\n--- stderr ---\n{complained}");
}

#[test]
fn the_guide_s_backup_is_restored_into_a_new_cluster_by_its_own_commands() {
    let (folder, _) = data_dir();
    let backup = guide(&["# Backup, beside a running server"]);
    let restore = guide(&["# Restore, into an empty data directory"]);
    let upgrade = guide(&["# still the old version"]);
    let again = restore.replace("tar -C", "# tar -C");
    let script = format!(
        "{SEED}\ngatepost serve &\nuntil_ready\n{backup}\nkill %1; wait; rm -rf /var/lib/gatepost/*\n\
         {restore}\ncheck\nkill %1; wait\n{upgrade}\n{again}\ncheck\nkill %1; wait"
    );
    run(folder.path(), &script);
}

#[test]
fn the_guide_s_move_to_a_new_cluster_works_as_written() {
    let cluster = Cluster::start();
    let database = cluster.owned_database("mover", "CREATEROLE");
    let url = &database.url;
    let dump = guide(&["# Dump, beside the running server"]);
    let restore = guide(&["# Restore, into the empty database"]);
    let script = format!(
        "{SEED}\ngatepost serve &\nuntil_ready\n{dump}\nkill %1; wait\nexport DATABASE_URL='{url}'\n{restore}\n\
         gatepost serve &\ncheck\nkill %1; wait"
    );
    run(cluster.folder(), &script);
}

/// Dumps a database and restores it elsewhere with all errors ignored, as `pg_restore` does by itself.
fn copy_with_errors(from: &Database, to: &Database, folder: &Path) {
    let dump = folder.join("dump");
    let dumped = Command::new("pg_dump").arg("-Fc").arg("-f").arg(&dump).arg(&from.url).status().unwrap();
    assert!(dumped.success());
    let restored = Command::new("pg_restore").arg("--no-owner").arg("-d").arg(&to.url).arg(&dump).output().unwrap();
    let complained = String::from_utf8_lossy(&restored.stderr);
    assert!(complained.contains("role \"gatepost_app\" does not exist"), "{complained}");
}

#[actix_web::test]
async fn an_old_dump_restored_without_the_role_is_completed_at_start() {
    let (cluster, source) = (Cluster::start(), Database::clone_template());
    source.connect().batch_execute(DROP_PARTITIONS).unwrap();
    let target = cluster.owned_database("creator", "CREATEROLE");
    copy_with_errors(&source, &target, cluster.folder());
    let says = wrong(&target);
    assert!(says.contains("gatepost_app"), "{says}");
    main_job(target).await;
}

#[test]
fn doctor_names_a_partition_that_is_missing_today_and_migrate_creates_it() {
    let database = Database::clone_template();
    Gatepost::on(&database).run(&["migrate"]).ok();
    let drop = "DO $$ BEGIN EXECUTE 'DROP TABLE deliveries_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD'); END $$";
    database.connect().batch_execute(drop).unwrap();
    let says = wrong(&database);
    assert!(says.contains("deliveries have no partition for today"), "{says}");
    Gatepost::on(&database).run(&["migrate"]).ok();
    assert_eq!(wrong(&database), "");
}

#[actix_web::test]
async fn an_event_that_finds_no_partition_creates_it_and_is_delivered() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    program.subscribe(&receiver, json!({})).await;
    app.conn().batch_execute(DROP_PARTITIONS).unwrap();
    let event = program.publish("order.created", json!(1)).await;
    program.delivery_once(&event, "delivered", 1).await;
    app.stranger().get("/readyz").await.assert_ok();
}

#[actix_web::test]
async fn a_partition_that_is_missing_today_is_created_by_the_readiness_check() {
    let app = TestApp::start().await;
    let mut conn = app.conn();
    conn.batch_execute(DROP_PARTITIONS).unwrap();
    soon(|| partitions::missing_by_id(&mut conn, Clock::default().now()).unwrap().is_empty()).await;
    app.stranger().get("/readyz").await.assert_ok();
}

#[actix_web::test]
async fn an_event_with_an_idempotency_key_that_finds_no_partition_creates_it() {
    let app = TestApp::start().await;
    let program = app.program().await.with("idempotency-key", "one");
    app.conn().batch_execute(DROP_PARTITIONS).unwrap();
    program.publish("order.created", json!(1)).await;
    assert_eq!(partitions::missing_by_id(&mut app.conn(), Clock::default().now()), Ok(Vec::new()));
}

#[actix_web::test]
async fn a_change_whose_event_has_no_partition_succeeds_at_the_second_try() {
    let app = TestApp::start().await;
    let program = app.program().await;
    program.subscribe(&Receiver::start().await, json!({"events": ["api_key.created"]})).await;
    app.conn().batch_execute(DROP_PARTITIONS).unwrap();
    // The readiness check may come first.
    let first = program.post_json("/api/keys", json!({"name": "first"})).await.status;
    assert!([503, 201].contains(&first), "{first}");
    program.post_json("/api/keys", json!({"name": "second"})).await.assert_status(201);
}
