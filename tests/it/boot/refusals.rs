//! What Gatepost refuses to start with, in one clear line.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use super::command::Gatepost;
use crate::support::database::Database;
use crate::support::settings::{MASTER_KEY, PEPPER};

const NOWHERE: &str = "postgres://gatepost@localhost/gatepost?host=/nonexistent";

#[test]
fn an_external_database_needs_a_pepper_and_a_master_key() {
    Gatepost::new(&[("DATABASE_URL", NOWHERE)])
        .run(&["serve"])
        .assert_failed(1, &["API_KEY_PEPPER", "required", "openssl"]);
    let with_pepper = Gatepost::new(&[("DATABASE_URL", NOWHERE), ("API_KEY_PEPPER", PEPPER)]);
    with_pepper.run(&["serve"]).assert_failed(1, &["GATEPOST_MASTER_KEY", "required"]);
}

#[test]
fn placeholders_are_refused_and_never_repeated() {
    for pepper in ["changeme", "changeme-changeme-changeme-changeme", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"] {
        let gatepost = Gatepost::new(&[
            ("DATABASE_URL", NOWHERE),
            ("API_KEY_PEPPER", pepper),
            ("GATEPOST_MASTER_KEY", MASTER_KEY),
        ]);
        let ran = gatepost.run(&["serve"]);
        ran.assert_failed(1, &["API_KEY_PEPPER"]);
        assert!(!ran.stderr.contains(pepper), "{ran:?}");
    }
}

#[test]
fn a_database_that_does_not_answer_is_named_without_its_password() {
    let url = "postgres://ada:hunter2@localhost/gatepost?host=/nonexistent";
    let gatepost =
        Gatepost::new(&[("DATABASE_URL", url), ("API_KEY_PEPPER", PEPPER), ("GATEPOST_MASTER_KEY", MASTER_KEY)]);
    let ran = gatepost.run(&["serve", "--bind", "127.0.0.1:0"]);
    ran.assert_failed(1, &["the database can't be reached"]);
    assert!(!ran.stderr.contains("hunter2"));
    let ran = gatepost.run(&["doctor"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("WRONG") && !ran.stdout.contains("hunter2"), "{ran:?}");
    assert!(!ran.stdout.contains(PEPPER) && !ran.stdout.contains(MASTER_KEY));
}

#[test]
fn another_pepper_than_the_database_knows_is_refused_until_it_is_listed() {
    let database = Database::clone_template();
    Gatepost::on(&database).run(&["tenants", "create", "--name", "Acme"]).ok();
    let other = "Zx7Qw2Er9Ty4Ui1Op6As3Df8Gh5Jk0LzXc7Vb2Nm9Qw";
    let environment =
        [("DATABASE_URL", database.url.as_str()), ("API_KEY_PEPPER", other), ("GATEPOST_MASTER_KEY", MASTER_KEY)];
    let create = ["tenants", "create", "--name", "Beta"];
    Gatepost::new(&environment).run(&create).assert_failed(1, &["API_KEY_PEPPER", "API_KEY_PEPPERS_OLD"]);

    use base64::Engine;
    let old = format!("old:{}", base64::engine::general_purpose::STANDARD.encode(PEPPER));
    let environment = [environment[0], environment[1], environment[2], ("API_KEY_PEPPERS_OLD", old.as_str())];
    Gatepost::new(&environment).run(&create).ok();
}

#[test]
fn another_master_key_than_the_database_knows_is_refused() {
    let database = Database::clone_template();
    Gatepost::on(&database).run(&["tenants", "create", "--name", "Acme"]).ok();
    let other = "mZ0o4l5T1u7qf3uHkz0cDJr2nKpV8yYgWbQxS6tEaLU=";
    let gatepost =
        Gatepost::new(&[("DATABASE_URL", &database.url), ("API_KEY_PEPPER", PEPPER), ("GATEPOST_MASTER_KEY", other)]);
    gatepost.run(&["tenants", "create", "--name", "Beta"]).assert_failed(1, &["GATEPOST_MASTER_KEY"]);
}

#[test]
fn a_port_that_is_taken_is_named_before_anything_is_made() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let ran = Gatepost::in_dir(&data_dir).run(&["serve", "--bind", &address]);
    ran.assert_failed(1, &[&address, "in use", "GATEPOST_BIND"]);
    assert!(!data_dir.join("postgres").exists());
}

#[test]
fn a_data_directory_that_can_t_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a-file");
    fs::write(&file, "").unwrap();
    let data_dir = file.join("data");
    let ran = Gatepost::in_dir(&data_dir).run(&["migrate"]);
    ran.assert_failed(1, &[&data_dir.display().to_string()]);
}

#[test]
fn a_generated_secret_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("secrets")).unwrap();
    let file = folder.path().join("secrets/api_key_pepper");
    fs::write(&file, PEPPER).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    Gatepost::in_dir(folder.path()).run(&["migrate"]).assert_failed(1, &["API_KEY_PEPPER", "chmod 600"]);
}

#[test]
fn missing_server_programs_are_named_with_the_line_that_installs_them() {
    let folder = tempfile::tempdir().unwrap();
    let ran = Gatepost::in_dir(&folder.path().join("data")).run(&["migrate", "--pg-bin", "/nonexistent"]);
    ran.assert_failed(1, &["GATEPOST_PG_BIN", "/nonexistent"]);
}

#[test]
fn misspelled_settings_are_found_by_doctor() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data").display().to_string();
    let gatepost =
        Gatepost::new(&[("GATEPOST_DATA_DIR", &data_dir), ("GATEPOST_BINDD", "x"), ("PATH", "/usr/bin:/bin")]);
    let ran = gatepost.run(&["doctor"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("GATEPOST_BINDD"), "{ran:?}");
    assert!(!folder.path().join("data").exists(), "doctor makes nothing");
}

#[test]
fn a_database_that_forgets_what_it_has_acknowledged_is_complained_about() {
    let database = Database::clone_template();
    let url = format!("{}&options=-csynchronous_commit%3Doff", database.url);
    let gatepost =
        Gatepost::new(&[("DATABASE_URL", &url), ("API_KEY_PEPPER", PEPPER), ("GATEPOST_MASTER_KEY", MASTER_KEY)]);
    let ran = gatepost.run(&["doctor", "--json"]);
    let wrong = ran.json()["wrong"].to_string();
    assert_eq!(ran.code, 1);
    assert!(wrong.contains("synchronous_commit is off"), "{wrong}");
}
