//! Sample data of every view.

mod tenants;

use askama::Template;
use chrono::{DateTime, TimeDelta, Utc};
use gatepost::domain::actor::Authority;
use gatepost::domain::scope::ScopeSet;
use gatepost::domain::{Actor, FieldErrors, Rejection, Role, TenantId, UserId, Via};
use gatepost::web::error_pages::ErrorPage;
use gatepost::web::flash::Flash;
use gatepost::web::pages::api_keys::bulk::BulkForm;
use gatepost::web::pages::api_keys::view::{BulkAct, Range, Share};
use gatepost::web::pages::members::view::Guest;
use gatepost::web::pages::{
    access_tokens, account, api_keys, audit, confirmations, deliveries, events, members, operator, overview,
    password_resets, proof, sessions, setup, usage, webhooks,
};
use gatepost::web::shell::{Shell, TenantChoice};
use gatepost::web::view::{Badge, Chart, Chip, Choice, Confirmation, Pager, Series, Snippet, Spark, Tone, When, text};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Empty,
    Full,
    Hostile,
}

pub fn all(kind: Kind) -> Vec<(String, String)> {
    let pages = [
        ("overview", overview(kind)),
        ("keys", keys(kind)),
        ("keys-deleted", deleted_keys(kind)),
        ("keys-bulk-revocation", bulk(kind, BulkAct::Revoke)),
        ("keys-bulk-tagging", bulk(kind, BulkAct::Tag)),
        ("keys-bulk-deletion", bulk(kind, BulkAct::Delete)),
        ("keys-lookup", lookup(kind)),
        ("keys-new", new_key(kind)),
        ("keys-edit", edit_key(kind)),
        ("keys-created", created_key(kind)),
        ("keys-show", show_key(kind)),
        ("confirm", confirm(kind)),
        ("webhooks", webhooks(kind)),
        ("webhooks-new", new_webhook(kind)),
        ("webhooks-edit", edit_webhook(kind)),
        ("webhooks-show", show_webhook(kind)),
        ("deliveries", deliveries(kind)),
        ("deliveries-show", show_delivery(kind)),
        ("events", events(kind)),
        ("events-new", new_event(kind)),
        ("events-show", show_event(kind)),
        ("usage", usage(kind)),
        ("usage-records", usage_records(kind)),
        ("account", account(kind)),
        ("account-nowhere", nowhere(kind)),
        ("second-factor", second_factor(kind)),
        ("recovery-codes", recovery_codes(kind)),
        ("sign-in-code", sign_in_code(kind)),
        ("sign-in-proof", proof(kind)),
        ("password-reset", password_reset(kind)),
        ("password-reset-request", lost_password(kind)),
        ("operator-users", operator_users(kind)),
        ("operator-tenants", tenants::index(kind)),
        ("operator-tenants-new", tenants::new(kind)),
        ("operator-tenant", tenants::show(kind, false)),
        ("operator-tenant-deleted", tenants::show(kind, true)),
        ("operator-plans", tenants::all_plans(kind)),
        ("operator-plan", tenants::plan(kind)),
        ("settings", tenants::settings(kind)),
        ("operator-reset-link", reset_link(kind)),
        ("members", members(kind)),
        ("invitations-new", new_invitation(kind)),
        ("invitations-created", created_invitation(kind)),
        ("invitation-known", invitation(kind, Guest::Known)),
        ("invitation-new", invitation(kind, Guest::New)),
        ("invitation-expected", invitation(kind, Guest::Expected)),
        ("invitation-other", invitation(kind, Guest::Other(t(kind, "eve@example.com")))),
        ("audit", audit_log(kind)),
        ("tokens", tokens(kind)),
        ("tokens-new", new_token(kind)),
        ("tokens-created", created_token(kind)),
        ("setup", set_up(kind)),
        ("sign-in", sign_in(kind)),
        ("error", error(kind)),
    ];
    pages.into_iter().map(|(name, html)| (format!("{name}-{kind:?}").to_lowercase(), html)).collect()
}

fn print(view: impl Template) -> String {
    view.render().unwrap()
}

/// Returns text as a user may have typed it.
fn t(kind: Kind, usual: &str) -> String {
    match kind {
        Kind::Empty | Kind::Full => usual.to_owned(),
        Kind::Hostile => {
            let mut text =
                "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> שלום עולם مرحبا \u{202e}".to_owned();
            text.push_str(&"x".repeat(200_usize.saturating_sub(text.chars().count())));
            text
        }
    }
}

fn now() -> DateTime<Utc> {
    DateTime::parse_from_rfc3339("2026-11-22T02:40:00Z").unwrap().to_utc()
}

fn ago(minutes: i64) -> When {
    When::new(now() - TimeDelta::minutes(minutes), now())
}

fn shell(kind: Kind, path: &str) -> Shell {
    let tenant = |id, name: &str| TenantChoice {
        id: TenantId(id),
        name: t(kind, name),
        slug: "acme".into(),
        is_active: kind != Kind::Hostile,
        reason: (kind == Kind::Hostile).then(|| t(kind, "")),
        time_zone: (kind != Kind::Empty).then(|| t(kind, "Europe/Vienna")),
    };
    let mut tenants = vec![tenant(1, "Acme Shipping")];
    if kind != Kind::Empty {
        tenants.extend([tenant(2, "Borealis Labs"), tenant(3, "Globex")]);
    }
    Shell {
        ignored: FieldErrors::default(),
        user_name: t(kind, "Ada Lovelace"),
        user_email: t(kind, "ada@example.com"),
        is_operator: false,
        tenant: tenants[0].clone(),
        tenants,
        role: Role::Owner,
        csrf: "csrf-token".into(),
        flash: match kind {
            Kind::Empty => None,
            Kind::Full if path != "/keys" => None,
            Kind::Full => {
                Some(Flash::good("Billing worker was disabled. Programs that use it are refused from now on."))
            }
            Kind::Hostile => Some(Flash::bad(t(kind, ""))),
        },
        path: path.into(),
        rights: Actor {
            tenant: TenantId(1),
            user: Some(UserId(1)),
            is_operator: false,
            authority: Authority::Person { role: Role::Owner, scopes: ScopeSet::all() },
            via: Via::Page,
            label: "ada@example.com".into(),
            ip: None,
            request_id: None,
        },
    }
}

fn errors(kind: Kind, fields: &[&str]) -> FieldErrors {
    let mut errors = FieldErrors::default();
    if kind == Kind::Hostile {
        for field in fields {
            errors.add(*field, Rejection::new("sample", format!("must not be {}", t(kind, ""))));
        }
    }
    errors
}

fn many<T>(kind: Kind, count: usize, make: impl Fn(usize) -> T) -> Vec<T> {
    match kind {
        Kind::Empty => Vec::new(),
        Kind::Full => (0..count).map(make).collect(),
        Kind::Hostile => (0..2).map(make).collect(),
    }
}

fn pager(kind: Kind) -> Pager {
    match kind {
        Kind::Empty => Pager::default(),
        _ => Pager { newer: None, older: Some("/keys?before=MQ".into()) },
    }
}

fn chips(kind: Kind, path: &str) -> Vec<Chip> {
    match kind {
        Kind::Hostile => vec![Chip { name: "Search".into(), value: t(kind, ""), without: path.into() }],
        _ => Vec::new(),
    }
}

fn wave(count: usize, scale: i64, lag: usize) -> Vec<i64> {
    let shape = [12, 15, 19, 26, 31, 40, 46, 52, 49, 55, 61, 58, 63, 57, 50, 44, 47, 39, 30, 24, 20, 14, 11, 9];
    (0..count).map(|index| shape[(index + lag) % shape.len()] * scale / 10).collect()
}

fn chart(kind: Kind, id: &'static str, title: &str, noun: &str) -> Chart {
    let count = 48;
    let at: Vec<_> = (0..count).map(|index| now() - TimeDelta::minutes(30) * (count - index)).collect();
    let size = usize::try_from(count).unwrap();
    let values = |scale, lag| if kind == Kind::Empty { vec![0; size] } else { wave(size, scale, lag) };
    let spiky = |values: Vec<i64>| {
        values.into_iter().enumerate().map(|(index, value)| if index % 11 < 2 { value } else { 0 }).collect()
    };
    let series = if noun == "delivery" {
        vec![
            Series::new("Delivered", "series-good", values(40, 4)),
            Series::new("Failed", "series-bad", spiky(values(9, 2))),
        ]
    } else {
        vec![
            Series::new("Valid", "series-good", values(160, 0)),
            Series::new("Over limit", "series-warn", spiky(values(60, 3))),
            Series::new("Refused", "series-bad", values(6, 6)),
        ]
    };
    Chart::new(id, title, noun, &at, series)
}

fn spark(kind: Kind, noun: &str, lag: usize) -> Spark {
    let values = if kind == Kind::Empty { vec![0; 24] } else { wave(24, 100, lag) };
    Spark::new(&values, noun, "24 hours")
}

fn ranges(path: &str) -> Vec<Range> {
    ["1 h", "24 h", "7 d", "30 d"]
        .into_iter()
        .map(|label| Range {
            label,
            href: format!("{path}?range={}", label.replace(' ', "")),
            is_current: label == "24 h",
        })
        .collect()
}

fn shares(kind: Kind, names: &[&str]) -> Vec<Share> {
    many(kind, names.len(), |index| {
        let part = 100 - i64::try_from(index).unwrap() * 22;
        Share { name: t(kind, names[index % names.len()]), href: String::new(), total: text::grouped(part * 137), part }
    })
}

fn ask(kind: Kind, id: &str, action: &str) -> Confirmation {
    let mut ask = Confirmation::new(
        id,
        format!("Delete {}?", t(kind, "Billing worker")),
        "The key is refused at once and leaves the list. Its usage stays in the charts.",
    )
    .posts("Delete key", action, "csrf-token", "/keys/7")
    .typed(t(kind, "Billing worker"));
    ask.error = (kind == Kind::Hostile).then(|| "Type the name exactly as it is shown above.".into());
    ask
}

fn snippets(kind: Kind) -> Vec<Snippet> {
    vec![
        Snippet::new(
            "curl",
            format!(
                "curl https://gate.example.com/api/data \\\n  -H \"X-API-Key: {}\"",
                t(kind, "$GATEPOST_API_SECRET")
            ),
        ),
        Snippet::new(
            "JavaScript",
            "const answer = await fetch(\"https://gate.example.com/api/data\", {\n  headers: { \"X-API-Key\": process.env.GATEPOST_API_SECRET },\n});",
        ),
        Snippet::new("Python", "import os, urllib.request"),
    ]
}

fn overview(kind: Kind) -> String {
    let is_done = kind != Kind::Empty;
    let step = |title, text, href, verb, is_done| overview::view::Step { title, text, href, verb, is_done };
    let stat = |label, value: &str, note: &str, href| overview::view::Stat {
        label,
        value: value.into(),
        note: note.into(),
        href,
    };
    print(overview::view::Index {
        shell: shell(kind, "/"),
        ranges: ranges("/"),
        stats: vec![
            stat("Verifications, 24 h", if is_done { "48,210" } else { "0" }, "", "/usage"),
            stat("Valid", if is_done { "98.3 %" } else { "–" }, if is_done { "812 refused" } else { "" }, "/usage"),
            stat("Deliveries, 24 h", if is_done { "9,402" } else { "0" }, "", "/deliveries"),
            stat(
                "Failed",
                if is_done { "17" } else { "0" },
                if is_done { "3 waiting" } else { "" },
                "/deliveries?state=failed",
            ),
            stat("Active keys", if is_done { "41" } else { "0" }, "", "/keys?state=active"),
            stat("Failing webhooks", if is_done { "1" } else { "0" }, if is_done { "of 6" } else { "" }, "/webhooks"),
        ],
        verifications: chart(kind, "verifications", "Verifications", "verification"),
        deliveries: chart(kind, "deliveries", "Deliveries", "delivery"),
        warnings: many(kind, 1, |_| overview::view::Warning {
            name: t(kind, "Partner sync"),
            href: "/webhooks/4".into(),
            says: "accepts no deliveries. Gatepost disables the webhook in 9 h unless a delivery succeeds before then."
                .into(),
        }),
        more: if kind == Kind::Empty { Vec::new() } else { vec![("Failing webhooks", "/webhooks?state=failing")] },
        attention: many(kind, 3, |index| overview::view::Attention {
            state: Badge::state(["failing", "expired", "disabled"][index % 3]),
            text: t(
                kind,
                [
                    "Order notifications has failed for 6 hours",
                    "The key of cus_1042 expires in 3 days",
                    "Partner sync was disabled by its receiver (410 Gone)",
                ][index % 3],
            ),
            href: "/webhooks/3".into(),
        }),
        failures: many(kind, 4, |index| delivery_row(kind, index + 2)),
        steps: if kind == Kind::Full {
            Vec::new()
        } else {
            vec![
                step(
                    "Create an API key",
                    "One for each program that calls your API.",
                    "/keys/new",
                    "Create key",
                    is_done,
                ),
                step(
                    "Add a webhook",
                    "A customer's URL that receives your events.",
                    "/webhooks/new",
                    "Create webhook",
                    false,
                ),
                step(
                    "Publish an event",
                    "Follow its signed request on the Deliveries page.",
                    "/events/new",
                    "Publish event",
                    false,
                ),
            ]
        },
    })
}

fn keys(kind: Kind) -> String {
    print(key_list(kind, false))
}

fn deleted_keys(kind: Kind) -> String {
    print(key_list(kind, true))
}

fn key_list(kind: Kind, is_of_deleted: bool) -> api_keys::view::Index {
    let names = [
        "Billing worker",
        "Mobile app, production",
        "Warehouse sync",
        "Partner: Borealis",
        "Nightly export",
        "Ada's laptop",
    ];
    let states = ["active", "rotating", "disabled", "active", "expired", "revoked"];
    api_keys::view::Index {
        shell: shell(kind, "/keys"),
        rows: many(kind, 6, |index| api_keys::view::Row {
            id: i64::try_from(index).unwrap() + 7,
            name: t(kind, names[index]),
            hint: "sk_3kTq…9xZ2".into(),
            is_test: index == 5,
            environment: Badge::environment(if index == 5 { "test" } else { "live" }),
            state: Badge::state(states[index]),
            owner: if index == 4 {
                String::new()
            } else {
                t(kind, ["cus_1042", "cus_2210", "warehouse@acme.example", "borealis", "", "ada"][index])
            },
            tags: vec![t(kind, "eu")],
            scopes: text::counted(i64::try_from(index).unwrap(), "scope"),
            spark: spark(kind, "call", index * 3),
            last_used: (index != 5).then(|| ago(i64::try_from(index * index * 40).unwrap())),
            expires: (index == 1 || index == 4).then(|| ago(if index == 4 { 3_000 } else { -43_000 })),
            deleted: is_of_deleted.then(|| api_keys::view::Deleted {
                at: ago(3_000),
                gone: ago(-40_000),
                may_restore: index != 2,
            }),
        }),
        search: if kind == Kind::Hostile { t(kind, "") } else { String::new() },
        states: Choice::list(
            &[
                ("", "Any"),
                ("active", "Active"),
                ("disabled", "Disabled"),
                ("expired", "Expired"),
                ("revoked", "Revoked"),
            ],
            "",
        ),
        environments: Choice::list(&[("", "Any"), ("live", "Live"), ("test", "Test")], ""),
        owner: if kind == Kind::Hostile { t(kind, "") } else { String::new() },
        scope: if kind == Kind::Hostile { t(kind, "") } else { String::new() },
        tag: if kind == Kind::Hostile { t(kind, "") } else { String::new() },
        unused: Choice::list(&[("", "Any time"), ("30", "Not in the last 30 days")], ""),
        expiring: Choice::list(&[("", "Any time"), ("14", "Within 14 days")], ""),
        sorts: Choice::list(&[("", "Newest"), ("name", "Name")], ""),
        has_more: kind == Kind::Hostile,
        csv: "/keys.csv?state=active".into(),
        here: "/keys?state=active".into(),
        is_of_deleted,
        may_choose: !is_of_deleted,
        chips: chips(kind, "/keys"),
        pager: pager(kind),
    }
}

fn named_key(kind: Kind, index: usize) -> api_keys::view::Named {
    api_keys::view::Named {
        id: i64::try_from(index).unwrap() + 7,
        name: t(kind, "Billing worker"),
        hint: "sk_3kTq…9xZ2".into(),
        state: Badge::state("active"),
        is_deleted: kind == Kind::Hostile && index == 0,
    }
}

fn bulk(kind: Kind, act: BulkAct) -> String {
    let rows = many(kind, 12, |index| named_key(kind, index));
    let count = text::counted(i64::try_from(rows.len()).unwrap(), "key");
    print(api_keys::view::BulkPage {
        shell: shell(kind, "/keys"),
        title: format!("{} {count}?", act.verb()),
        count,
        act,
        back: "/keys?state=active".into(),
        rows,
        form: BulkForm { reason: t(kind, ""), add: t(kind, "eu, new"), ..BulkForm::default() },
        errors: errors(kind, &["add", "remove[1]", "reason"]),
    })
}

fn lookup(kind: Kind) -> String {
    print(api_keys::view::Lookup {
        shell: shell(kind, "/keys/lookup"),
        said: if kind == Kind::Full { "2 keys have this hint.".into() } else { String::new() },
        rows: many(kind, 2, |index| named_key(kind, index)),
        errors: errors(kind, &["clue"]),
    })
}

fn key_fields(kind: Kind, form: &api_keys::form::KeyForm) -> api_keys::view::Fields {
    api_keys::view::Fields {
        environments: vec![
            Choice::new("live", "Live", "live").help("For real traffic."),
            Choice::new("test", "Test", "live").help("Its secret contains _test, so your API can tell it apart."),
        ],
        expiries: Choice::list(
            &[
                ("30", "In 30 days"),
                ("90", "In 90 days"),
                ("365", "In a year"),
                ("custom", "On a date of your choice"),
                ("never", "Never"),
            ],
            "90",
        ),
        refills: Choice::list(&[("", "Never"), ("daily", "Every day")], &form.quota_refill),
        windows: Choice::list(&[("60", "minute"), ("3600", "hour"), ("86400", "day")], &form.rate_window_seconds),
        known_scopes: many(kind, 3, |index| t(kind, &format!("orders:read{index}"))),
        own_scopes: vec![
            Choice::new("events:read", "read events and deliveries", ""),
            Choice::new("events:write", "publish events", ""),
        ],
    }
}

fn key_form(kind: Kind) -> api_keys::form::KeyForm {
    api_keys::form::KeyForm {
        seen: "1764000000000000".into(),
        nonce: "nonce".into(),
        name: if kind == Kind::Empty { String::new() } else { t(kind, "Billing worker") },
        owner: t(kind, ""),
        scopes: t(kind, "orders:read\norders:write"),
        rate_limit: "1000".into(),
        rate_window_seconds: "3600".into(),
        metadata: t(kind, "{}"),
        ..Default::default()
    }
}

fn new_key(kind: Kind) -> String {
    let form = key_form(kind);
    let fields = key_fields(kind, &form);
    let errors = errors(
        kind,
        &["name", "environment", "owner", "scopes[0]", "expiry", "rate_limit", "allowed_ips[1]", "tags", "metadata"],
    );
    print(api_keys::view::New {
        shell: shell(kind, "/keys/new"),
        form,
        fields,
        errors,
        is_detailed: kind != Kind::Empty,
    })
}

fn edit_key(kind: Kind) -> String {
    let form = key_form(kind);
    let fields = key_fields(kind, &form);
    print(api_keys::view::Edit {
        is_stale: kind == Kind::Hostile,
        shell: shell(kind, "/keys/7/edit"),
        id: 7,
        name: t(kind, "Billing worker"),
        form,
        fields,
        errors: errors(kind, &["name"]),
    })
}

fn created_key(kind: Kind) -> String {
    let secret = "sk_3kTqbW8bZc1LtPqfXr0NgY4h7EJmUo5sVaDk2HxRiS6wQj9GnBzT3CvMfKpLy0AdXeFu1OYh9xZ2";
    print(api_keys::view::Created {
        shell: shell(kind, "/keys"),
        id: 7,
        name: t(kind, "Billing worker"),
        public_id: "pk_3kTqbW8bZc1LtPqfXr0NgY".into(),
        secret: secret.into(),
        dotenv: format!("GATEPOST_API_KEY=pk_3kTqbW8bZc1LtPqfXr0NgY\nGATEPOST_API_SECRET={secret}\n"),
        snippets: snippets(kind),
        replaces: (kind != Kind::Empty).then(|| api_keys::view::Replaced {
            id: 6,
            hint: t(kind, "sk_1abc…8yZ1"),
            until: (kind == Kind::Full).then(|| ago(-1_440)),
        }),
    })
}

fn show_key(kind: Kind) -> String {
    print(api_keys::view::Show {
        shell: shell(kind, "/keys/7"),
        id: 7,
        name: t(kind, "Billing worker"),
        description: t(kind, "Charges cards at night."),
        public_id: "pk_3kTqbW8bZc1LtPqfXr0NgY".into(),
        hint: "sk_3kTq…9xZ2".into(),
        environment: Badge::environment("live"),
        state: Badge::state(if kind == Kind::Hostile { "revoked" } else { "active" }),
        notice: (kind == Kind::Hostile).then(|| t(kind, "")),
        is_active: true,
        may_edit: true,
        may_disable: kind != Kind::Hostile,
        may_enable: kind == Kind::Hostile,
        may_revoke: true,
        may_rotate: kind != Kind::Hostile,
        successor: (kind != Kind::Empty).then(|| api_keys::view::Successor {
            link: (kind == Kind::Hostile).then(|| named_key(kind, 1)),
            since: Some(ago(300)),
            until: ago(-1_140),
            is_over: false,
            still_used: (kind == Kind::Full).then(|| ago(3)),
        }),
        predecessor: (kind != Kind::Empty).then(|| api_keys::view::Predecessor {
            link: named_key(kind, 2),
            until: Some(ago(-60)),
            still_used: (kind == Kind::Full).then(|| ago(3)),
        }),
        rotate: {
            let mut rotate = ask(kind, "rotate-key", "/keys/7/rotation").once("nonce").choosing(
                "overlap_seconds",
                "The old secret",
                Choice::list(&[("0", "Stops now")], "0"),
            );
            rotate.typed = None;
            rotate
        },
        owner: if kind == Kind::Empty { String::new() } else { t(kind, "cus_1042") },
        tags: many(kind, 2, |index| t(kind, ["billing", "eu"][index])),
        scopes: many(kind, 3, |index| t(kind, ["orders:read", "orders:write", "stock:*"][index])),
        limits: vec![api_keys::view::LimitFact {
            name: "key".into(),
            rule: "1,000 in any hour".into(),
            left: "997".into(),
            percent: 1,
        }],
        calls: records(kind),
        quota: if kind == Kind::Full { "41,204 left of 100,000, full again in 8 h".into() } else { String::new() },
        addresses: many(kind, 1, |_| "203.0.113.0/24".into()),
        metadata: if kind == Kind::Empty { String::new() } else { t(kind, "{\n  \"plan\": \"gold\"\n}") },
        created: ago(90_000),
        last_used: (kind != Kind::Empty).then(|| ago(2)),
        last_used_ip: "203.0.113.7".into(),
        expires: (kind != Kind::Empty).then(|| ago(-40_000)),
        ranges: ranges("/keys/7"),
        chart: chart(kind, "usage", "Verifications", "verification"),
        endpoints: shares(kind, &["/api/data", "/v1/orders", "/v1/stock"]),
        snippets: snippets(kind),
        gateways: snippets(kind),
        disable: ask(kind, "disable-key", "/keys/7/deactivation"),
        revoke: ask(kind, "revoke-key", "/keys/7/revocation")
            .noting("reason", "Reason", "Shown on the key's page.")
            .note_refused(t(kind, "leaked"), t(kind, "Reason must be at most 200 characters.")),
        delete: ask(kind, "delete-key", "/keys/7/deletion"),
    })
}

fn confirm(kind: Kind) -> String {
    print(confirmations::New::of(shell(kind, "/keys/7/deletion"), ask(kind, "delete-key", "/keys/7/deletion")))
}

fn webhooks(kind: Kind) -> String {
    let states = ["active", "failing", "paused", "disabled"];
    print(webhooks::view::Index {
        shell: shell(kind, "/webhooks"),
        rows: many(kind, 4, |index| webhooks::view::Row {
            id: i64::try_from(index).unwrap() + 1,
            name: t(kind, ["Order notifications", "Partner sync", "Slack bridge", "Old ERP"][index]),
            url: t(kind, "https://hooks.example.com/webhooks/orders"),
            state: Badge::state(states[index]),
            events: vec![t(kind, "order.created"), t(kind, "order.*")],
            more_events: index,
            spark: spark(kind, "delivery", index * 5),
            failures: "0.4 %".into(),
            last_success: (index != 3).then(|| ago(i64::try_from(index * 300).unwrap())),
        }),
        search: t(kind, ""),
        states: Choice::list(&[("", "Any"), ("failing", "Failing")], "failing"),
        chips: chips(kind, "/webhooks"),
        pager: pager(kind),
    })
}

fn webhook_fields() -> webhooks::view::Fields {
    webhooks::view::Fields {
        formats: vec![
            Choice::new("standard", "Standard", "standard").help("type, timestamp, data: Standard Webhooks"),
            Choice::new("event", "Event", "standard").help("event, timestamp, data"),
            Choice::new("raw", "Raw", "standard").help("Only the payload, byte for byte"),
        ],
        styles: vec![Choice::new("prefixed", "sha256=…", "prefixed"), Choice::new("hex", "Bare hex", "prefixed")],
        schedule: "A failed request is retried after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h.".into(),
    }
}

fn webhook_form(kind: Kind) -> webhooks::view::WebhookForm {
    webhooks::view::WebhookForm {
        seen: "1764000000000000".into(),
        nonce: "nonce".into(),
        url: if kind == Kind::Empty { String::new() } else { t(kind, "https://hooks.example.com/webhooks/orders") },
        events: t(kind, "order.created\norder.shipped"),
        timeout_seconds: "30".into(),
        max_in_flight: "10".into(),
        headers: t(kind, "x-team: ••••\n"),
        ed25519: kind == Kind::Full,
        ..Default::default()
    }
}

fn new_webhook(kind: Kind) -> String {
    let errors = errors(kind, &["url", "name", "events[1]", "payload_format", "secret", "timeout_seconds"]);
    let view = webhooks::view::New {
        shell: shell(kind, "/webhooks/new"),
        form: webhook_form(kind),
        fields: webhook_fields(),
        errors,
        is_detailed: kind != Kind::Empty,
    };
    print(view)
}

fn edit_webhook(kind: Kind) -> String {
    print(webhooks::view::Edit {
        is_stale: kind == Kind::Hostile,
        shell: shell(kind, "/webhooks/3/edit"),
        id: 3,
        name: t(kind, "Order notifications"),
        form: webhook_form(kind),
        fields: webhook_fields(),
        errors: errors(kind, &["url"]),
    })
}

fn show_webhook(kind: Kind) -> String {
    print(webhooks::view::Show {
        shell: shell(kind, "/webhooks/3"),
        id: 3,
        name: t(kind, "Order notifications"),
        url: t(kind, "https://hooks.example.com/webhooks/orders"),
        state: Badge::state("active"),
        trouble: (kind != Kind::Empty).then(|| webhooks::view::Trouble {
            says: t(kind, "Gatepost disabled this webhook: every attempt failed for 5 days."),
            way: match kind {
                Kind::Hostile => webhooks::view::NextStep::Again("dlv_01h2xcejqtf2nbrexx3vqjhp41".into()),
                _ => webhooks::view::NextStep::Probe,
            },
        }),
        is_disabled: kind == Kind::Hostile,
        ranges: ranges("/webhooks/3"),
        median: "41 ms".into(),
        slow: "p95 230 ms".into(),
        last_failure: (kind != Kind::Empty).then(|| ago(90)),
        next_due: (kind == Kind::Full).then(|| ago(-4)),
        is_active: kind != Kind::Hostile,
        events: vec![t(kind, "order.created"), t(kind, "order.*")],
        format: "Standard".into(),
        style: "sha256=…".into(),
        timeout: "30 seconds".into(),
        in_flight: "10".into(),
        rate: "No limit".into(),
        retries: "5 s, 5 min".into(),
        created: ago(60_000),
        last_success: (kind != Kind::Empty).then(|| ago(1)),
        secret: (kind == Kind::Hostile).then(|| t(kind, "")),
        headers: many(kind, 2, |index| (t(kind, ["x-team", "authorization"][index]), t(kind, "••••"))),
        are_headers_shown: kind == Kind::Hostile,
        keys: many(kind, 2, |index| webhooks::view::Key {
            text: "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=".into(),
            until: (index == 1).then(|| ago(-600)),
        }),
        may_change: true,
        may_reveal: true,
        secrets_note: "One secret signs.".into(),
        delivered: "1,204".into(),
        failed: "6".into(),
        success_rate: "99.5 %".into(),
        pending: "2".into(),
        chart: chart(kind, "attempts", "Deliveries", "delivery"),
        deliveries: many(kind, 5, |index| delivery_row(kind, index)),
        test_type: "test.ping".into(),
        errors: errors(kind, &["type"]),
        snippets: snippets(kind),
        pause: ask(kind, "pause-webhook", "/webhooks/3/deactivation"),
        rotate: Confirmation::new("rotate-secret", "Rotate the signing secret?", "A new secret signs at once.")
            .posts("Rotate secret", "/webhooks/3/secret-rotation", "csrf-token", "/webhooks/3")
            .gentle()
            .choosing(
                "overlap",
                "The old secret also signs for",
                Choice::list(&[("0", "Not at all: it stops at once"), ("86400", "24 hours")], "86400"),
            ),
        rotate_key: ask(kind, "rotate-key", "/webhooks/3/key-rotation"),
        remove_key: ask(kind, "remove-key", "/webhooks/3/key-removal"),
        delete: ask(kind, "delete-webhook", "/webhooks/3/deletion"),
    })
}

fn delivery_row(kind: Kind, index: usize) -> deliveries::view::Row {
    let state = ["delivered", "retrying", "failed", "pending", "cancelled", "delivered"][index % 6];
    deliveries::view::Row {
        id: "dlv_01h2xcejqtf2nbrexx3vqjhp41".into(),
        kind: t(kind, ["order.created", "order.shipped", "invoice.paid"][index % 3]),
        webhook_id: 3,
        webhook: t(kind, ["Order notifications", "Partner sync"][index % 2]),
        state: Badge::state(state),
        status: match state {
            "delivered" => Some(Badge::response(Some(200))),
            "pending" => None,
            "retrying" => Some(Badge::response(Some(503))),
            _ => Some(Badge::response(None)),
        },
        attempts: "1 of 10".into(),
        next: (state == "retrying").then(|| ago(-4)),
        created: ago(i64::try_from(index * 7).unwrap()),
    }
}

fn deliveries(kind: Kind) -> String {
    print(deliveries::view::Index {
        has_more_webhooks: kind == Kind::Full,
        shell: shell(kind, "/deliveries"),
        rows: many(kind, 12, |index| delivery_row(kind, index)),
        states: Choice::list(&[("", "Any"), ("failed", "Failed")], ""),
        statuses: Choice::list(&[("", "Any"), ("5xx", "5xx")], ""),
        since: t(kind, "2026-11-22T12:00"),
        until: String::new(),
        webhooks: Choice::list(&[("", "Any"), ("3", "Order notifications")], ""),
        kind: t(kind, ""),
        event_id: String::new(),
        chips: chips(kind, "/deliveries"),
        pager: pager(kind),
    })
}

fn show_delivery(kind: Kind) -> String {
    let moment = |number: i64, status: Option<i16>, note: &str| deliveries::view::Moment {
        number,
        tone: if status == Some(200) { "good" } else { "bad" },
        icon: if status == Some(200) { "check" } else { "cross" },
        status: Badge::response(status),
        note: t(kind, note),
        at: ago(40 - number * 5),
        duration: "41 ms".into(),
        address: "203.0.113.9".into(),
        phases: many(kind, 4, |index| deliveries::view::Phase {
            name: ["DNS lookup", "Connecting", "Waiting", "Reading"][index],
            class: ["series-info", "series-idle", "series-warn", "series-good"][index],
            time: "1.20 ms".into(),
            x: [0, 100, 300, 900][index],
            width: [100, 200, 600, 100][index],
        }),
        request_body: t(kind, "{\"type\": \"order.created\"}"),
        url: t(kind, "https://hooks.example.com/webhooks/orders"),
        request_headers: vec![
            ("content-type".into(), "application/json".into()),
            ("webhook-signature".into(), t(kind, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")),
        ],
        response_headers: many(kind, 2, |index| (t(kind, "server"), format!("nginx {index}"))),
        response_body: if status.is_none() { String::new() } else { t(kind, "upstream timed out") },
        response_size: "18 B".into(),
        is_last: number == 2,
    };
    print(deliveries::view::Show {
        shell: shell(kind, "/deliveries/dlv_01h2xcejqtf2nbrexx3vqjhp41"),
        id: "dlv_01h2xcejqtf2nbrexx3vqjhp41".into(),
        kind: t(kind, "order.created"),
        state: Badge::state("retrying"),
        event_id: "evt_01h2xcejqtf2nbrexx3vqjhp41".into(),
        webhook_id: 3,
        webhook: t(kind, "Order notifications"),
        is_webhook_there: kind != Kind::Empty,
        url: t(kind, "https://hooks.example.com/webhooks/orders"),
        created: ago(40),
        finished: None,
        attempts: "2 of 10".into(),
        under_way: (kind != Kind::Empty).then(|| (3, ago(0))),
        moments: many(kind, 2, |index| {
            if index == 0 {
                moment(2, Some(503), "answered 503")
            } else {
                moment(1, None, "timeout: no answer within 30 s")
            }
        }),
        next: Some(ago(-5)),
        payload: t(kind, "{\n  \"id\": 1042,\n  \"total\": \"99.50\",\n  \"currency\": \"EUR\"\n}"),
        curl: snippets(kind),
        may_redeliver: true,
        may_cancel: true,
        cancel: ask(kind, "cancel-delivery", "/deliveries/dlv_01h2xcejqtf2nbrexx3vqjhp41/cancellation"),
    })
}

fn events(kind: Kind) -> String {
    print(events::view::Index {
        shell: shell(kind, "/events"),
        rows: many(kind, 8, |index| events::view::Row {
            id: "evt_01h2xcejqtf2nbrexx3vqjhp41".into(),
            kind: t(kind, ["order.created", "order.shipped", "invoice.paid"][index % 3]),
            payload: t(kind, "{\"id\": 1042, \"total\": \"99.50\", \"currency\": \"EUR\", \"lines\": []}"),
            created: ago(i64::try_from(index * 9).unwrap()),
        }),
        kind: t(kind, ""),
        chips: chips(kind, "/events"),
        pager: pager(kind),
    })
}

fn new_event(kind: Kind) -> String {
    print(events::view::New {
        shell: shell(kind, "/events/new"),
        form: events::view::EventForm {
            nonce: "nonce".into(),
            kind: t(kind, ""),
            data: t(kind, "{\n  \"id\": 1042\n}"),
        },
        errors: errors(kind, &["type", "data"]),
        snippets: snippets(kind),
    })
}

fn show_event(kind: Kind) -> String {
    print(events::view::Show {
        deliveries_are_capped: kind == Kind::Full,
        shell: shell(kind, "/events/evt_01h2xcejqtf2nbrexx3vqjhp41"),
        id: "evt_01h2xcejqtf2nbrexx3vqjhp41".into(),
        kind: t(kind, "order.created"),
        payload: t(kind, "{\n  \"id\": 1042\n}"),
        size: "15 B".into(),
        source: "by a user".into(),
        created: ago(4),
        deliveries: many(kind, 3, |index| delivery_row(kind, index)),
    })
}

fn usage(kind: Kind) -> String {
    let choice =
        |label, is_current| usage::view::Choice { label, href: "/usage?range=24h&group=key".into(), is_current };
    print(usage::view::Index {
        shell: shell(kind, "/usage"),
        ranges: ranges("/usage"),
        from: "2026-11-21".into(),
        to: "2026-11-22".into(),
        total: "48,210".into(),
        refused: "812".into(),
        success_rate: "98.3 %".into(),
        latency: (kind != Kind::Empty).then(|| ["34 µs", "0.9 ms", "12 ms"].map(str::to_owned)),
        chart: chart(kind, "usage", "Verifications", "verification"),
        groupings: vec![choice("Key", true), choice("Owner", false), choice("Endpoint", false)],
        group_noun: "Key",
        groups: many(kind, 3, |index| usage::view::Group {
            name: t(kind, ["Billing worker", "Mobile app, production", "Warehouse sync"][index]),
            href: "/keys/7".into(),
            total: "20,413".into(),
            valid: "20,001".into(),
            refused: "412".into(),
            part: 100 - 30 * i64::try_from(index).unwrap(),
        }),
        is_cut: kind == Kind::Full,
        latency_note: if kind == Kind::Full { "newest 10,000 calls".into() } else { String::new() },
        csv: "/usage.csv?range=24h&group=key".into(),
        limits: many(kind, 2, |index| usage::view::Near {
            id: 7,
            name: t(kind, ["Billing worker", "Mobile app, production"][index]),
            limit: ["key", "burst"][index].into(),
            window: ["hour", "10 seconds"][index].into(),
            used: ["961", "2"][index].into(),
            quota: ["1,000", "10"][index].into(),
            percent: [96, 20][index],
        }),
        refusals: records(kind),
    })
}

fn records(kind: Kind) -> Vec<usage::view::Row> {
    many(kind, 3, |index| usage::view::Row {
        at: ago(3),
        outcome: Badge::new(
            [Tone::Bad, Tone::Warn, Tone::Good][index],
            "stop",
            ["Insufficient scope", "Rate limited", "Valid"][index],
        ),
        reason: t(kind, ["Missing scopes: orders:write.", "Limit at 101/100 in 60 s.", ""][index]),
        key_id: (index != 1).then_some(7),
        method: "GET".into(),
        endpoint: t(kind, "/v1/orders"),
        status: 403,
        address: if index == 0 { "203.0.113.7".into() } else { String::new() },
        duration: "34 µs".into(),
        request_id: t(kind, "01935f3e-8d2c-7c1a-9b1e-3f1c2d4e5a6b"),
        href: "/usage/records?request=01935f3e".into(),
    })
}

fn usage_records(kind: Kind) -> String {
    print(usage::view::Records {
        shell: shell(kind, "/usage"),
        rows: records(kind),
        request: if kind == Kind::Empty { String::new() } else { t(kind, "") },
        key: String::new(),
        outcomes: vec![Choice::new("", "Any", ""), Choice::new("refused", "Refused", "")],
        chips: chips(kind, "/usage/records"),
        pager: pager(kind),
    })
}

/// Renders the account page of a person who is in no tenant.
fn nowhere(kind: Kind) -> String {
    let shell = shell(kind, "/account");
    let shell = Shell { tenant: TenantChoice::nowhere(), tenants: Vec::new(), role: Role::Viewer, ..shell };
    account_of(kind, shell)
}

fn account(kind: Kind) -> String {
    account_of(kind, shell(kind, "/account"))
}

fn account_of(kind: Kind, shell: Shell) -> String {
    print(account::view::Index {
        shell,
        form: account::view::NameForm { name: t(kind, "Ada Lovelace") },
        has_others: kind != Kind::Empty,
        has_factor: kind == Kind::Full,
        rows: many(kind, 3, |index| account::view::Row {
            id: i64::try_from(index).unwrap(),
            device: ["Firefox on Linux", "Safari on iPhone", "Unknown browser"][index].into(),
            user_agent: t(kind, "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
            address: ["203.0.113.7", "2001:db8::7", ""][index].into(),
            is_here: index == 0,
            since: ago(200),
            last_seen: ago(2),
        }),
        errors: errors(kind, &["name", "current_password", "password"]),
    })
}

fn second_factor(kind: Kind) -> String {
    use account::second_factor::{Show, Stage};
    let url = "otpauth://totp/Gatepost:ada%40example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Gatepost";
    let qr = gatepost::web::view::qr::Qr::new(url, "QR code for your authenticator app").unwrap();
    print(Show {
        shell: shell(kind, "/account/second-factor"),
        stage: match kind {
            Kind::Empty => Stage::Off,
            Kind::Full => Stage::SettingUp { qr: Box::new(qr), secret: "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ".into() },
            Kind::Hostile => Stage::On { since: ago(700), codes: "2 recovery codes".into(), is_running_out: true },
        },
        errors: errors(kind, &["renewal_code", "current_password", "code"]),
    })
}

fn recovery_codes(kind: Kind) -> String {
    print(account::second_factor::Codes {
        shell: shell(kind, "/account/second-factor"),
        text: "k3fm-9q2x-7hbd-pw4t\n".repeat(10),
    })
}

fn sign_in_code(kind: Kind) -> String {
    print(sessions::code::New {
        csrf: "csrf-token".into(),
        refusal: (kind != Kind::Empty).then(|| "This code is wrong, has expired or was already used.".into()),
    })
}

fn proof(kind: Kind) -> String {
    print(proof::New {
        shell: shell(kind, "/sign-in/proof"),
        back: t(kind, "/operator/users"),
        has_factor: kind != Kind::Empty,
        errors: errors(kind, &["current_password", "code"]),
    })
}

fn password_reset(kind: Kind) -> String {
    print(password_resets::New {
        csrf: "csrf-token".into(),
        token: "token".into(),
        email: t(kind, "ada@example.com"),
        errors: errors(kind, &["password"]),
    })
}

fn lost_password(kind: Kind) -> String {
    print(password_resets::request::Request {
        csrf: "csrf-token".into(),
        email: t(kind, "ada@example.com"),
        errors: errors(kind, &["email"]),
    })
}

fn operator_users(kind: Kind) -> String {
    let act =
        |name: &str, index: usize| ask(kind, &format!("{name}-{index}"), &format!("/operator/users/{index}/{name}"));
    print(operator::users::view::Index {
        shell: Shell { is_operator: true, ..shell(kind, "/operator/users") },
        rows: many(kind, 3, |index| operator::users::view::Row {
            is_email_confirmed: index != 1,
            name: t(kind, ["Ada Lovelace", "Dan Abramov", "Vera Rubin"][index]),
            email: t(kind, ["ada@example.com", "dan@example.com", "vera@example.com"][index]),
            state: if index == 2 { Badge::new(Tone::Bad, "stop", "Deactivated") } else { Badge::state("active") },
            is_active: index != 2,
            is_operator: index == 0,
            is_you: index == 0,
            since: ago(9_000),
            activate: format!("/operator/users/{index}/activation"),
            deactivate: act("deactivation", index),
            promote: act("promotion", index),
            demote: act("demotion", index),
            reset: act("reset-link", index),
            remove_factor: (index == 1).then(|| act("second-factor-removal", index)),
        }),
        search: if kind == Kind::Hostile { t(kind, "") } else { String::new() },
        chips: chips(kind, "/operator/users"),
        pager: pager(kind),
    })
}

fn reset_link(kind: Kind) -> String {
    print(operator::users::view::Link {
        shell: Shell { is_operator: true, ..shell(kind, "/operator/users") },
        email: t(kind, "ada@example.com"),
        link: "https://gate.example.com/password-reset?token=Zc1LtPqfXr0NgY4h7EJmUo5sVaDk2HxRiS6wQj9GnBz".into(),
    })
}

fn members(kind: Kind) -> String {
    print(members::view::Index {
        search: if kind == Kind::Hostile { t(kind, "") } else { String::new() },
        chips: chips(kind, "/members"),
        pager: pager(kind),
        shell: shell(kind, "/members"),
        rows: many(kind, 4, |index| members::view::Row {
            name: t(kind, ["Ada Lovelace", "Dan Abramov", "Vera Rubin", "Otto"][index]),
            email: t(kind, ["ada@example.com", "dan@example.com", "vera@example.com", "otto@example.com"][index]),
            role: Badge::new(
                [Tone::Good, Tone::Info, Tone::Idle, Tone::Idle][index],
                ["token", "user", "key", "eye"][index],
                ["Owner", "Admin", "Developer", "Viewer"][index],
            ),
            is_you: index == 1,
            is_active: index != 3,
            since: ago(700),
            may_change: index != 0,
            is_last_owner: index == 0,
            change: ask(kind, &format!("role-{index}"), &format!("/members/{index}/role")).choosing(
                "role",
                "Role",
                Choice::list(&[("admin", "Admin"), ("viewer", "Viewer")], "viewer"),
            ),
            remove: ask(kind, &format!("remove-{index}"), &format!("/members/{index}/removal")),
        }),
        invited: many(kind, 2, |index| members::view::Invited {
            email: t(kind, "grace@example.com"),
            role: Badge::new(Tone::Idle, "key", "Developer"),
            made: ago(60),
            expires: ago(-9_000),
            mail: (index == 0).then(|| Badge::new(Tone::Bad, "cross", "Failed")),
            mail_error: t(kind, "permanent error (550): no such user"),
            revoke: ask(kind, &format!("revoke-{index}"), &format!("/members/invitations/{index}/revocation")),
        }),
    })
}

fn new_invitation(kind: Kind) -> String {
    print(members::view::New {
        shell: shell(kind, "/members"),
        form: members::view::InvitationForm { nonce: "nonce".into(), email: t(kind, ""), ..Default::default() },
        roles: Choice::list(&[("developer", "Developer: can create keys"), ("viewer", "Viewer: can read")], "viewer"),
        days: Choice::list(&[("7", "In 7 days")], "7"),
        errors: errors(kind, &["email", "role", "days"]),
        is_mailed: kind == Kind::Full,
    })
}

fn created_invitation(kind: Kind) -> String {
    print(members::view::Created {
        shell: shell(kind, "/members"),
        email: t(kind, "grace@example.com"),
        role: "a developer".into(),
        link: "https://gate.example.com/invitation?token=Zc1LtPqfXr0NgY4h7EJmUo5sVaDk2HxRiS6wQj9GnBz".into(),
        expires: ago(-9_000),
    })
}

fn invitation(kind: Kind, guest: Guest) -> String {
    print(members::view::Join {
        csrf: "csrf-token".into(),
        tenant: t(kind, "Acme Shipping"),
        email: t(kind, "grace@example.com"),
        role: "a developer".into(),
        guest,
        form: members::view::JoinForm { token: "token".into(), name: t(kind, ""), ..Default::default() },
        sign_in: "/sign-in?back=%2Finvitation%3Ftoken%3Dtoken".into(),
        errors: errors(kind, &["name", "password"]),
    })
}

fn audit_log(kind: Kind) -> String {
    let change = |field: &str, before: &str, after: &str| audit::view::Change {
        field: field.into(),
        before: t(kind, before),
        after: t(kind, after),
    };
    print(audit::view::Index {
        shell: shell(kind, "/audit"),
        rows: many(kind, 4, |index| audit::view::Row {
            deed: ["Changed a key", "Created a webhook", "Disabled a webhook", "Set a password"][index].into(),
            action: ["api_key.updated", "webhook.created", "webhook.disabled", "user.password_set"][index].into(),
            name: t(kind, ["Billing worker", "Order notifications", "Partner sync", ""][index]),
            target: t(kind, ["api_key:7", "webhook:3", "webhook:5", "user:2"][index]),
            page: ["/keys/7", "/webhooks/3", "/webhooks/5", ""][index].into(),
            others: "/audit?target=api_key%3A7".into(),
            actor: t(kind, ["ada@example.com", "dan@example.com", "system", "console"][index]),
            via: ["page", "api", "system", "cli"][index].into(),
            address: ["203.0.113.7", "2001:db8::7", "", ""][index].into(),
            request_id: t(kind, "01935f3e-8d2c-7c1a-9b1e-3f1c2d4e5a6b"),
            at: ago(7 * i64::try_from(index).unwrap()),
            changes: if index == 0 {
                vec![change("Rate limit", "1000", "5000"), change("Tags", "none", "eu, billing")]
            } else {
                Vec::new()
            },
            facts: vec![("Reason".into(), t(kind, "every attempt failed for 5 days"))],
            seq: 1_204 - i64::try_from(index).unwrap(),
            hash_short: "9f86d081884c".into(),
            hash: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".into(),
        }),
        actor: if kind == Kind::Hostile { t(kind, "") } else { String::new() },
        target: if kind == Kind::Hostile { t(kind, "") } else { String::new() },
        from: String::new(),
        to: String::new(),
        actions: Choice::list(&[("", "Any"), ("api_key.minted", "Created a key")], ""),
        logs: if kind == Kind::Empty {
            Vec::new()
        } else {
            Choice::list(&[("", "This tenant"), ("instance", "The instance")], "")
        },
        csv: "/audit.csv?actor=ada%40example.com".into(),
        chips: chips(kind, "/audit"),
        pager: pager(kind),
    })
}

fn tokens(kind: Kind) -> String {
    print(access_tokens::view::Index {
        shell: shell(kind, "/tokens"),
        rows: many(kind, 3, |index| access_tokens::view::Row {
            id: i64::try_from(index).unwrap(),
            name: t(kind, ["Backend in production", "CI", "Old script"][index]),
            hint: "gpat_3kTq…9xZ2".into(),
            state: Badge::state(["active", "active", "revoked"][index]),
            reach: "This tenant",
            scopes: vec![t(kind, "keys:verify"), t(kind, "events:write")],
            last_used: (index == 0).then(|| ago(3)),
            expires: (index == 1).then(|| ago(-20_000)),
            is_live: index != 2,
            revoke: ask(kind, &format!("revoke-token-{index}"), &format!("/tokens/{index}/revocation")),
        }),
        pager: pager(kind),
    })
}

fn new_token(kind: Kind) -> String {
    print(access_tokens::view::New {
        shell: shell(kind, "/tokens/new"),
        form: access_tokens::view::TokenForm { nonce: "nonce".into(), name: t(kind, ""), ..Default::default() },
        scopes: ["keys:read", "keys:write", "keys:verify", "webhooks:read", "webhooks:write", "events:write"]
            .map(|scope| Choice::new(scope, "", ""))
            .into(),
        reaches: if kind == Kind::Empty {
            Vec::new()
        } else {
            Choice::list(&[("tenant", "This tenant"), ("instance", "The whole instance")], "tenant")
        },
        expiries: Choice::list(&[("90", "In 90 days"), ("never", "Never")], "90"),
        errors: errors(kind, &["name", "reach", "scopes[2]", "expiry"]),
    })
}

fn created_token(kind: Kind) -> String {
    print(access_tokens::view::Created {
        shell: shell(kind, "/tokens"),
        name: t(kind, "Backend in production"),
        secret: "gpat_3kTqbW8bZc1LtPqfXr0NgY4h7EJmUo5sVaDk2HxRiS6wQj9GnBzT3CvMfKpLy0AdXeFu1OYh9xZ2".into(),
        dotenv: "GATEPOST_TOKEN=gpat_3kTq\n".into(),
        snippets: snippets(kind),
    })
}

fn set_up(kind: Kind) -> String {
    print(setup::New {
        csrf: "csrf-token".into(),
        database: "a private Postgres in ./gatepost-data".into(),
        form: setup::SetupForm { name: t(kind, ""), ..Default::default() },
        errors: errors(kind, &["name", "email", "password", "tenant"]),
    })
}

fn sign_in(kind: Kind) -> String {
    print(sessions::New {
        sends_mail: kind == Kind::Full,
        csrf: "csrf-token".into(),
        flash: None,
        email: t(kind, ""),
        back: t(kind, ""),
        refusal: (kind != Kind::Empty).then(|| "The e-mail address or the password is wrong.".into()),
    })
}

fn error(kind: Kind) -> String {
    print(ErrorPage {
        status: if kind == Kind::Full { 503 } else { 404 },
        title: t(kind, "Not found"),
        detail: t(kind, "no such API key"),
        request_id: "01h2xcejqtf2nbrexx3vqjhp41".into(),
    })
}
