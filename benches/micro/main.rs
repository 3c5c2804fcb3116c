//! Micro benchmarks (`make micro`): the single parts of a verification, measured by Criterion.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a program for developers")]

use std::hint::black_box;

use chrono::{DateTime, TimeDelta, Utc};
use criterion::{Criterion, criterion_group, criterion_main};
use gatepost::domain::api_key::{Environment, KeyPrefix, KeySecret, parse_secret};
use gatepost::domain::digest::{HashAlgorithm, Hasher, Pepper, Peppers};
use gatepost::domain::limit::Limit;
use gatepost::domain::{ApiKeyId, LineageId, TenantId, UserId};
use gatepost::gate::Credential;
use gatepost::gate::decision::{KnownKey, VerificationRequest, judge};
use gatepost::gate::limiter::{LimitSubject, Limiter, Subject};
use gatepost::model::{ApiKey, Rotation};
use gatepost::store::api_keys::GateRow;

fn secret() -> String {
    KeySecret::generate(&KeyPrefix::parse("sk").unwrap(), Environment::Live).unwrap().reveal_once()
}

fn parse(bench: &mut Criterion) {
    let (right, mut wrong) = (secret(), secret());
    wrong.replace_range(30..31, if wrong.as_bytes().get(30) == Some(&b'a') { "b" } else { "a" });
    bench.bench_function("parse a secret", |bencher| bencher.iter(|| parse_secret(black_box(&right)).is_ok()));
    bench.bench_function("parse a mistyped one", |bencher| bencher.iter(|| parse_secret(black_box(&wrong)).is_ok()));
}

fn digest(bench: &mut Criterion) {
    let peppers = Peppers { current: Pepper::from_bytes(vec![7; 32]).unwrap(), old: Vec::new() };
    let hasher = Hasher::new(peppers, HashAlgorithm::HmacSha256);
    let secret = secret();
    let stored = hasher.digest(&secret).unwrap();
    bench.bench_function("compare a secret with its digest", |bencher| {
        bencher.iter(|| hasher.verify(black_box(&stored), black_box(&secret)));
    });
}

fn limiter(bench: &mut Criterion) {
    let begun = Utc::now();
    let held = |name, quota| LimitSubject {
        tenant: TenantId(1),
        subject: Subject::of_lineage(LineageId(1), name),
        limit: Limit { quota, window_seconds: 60 },
    };
    for (name, held) in [
        ("one limit", vec![held("key", u64::MAX)]),
        ("three limits", ["key", "burst", "day"].map(|name| held(name, u64::MAX)).to_vec()),
    ] {
        let (limiter, mut at) = (Limiter::default(), begun);
        bench.bench_function(&format!("take from {name}"), |bencher| {
            bencher.iter(|| {
                at += TimeDelta::microseconds(20);
                limiter.take(black_box(&held), at, 1).unwrap()
            });
        });
    }
    let (limiter, full) = (Limiter::default(), [held("full", 1)]);
    limiter.take(&full, begun, 1).unwrap();
    bench.bench_function("be refused by a limit", |bencher| {
        bencher.iter(|| limiter.take(black_box(&full), begun, 1).unwrap());
    });
}

fn decision(bench: &mut Criterion) {
    let now = Utc::now();
    let known = KnownKey::new(row(now));
    let ask = VerificationRequest {
        scopes: vec!["orders:read".into()],
        ..VerificationRequest::new(Credential::Malformed, "203.0.113.7".parse().ok())
    };
    bench.bench_function("judge a key", |bencher| bencher.iter(|| judge(black_box(&known), black_box(&ask), now)));
}

fn row(now: DateTime<Utc>) -> GateRow {
    let key = ApiKey {
        id: ApiKeyId(7),
        tenant_id: TenantId(1),
        user_id: Some(UserId(1)),
        name: "Billing worker".into(),
        description: None,
        environment: Environment::Live,
        public_id: "pk_3kTqVb2Yx9LmN4Rw8ZsQ1d".into(),
        key_prefix: "sk_3kTq".into(),
        hint: "sk_3kTq…9xZ2".into(),
        hash_algorithm: HashAlgorithm::HmacSha256,
        pepper_id: "p".into(),
        digest: String::new(),
        scopes: vec!["orders:*".into(), "stock:read".into()],
        rate_limit: 1_000,
        rate_window_seconds: 3_600,
        allowed_ips: vec!["203.0.113.0/24".into()],
        owner: None,
        requires_owner: false,
        metadata: serde_json::Value::Null,
        tags: Vec::new(),
        is_active: true,
        expires_at: None,
        last_used_at: None,
        last_used_ip: None,
        revoked_at: None,
        revoked_reason: None,
        deleted_at: None,
        version: 1,
        created_at: now,
        updated_at: now,
        lineage_id: LineageId(7),
        rotation: Rotation::default(),
    };
    GateRow { key, tenant_slug: "acme".into(), is_tenant_active: true, is_owner_active: true }
}

criterion_group!(benches, parse, digest, limiter, decision);
criterion_main!(benches);
