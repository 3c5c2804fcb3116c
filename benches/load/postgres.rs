//! Figures of Postgres during a measurement: its CPU, and the number of statements.

use std::path::Path;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use crate::child::Child;

pub struct Cluster {
    conn: PgConnection,
    postmaster: u32,
    has_statements: bool,
}

#[derive(QueryableByName)]
struct Said {
    #[diesel(sql_type = Text)]
    said: String,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

impl Cluster {
    pub fn of(gatepost: &Child) -> Self {
        let mut conn = PgConnection::establish(gatepost.told("database")).unwrap();
        let query = "SELECT setting AS said FROM pg_settings WHERE name = 'data_directory'";
        let data: Said = diesel::sql_query(query).get_result(&mut conn).unwrap();
        let lock = std::fs::read_to_string(Path::new(&data.said).join("postmaster.pid")).unwrap();
        let postmaster = lock.lines().next().unwrap().trim().parse().unwrap();
        let has_statements =
            diesel::sql_query("CREATE EXTENSION IF NOT EXISTS pg_stat_statements").execute(&mut conn).is_ok();
        Self { conn, postmaster, has_statements }
    }

    /// Returns CPU seconds of all Postgres processes, including ended ones (proc(5)).
    pub fn cpu(&self) -> f64 {
        let all =
            std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let ticks = all.filter_map(|process: u32| {
            let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
            let fields: Vec<_> = stat.rsplit(')').next()?.split_whitespace().collect();
            let field = |place: usize| fields.get(place)?.parse::<u64>().ok();
            let is_main = process == self.postmaster;
            let own = field(11)? + field(12)?;
            let ended = if is_main { field(13)? + field(14)? } else { 0 };
            (is_main || field(1)? == u64::from(self.postmaster)).then_some(own + ended)
        });
        ticks.sum::<u64>() as f64 / 100.0
    }

    /// Returns the number of statements so far, BEGIN and COMMIT included. `None` without pg_stat_statements.
    pub fn statements(&mut self) -> Option<i64> {
        let query = "SELECT coalesce(sum(calls), 0)::bigint AS count FROM pg_stat_statements s \
             JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = current_database()";
        let count = || diesel::sql_query(query).get_result::<Count>(&mut self.conn).unwrap().count;
        self.has_statements.then(count)
    }
}
