//! Table with a million keys: the cost of verifying an uncached key, and of lists.

use std::time::Instant;

use diesel::prelude::*;
use diesel::sql_types::BigInt;

use crate::child::Child;
use crate::client::{Line, Request, share};

/// Fills ten tenants with keys, each a copy of the first key's row.
const FILL: &str = "
INSERT INTO api_keys (tenant_id, name, environment, public_id, key_prefix, hint, hash_algorithm, pepper_id, digest, scopes,
    rate_limit, rate_window_seconds, allowed_ips, requires_owner, metadata, tags, is_active, created_at, updated_at, owner)
SELECT tenant_id, 'Key ' || n || ' of ' || (ARRAY['billing', 'orders', 'stock', 'mobile'])[1 + n % 4], environment,
    'pk_' || lpad(n::text, 22, '0'), key_prefix, 'sk_' || n || '…abcd', hash_algorithm, pepper_id, md5(n::text), scopes,
    rate_limit, rate_window_seconds, allowed_ips, requires_owner, metadata, '{prod}', TRUE, created_at, updated_at, 'cust_' || n % 5000
FROM api_keys CROSS JOIN generate_series(1, 1000000) n WHERE id = $1";

const ASKED: usize = 2_000;

pub async fn keys(gatepost: &Child) {
    let mut conn = PgConnection::establish(gatepost.told("database")).unwrap();
    println!("A million keys: filling the table …");
    diesel::sql_query(FILL).bind::<BigInt, _>(gatepost.told["key_id"].as_i64().unwrap()).execute(&mut conn).unwrap();
    // Two of three keys were used, at times unrelated to their age.
    let used = "UPDATE key_uses SET used_at = created_at + api_key_id * 7919 % 1000003 * INTERVAL '1 second' WHERE api_key_id % 3 <> 0";
    diesel::sql_query(used).execute(&mut conn).unwrap();
    diesel::sql_query("VACUUM ANALYZE api_keys, key_uses").execute(&mut conn).unwrap();
    let bearer = format!("authorization: Bearer {}", gatepost.told("token"));
    let mut line = Line::open(gatepost.addr).await;
    let mut took = Vec::new();
    for _ in 0..ASKED {
        // An unknown id is looked up like a known one, and costs the same.
        let secret = gatepost::domain::api_key::KeySecret::generate(
            &gatepost::domain::api_key::KeyPrefix::parse("sk").unwrap(),
            gatepost::domain::api_key::Environment::Live,
        );
        let body = format!("{{\"key\": \"{}\"}}", secret.unwrap().reveal_once());
        let request = Request::new("POST", "/api/keys/verification", gatepost.addr, &[&bearer], &body);
        let begun = Instant::now();
        line.ask(&request).await;
        took.push(begun.elapsed().as_micros() as u64);
    }
    took.sort_unstable();
    println!("  cold verification              p50 {:>6} µs   p99 {:>6} µs", share(&took, 500), share(&took, 990));
    let lists = [
        "",
        "&q=999999",
        "&q=billing",
        "&tag=nobody-s",
        "&state=revoked",
        "&environment=test",
        "&sort=name",
        "&sort=last_used",
        "&sort=last_used&q=billing",
        "&sort=last_used&q=12",
        "&sort=last_used&q=123",
        "&unused_days=30",
        "&unused_days=30&sort=last_used&q=12",
    ];
    for path in lists.map(|more| format!("/api/keys?limit=50{more}")) {
        let request = Request::new("GET", &path, gatepost.addr, &[&bearer], "");
        let mut took = Vec::new();
        for _ in 0..21 {
            let begun = Instant::now();
            line.ask(&request).await;
            took.push(begun.elapsed().as_micros() as u64);
        }
        took.sort_unstable();
        println!("  GET {path:<38} p50 {:>6.1} ms", share(&took, 500) as f64 / 1000.0);
    }
}
