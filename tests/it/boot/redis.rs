//! `gatepost doctor` with Redis.

use super::command::Gatepost;
use crate::support::Redis;
use crate::support::database::Database;
use crate::support::settings::{MASTER_KEY, PEPPER};

#[test]
fn doctor_checks_redis_and_prints_no_password() {
    let database = Database::clone_template();
    let mut redis = Redis::start();
    // Returns only what doctor says about Redis, since it also complains about the Postgres of the tests.
    let doctor = |url: &str| {
        let secrets = [("API_KEY_PEPPER", PEPPER), ("GATEPOST_MASTER_KEY", MASTER_KEY)];
        let servers = [("DATABASE_URL", database.url.as_str()), ("REDIS_URL", url)];
        let ran = Gatepost::new(&[secrets, servers].concat()).run(&["doctor"]);
        assert!(!ran.stdout.contains("hunter2") && !ran.stderr.contains("hunter2"), "{ran:?}");
        ran.stdout.lines().filter(|line| line.contains("Redis")).collect::<Vec<_>>().join("\n")
    };
    let assert_wrong = |said: &str, why: &str| {
        assert!(said.lines().any(|line| line.starts_with("WRONG") && line.contains(why)), "{said}");
    };

    let fine = doctor(&redis.url);
    assert!(fine.starts_with("ok     Redis ") && fine.ends_with(" counts limits"), "{fine}");
    redis.configure("maxmemory", "100mb");
    redis.configure("maxmemory-policy", "allkeys-lru");
    assert_wrong(&doctor(&redis.url), "set it to noeviction");
    redis.configure("maxmemory-policy", "noeviction");
    redis.configure("requirepass", "hunter2");
    assert_wrong(&doctor(&redis.url), "limits can't be counted in Redis");
    let with_password = format!("{}?pass=hunter2", redis.url);
    assert!(!doctor(&with_password).contains("WRONG"));
    redis.kill();
    assert_wrong(&doctor(&with_password), "limits can't be counted in Redis");
}
