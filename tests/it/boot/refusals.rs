//! Refused starts: each prints one clear line.

use std::fs;
use std::io::{Read, Seek};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use gatepost::config::SETTINGS;

use super::command::Gatepost;
use super::serving::{SERVE, Served};
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
fn an_unreachable_database_is_named_without_its_password() {
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
fn a_new_pepper_is_refused_until_the_old_one_is_listed() {
    let database = Database::clone_template();
    Gatepost::on(&database).run(&["tenants", "create", "--name", "Acme"]).ok();
    let other = "Zx7Qw2Er9Ty4Ui1Op6As3Df8Gh5Jk0LzXc7Vb2Nm9Qw";
    let environment =
        [("DATABASE_URL", database.url.as_str()), ("API_KEY_PEPPER", other), ("GATEPOST_MASTER_KEY", MASTER_KEY)];
    let create = ["tenants", "create", "--name", "Beta"];
    Gatepost::new(&environment).run(&create).assert_failed(1, &["API_KEY_PEPPER", "API_KEY_PEPPERS_OLD"]);
    let doctor = Gatepost::new(&environment).run(&["doctor"]);
    assert!(doctor.code == 1 && doctor.stdout.contains("WRONG  API_KEY_PEPPER is not the pepper"), "{doctor:?}");

    use base64::Engine;
    let old = format!("old:{}", base64::engine::general_purpose::STANDARD.encode(PEPPER));
    let environment = [environment[0], environment[1], environment[2], ("API_KEY_PEPPERS_OLD", old.as_str())];
    let doctor = Gatepost::new(&environment).run(&["doctor"]);
    assert!(!doctor.stdout.contains("is not the pepper"), "{doctor:?}");
    Gatepost::new(&environment).run(&create).ok();
}

#[test]
fn a_wrong_master_key_is_refused() {
    let database = Database::clone_template();
    Gatepost::on(&database).run(&["tenants", "create", "--name", "Acme"]).ok();
    let other = "mZ0o4l5T1u7qf3uHkz0cDJr2nKpV8yYgWbQxS6tEaLU=";
    let gatepost =
        Gatepost::new(&[("DATABASE_URL", &database.url), ("API_KEY_PEPPER", PEPPER), ("GATEPOST_MASTER_KEY", other)]);
    gatepost.run(&["tenants", "create", "--name", "Beta"]).assert_failed(1, &["GATEPOST_MASTER_KEY"]);
    let doctor = gatepost.run(&["doctor"]);
    assert!(doctor.code == 1 && doctor.stdout.contains("WRONG  GATEPOST_MASTER_KEY is not the key"), "{doctor:?}");
    // Doctor writes nothing, so the correct key is still accepted.
    let doctor = Gatepost::on(&database).run(&["doctor"]);
    assert!(!doctor.stdout.contains("is not the key"), "{doctor:?}");
}

#[test]
fn a_port_in_use_is_named_before_anything_is_created() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let ran = Gatepost::in_dir(&data_dir).run(&["serve", "--bind", &address]);
    ran.assert_failed(1, &[&address, "in use", "GATEPOST_BIND"]);
    assert!(!data_dir.join("postgres").exists());
}

#[test]
fn an_unusable_data_directory_is_named() {
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
fn missing_postgres_programs_are_named_with_a_command_to_install_them() {
    let folder = tempfile::tempdir().unwrap();
    let ran = Gatepost::in_dir(&folder.path().join("data")).run(&["migrate", "--pg-bin", "/nonexistent"]);
    ran.assert_failed(1, &["GATEPOST_PG_BIN", "/nonexistent"]);
}

#[test]
fn doctor_reports_misspelled_settings() {
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
fn serve_warns_about_misspelled_settings() {
    let database = Database::clone_template();
    let environment = [
        ("DATABASE_URL", database.url.as_str()),
        ("API_KEY_PEPPER", PEPPER),
        ("GATEPOST_MASTER_KEY", MASTER_KEY),
        ("GATEPOST_PUBLIC_URI", "https://keys.example.com"),
        ("GATEPOST_SERVICE_HOST", "10.0.0.1"),
        ("GATEPOST_PORT", "tcp://10.0.0.1:8000"),
    ];
    let mut log = tempfile::tempfile().unwrap();
    let served = Served::listening(Gatepost::new(&environment).start_logging(&SERVE, log.try_clone().unwrap()));
    served.stop();
    let mut logged = String::new();
    log.rewind().unwrap();
    log.read_to_string(&mut logged).unwrap();
    let warned: Vec<_> = logged.lines().filter(|line| line.contains("no setting has this name")).collect();
    assert!(matches!(warned[..], [line] if line.contains("GATEPOST_PUBLIC_URI")), "{warned:?}");
}

#[test]
fn a_log_setting_that_would_mute_everything_is_refused() {
    for value in
        ["warning", "verbose", "3", "info,gatepost=verbose", "gatepost", "gatepost=", "info,gatepsot=debug", ","]
    {
        let gatepost = Gatepost::new(&[
            ("DATABASE_URL", NOWHERE),
            ("API_KEY_PEPPER", PEPPER),
            ("GATEPOST_MASTER_KEY", MASTER_KEY),
            ("GATEPOST_LOG", value),
        ]);
        gatepost.run(&["tenants", "list"]).assert_failed(1, &["GATEPOST_LOG: "]);
        let folder = tempfile::tempdir().unwrap();
        let ran = Gatepost::in_dir(&folder.path().join("data")).run(&["serve", "--log", value]);
        ran.assert_failed(1, &["--log: "]);
    }
}

#[test]
fn doctor_lists_the_levels_where_the_log_setting_names_none() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("gatepost.toml");
    fs::write(&config, "log = \"Warning\"").unwrap();
    let data_dir = folder.path().join("data");
    let ran = Gatepost::in_dir(&data_dir).run(&["doctor", "--config", config.to_str().unwrap()]);
    let says = "\"Warning\" has no known level: write one of trace, debug, info, warn, error, off";
    assert!(ran.code == 1 && ran.stdout.contains("WRONG  log in ") && ran.stdout.contains(says), "{ran:?}");
}

#[test]
fn a_mail_url_with_unknown_parameters_is_refused() {
    for url in ["smtp://me:hunter2@mail.example?tsl=required", "smtp://me@mail.example?tls=required"] {
        let gatepost = Gatepost::new(&[
            ("DATABASE_URL", NOWHERE),
            ("API_KEY_PEPPER", PEPPER),
            ("GATEPOST_MASTER_KEY", MASTER_KEY),
            ("GATEPOST_SMTP_URL", url),
        ]);
        gatepost.run(&["serve"]).assert_failed(1, &["GATEPOST_SMTP_URL: must be smtps://"]);
    }
}

#[test]
fn doctor_complains_about_a_database_with_asynchronous_commit() {
    let database = Database::clone_template();
    let url = format!("{}&options=-csynchronous_commit%3Doff", database.url);
    let gatepost =
        Gatepost::new(&[("DATABASE_URL", &url), ("API_KEY_PEPPER", PEPPER), ("GATEPOST_MASTER_KEY", MASTER_KEY)]);
    let ran = gatepost.run(&["doctor", "--json"]);
    let wrong = ran.json()["wrong"].to_string();
    assert_eq!(ran.code, 1);
    assert!(wrong.contains("synchronous_commit is off"), "{wrong}");
}

#[test]
fn doctor_reports_lost_secrets_of_a_private_postgres() {
    let (folder, data_dir) = super::data_dir();
    let gatepost = Gatepost::in_dir(&data_dir);
    gatepost.run(&["migrate"]).ok();
    gatepost.run(&["tenants", "create", "--name", "Acme"]).ok();
    gatepost.run(&["doctor"]).ok();
    fs::remove_dir_all(data_dir.join("secrets")).unwrap();
    let doctor = gatepost.run(&["doctor"]);
    assert!(doctor.code == 1 && doctor.stdout.contains("WRONG  API_KEY_PEPPER is not the pepper"), "{doctor:?}");
    assert!(!data_dir.join("secrets").exists(), "doctor makes nothing");
    drop(folder);
}

/// Connection strings and URLs with a password, in valid and invalid spellings.
const ADDRESSES: [(&str, &str); 16] = [
    ("DATABASE_URL", "postgres://u:hunter2@/db?host=/nonexistent"),
    ("DATABASE_URL", "postgres://u:hunter2@127.0.0.1:1,127.0.0.1:2/db"),
    ("DATABASE_URL", "postgres://u@127.0.0.1:1/db?password=hunter2&sslpassword=hunter2"),
    ("DATABASE_URL", "host=/nonexistent user=u password = 'its hunter2'"),
    ("DATABASE_URL", "host=/nonexistent password=a\\ hunter2"),
    ("DATABASE_URL", "postgres://u:p@hunter2@127.0.0.1:1/db"),
    ("DATABASE_URL", "postgres://u:1/hunter2@127.0.0.1:1/db"),
    ("DATABASE_URL", "postgres://u:hunter2%@127.0.0.1:1/db"),
    ("DATABASE_URL", "host=/nonexistent password=x hunter2"),
    ("DATABASE_URL", "host=/nonexistent options='-c a.b=hunter2'"),
    ("DATABASE_URL", "mysql://u:hunter2@127.0.0.1/db"),
    ("REDIS_URL", "redis://:hunter2@127.0.0.1:1"),
    ("REDIS_URL", "redis://u:1?hunter2@127.0.0.1:1"),
    ("REDIS_URL", "unix:///nonexistent?pass=hunter2"),
    ("GATEPOST_SMTP_URL", "smtp://u:hunter2@127.0.0.1:1"),
    ("GATEPOST_SMTP_URL", "smtp://u:1/hunter2@127.0.0.1"),
];

#[test]
fn no_command_prints_the_password_in_a_url() {
    for (name, address) in ADDRESSES {
        let usual = [("DATABASE_URL", NOWHERE), ("API_KEY_PEPPER", PEPPER), ("GATEPOST_MASTER_KEY", MASTER_KEY)];
        let gatepost = Gatepost::new(&[&usual[..], &[(name, address)]].concat());
        for command in [&["doctor"][..], &["doctor", "--json"], &["serve", "--bind", "127.0.0.1:0"], &["migrate"]] {
            let ran = gatepost.run(command);
            assert_eq!(ran.code, 1, "{address}: {ran:?}");
            assert!(!ran.stdout.contains("hunter2") && !ran.stderr.contains("hunter2"), "{address}: {ran:?}");
        }
    }
}

#[test]
fn no_command_prints_the_password_in_a_url_from_a_file_or_flag() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gatepost.toml");
    let text = format!("api_key_pepper = \"{PEPPER}\"\nmaster_key = \"{MASTER_KEY}\"\n");
    for (name, address) in ADDRESSES {
        let key = SETTINGS.iter().find(|setting| setting.env == name).unwrap().key;
        let value = toml::Value::from(address);
        for line in [format!("{key} = {value}"), format!("{key} = {address}"), format!("{key} = [{{ x = {value} }}]")] {
            fs::write(&file, format!("{text}{line}\n")).unwrap();
            let ran = Gatepost::new(&[]).run(&["doctor", "--config", file.to_str().unwrap()]);
            assert!(!ran.stdout.contains("hunter2") && !ran.stderr.contains("hunter2"), "{line}: {ran:?}");
        }
    }
    let flag = Gatepost::new(&[]).run(&["doctor", "--database-url", "postgres://u:hunter2@/db?host=/nonexistent"]);
    assert!(!flag.stdout.contains("hunter2") && !flag.stderr.contains("hunter2"), "{flag:?}");
}

#[test]
fn an_invalid_line_of_the_settings_file_is_named_with_its_setting() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gatepost.toml");
    for (text, place) in [
        ("bind = 127.0.0.1:0\n", "line 1 (bind)"),
        ("# comment\n\nlog = info\n", "line 3 (log)"),
        ("bind = \"127.0.0.1:0\"\nmaster_key = hunter2\n", "line 2 (master_key)"),
        ("bind = \"127.0.0.1:0\"\nbind = \"127.0.0.1:0\"\n", "line 2 (bind)"),
        ("hunter2\n", "line 1"),
        ("log = \"info\nbind = 7\n", "line 1"),
    ] {
        fs::write(&file, text).unwrap();
        let ran = Gatepost::new(&[]).run(&["serve", "--config", file.to_str().unwrap()]);
        ran.assert_failed(1, &["gatepost.toml", "is not valid TOML", place]);
        assert!(!ran.stderr.contains("hunter2"), "{ran:?}");
    }
}
