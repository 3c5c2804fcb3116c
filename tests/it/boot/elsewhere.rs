//! Commands without an existing instance: they report this and create none.

use std::fs;
use std::path::Path;

use diesel::RunQueryDsl;
use diesel::connection::SimpleConnection;
use diesel::sql_types::BigInt;

use super::command::Gatepost;
use crate::support::database::Database;

/// One command of each kind that needs an instance.
const COMMANDS: [&[&str]; 11] = [
    &["users", "reset-link", "--email", "ada@example.com"],
    &["secrets", "status"],
    &["secrets", "rotate"],
    &["tenants", "list"],
    &["tenants", "create", "--name", "Acme"],
    &["plans", "list"],
    &["members", "list", "--tenant", "acme"],
    &["keys", "list", "--tenant", "acme"],
    &["webhooks", "list", "--tenant", "acme"],
    &["deliveries", "list", "--tenant", "acme"],
    &["audit", "verify"],
];

#[derive(diesel::QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

fn tables(database: &Database) -> i64 {
    let sql = "SELECT count(*) AS count FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    diesel::sql_query(sql).get_result::<Count>(&mut database.connect()).unwrap().count
}

/// Asserts that the command fails with one line on stderr that contains these words.
fn assert_refused(gatepost: &Gatepost, command: &[&str], words: &[&str]) {
    gatepost.run(command).assert_failed(1, words);
}

#[test]
fn doctor_reports_a_missing_instance_and_creates_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("mistyped/data");
    let looked = Gatepost::in_dir(&data_dir).run(&["doctor"]);
    let says = format!("{} contains no instance yet", data_dir.display());
    assert!(looked.code == 0 && looked.stdout.contains(&says), "{looked:?}");
    assert!(!folder.path().join("mistyped").exists());

    let database = Database::empty();
    let looked = Gatepost::on(&database).run(&["doctor"]);
    assert!(looked.stdout.contains("ok     the database has no tables of Gatepost yet"), "{looked:?}");
    assert_eq!(tables(&database), 0);
}

#[test]
fn a_missing_data_directory_is_named_and_not_created() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("mistyped/data");
    let gatepost = Gatepost::in_dir(&data_dir);
    for command in COMMANDS {
        assert_refused(&gatepost, command, &[data_dir.to_str().unwrap(), "GATEPOST_DATA_DIR", "no instance"]);
        assert!(!folder.path().join("mistyped").exists(), "{command:?}");
    }
}

#[test]
fn an_empty_data_directory_stays_empty() {
    let folder = tempfile::tempdir().unwrap();
    for command in COMMANDS {
        assert_refused(&Gatepost::in_dir(folder.path()), command, &["GATEPOST_DATA_DIR", "no instance"]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{command:?}");
    }
}

#[test]
fn with_secrets_given_a_missing_instance_is_not_created_either() {
    use crate::support::settings::{MASTER_KEY, PEPPER};
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data").display().to_string();
    let secrets = [("API_KEY_PEPPER", PEPPER), ("GATEPOST_MASTER_KEY", MASTER_KEY)];
    let place = [("GATEPOST_DATA_DIR", data_dir.as_str()), ("PATH", "/usr/local/bin:/usr/bin:/bin")];
    let gatepost = Gatepost::new(&[&secrets[..], &place].concat());
    assert_refused(&gatepost, &["tenants", "list"], &[&data_dir, "GATEPOST_DATA_DIR", "no instance"]);
    assert!(!Path::new(&data_dir).exists());
}

#[test]
fn lost_secrets_are_named_and_not_created() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("postgres")).unwrap();
    fs::write(folder.path().join("postgres/PG_VERSION"), "15\n").unwrap();
    let gatepost = Gatepost::in_dir(folder.path());
    assert_refused(&gatepost, &["tenants", "list"], &["API_KEY_PEPPER", "secrets/api_key_pepper is missing", "backup"]);
    assert!(!folder.path().join("secrets").exists());
}

#[test]
fn a_missing_settings_file_is_named() {
    let gatepost = Gatepost::new(&[]);
    let ran = gatepost.run(&["tenants", "list", "--config", "/nonexistent/gatepost.toml"]);
    ran.assert_failed(1, &["/nonexistent/gatepost.toml", "--config", "GATEPOST_CONFIG"]);
}

#[test]
fn an_empty_database_is_reported_and_stays_empty() {
    let database = Database::empty();
    for command in COMMANDS {
        assert_refused(&Gatepost::on(&database), command, &["no tables of Gatepost", "gatepost migrate"]);
        assert_eq!(tables(&database), 0, "{command:?}");
    }
}

#[test]
fn commands_do_not_migrate_a_database_of_an_older_version() {
    let database = Database::clone_template();
    let newest = "DELETE FROM __diesel_schema_migrations
                  WHERE version = (SELECT max(version) FROM __diesel_schema_migrations)";
    database.connect().batch_execute(newest).unwrap();
    let list = ["tenants", "list"];
    assert_refused(&Gatepost::on(&database), &list, &["older version", "1 migrations are missing", "gatepost migrate"]);
}

#[test]
fn a_database_of_a_newer_version_is_refused_by_every_command() {
    let database = Database::clone_template();
    let newer = "INSERT INTO __diesel_schema_migrations (version) VALUES ('29990101000000')";
    database.connect().batch_execute(newer).unwrap();
    let gatepost = Gatepost::on(&database);
    for command in COMMANDS.into_iter().chain([&["migrate"][..], &["serve", "--bind", "127.0.0.1:0"]]) {
        assert_refused(&gatepost, command, &["newer version of Gatepost", "29990101000000"]);
    }
}

#[test]
fn doctor_reports_a_clock_that_is_off() {
    let database = Database::clone_template();
    // This function hides the server's own, since its schema comes first in the search path.
    let sql = "CREATE SCHEMA late; CREATE FUNCTION late.clock_timestamp() RETURNS timestamptz
               LANGUAGE sql AS $$ SELECT pg_catalog.clock_timestamp() + interval '5 minutes' $$;
               DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, late, pg_catalog', current_database()); END $$";
    database.connect().batch_execute(sql).unwrap();
    let ran = Gatepost::on(&database).run(&["doctor"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stdout.contains("clock is 300 seconds behind") || ran.stdout.contains("clock is 299 seconds behind"),
        "{ran:?}"
    );
}
