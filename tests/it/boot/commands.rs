//! Commands for operators: their output and exit codes.

use super::command::Gatepost;
use crate::support::database::Database;

const PASSWORD: &str = "correct horse battery staple\n";

#[test]
fn an_instance_is_set_up_on_the_command_line() {
    let database = Database::clone_template();
    let gatepost = Gatepost::on(&database);

    let tenant = gatepost.run(&["tenants", "create", "--name", "Acme Corp", "--json"]).ok().json();
    assert_eq!((tenant["id"].clone(), tenant["slug"].clone()), (1.into(), "acme-corp".into()));
    let user = ["users", "create", "--email", "Ada@Example.com", "--operator", "--password-stdin", "--json"];
    assert_eq!(gatepost.run_with(&user, PASSWORD).ok().json()["email"], "ada@example.com");
    gatepost
        .run_with(
            &["users", "set-password", "--email", "ada@example.com", "--password-stdin"],
            "another horse, another staple\n",
        )
        .ok();
    gatepost.run(&["members", "add", "--user", "ada@example.com", "--tenant", "acme-corp", "--role", "owner"]).ok();

    let token =
        ["tokens", "create", "--user", "ada@example.com", "--tenant", "acme-corp", "--name", "ci", "--scopes", "*"];
    let ran = gatepost.run(&token).ok();
    assert!(ran.line().starts_with("gpat_") && ran.line().len() == 76, "the token alone: {ran:?}");
    let instance =
        ["tokens", "create", "--user", "ada@example.com", "--name", "all", "--scopes", "keys:read,keys:write"];
    assert!(gatepost.run(&instance).ok().line().starts_with("gpat_"));

    let key = ["keys", "create", "--tenant", "acme-corp", "--name", "Production", "--scopes", "orders:read"];
    let secret = gatepost.run(&key).ok().line().to_owned();
    let valid = gatepost.run_with(&["keys", "verify", "--json"], &secret).ok().json();
    assert_eq!((valid["valid"].clone(), valid["key"]["name"].clone()), (true.into(), "Production".into()));
    let lacking = gatepost.run_with(&["keys", "verify", "--scopes", "orders:write"], &secret);
    assert_eq!((lacking.code, lacking.stdout.contains("INSUFFICIENT_SCOPE")), (1, true), "{lacking:?}");
    assert_eq!(gatepost.run(&["keys", "verify", "sk_nonsense"]).code, 1);
    for (asked, code, outcome) in [
        (&["--tenant", "acme-corp", "--environment", "live", "--ip", "::ffff:203.0.113.7"][..], 0, "VALID"),
        (&["--environment", "test"], 1, "WRONG_ENVIRONMENT"),
        (&["--cost", "1000"], 0, "VALID"),
        (&["--cost", "1001"], 1, "RATE_LIMITED"),
    ] {
        let ran = gatepost.run_with(&[&["keys", "verify"], asked].concat(), &secret);
        assert_eq!((ran.code, ran.stdout.starts_with(outcome)), (code, true), "{asked:?}: {ran:?}");
    }
    gatepost.run(&["tenants", "create", "--name", "Other"]).ok();
    let elsewhere = gatepost.run_with(&["keys", "verify", "--tenant", "other"], &secret);
    assert_eq!((elsewhere.code, elsewhere.line()), (1, "NOT_FOUND"), "{elsewhere:?}");

    let event =
        ["events", "publish", "--tenant", "acme-corp", "--type", "order.created", "--data", "{\"id\": 1}", "--json"];
    assert!(gatepost.run(&event).ok().json()["id"].as_str().unwrap().starts_with("evt_"));
}

#[test]
fn a_failed_command_prints_one_line() {
    let database = Database::clone_template();
    let gatepost = Gatepost::on(&database);
    gatepost.run(&["tenants", "create", "--name", "Acme"]).ok();
    gatepost.run(&["tenants", "create", "--name", "Acme", "--slug", "acme"]).assert_failed(1, &["slug", "taken"]);
    gatepost.run(&["keys", "create", "--tenant", "nobody", "--name", "x"]).assert_failed(1, &["no such tenant"]);
    let user = ["users", "create", "--email", "ada@example.com", "--password-stdin"];
    gatepost.run_with(&user, "short\n").assert_failed(1, &["password", "15"]);
    gatepost.run_with(&user, "").assert_failed(1, &["stdin"]);
    gatepost.run_with(&user, PASSWORD).ok();
    let token = ["tokens", "create", "--user", "ada@example.com", "--name", "x", "--scopes", "*"];
    gatepost.run(&token).assert_failed(1, &["operator"]);
    gatepost.run(&["keys", "verify", "sk_x", "--cost", "0"]).assert_failed(1, &["cost", "1 to 1000000"]);
    gatepost.run(&["keys", "verify", "sk_x", "--scopes", "a b"]).assert_failed(1, &["scopes[0]"]);
    gatepost.run(&["keys", "verify", "sk_x", "--tenant", "nobody"]).assert_failed(1, &["no such tenant"]);
    let event = ["events", "publish", "--tenant", "acme", "--type", "order.created", "--data", "{oops"];
    gatepost.run(&event).assert_failed(1, &["data", "JSON"]);
}

#[test]
fn a_wrong_command_exits_with_2_and_prints_its_usage() {
    let gatepost = Gatepost::new(&[]);
    let wrong: [&[&str]; 7] = [
        &["keys", "verify", "sk_x", "--ip", "here"],
        &["keys", "verify", "sk_x", "--environment", "moon"],
        &[],
        &["frobnicate"],
        &["users", "create", "--email", "a@b.c"],
        &["members", "add", "--user", "a@b.c", "--tenant", "x", "--role", "king"],
        &["serve", "--api-key-pepper", "no secrets on command lines"],
    ];
    for arguments in wrong {
        let ran = gatepost.run(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
        assert!(ran.stderr.contains("--help"), "{ran:?}");
    }
}

#[test]
fn an_unreadable_argument_is_refused_by_name_with_what_to_write() {
    let gatepost = Gatepost::new(&[]);
    let wrong: [(&[&str], &[&str]); 8] = [
        (&["webhooks", "show", "abc"], &["abc", "whole number"]),
        (&["webhooks", "show", ""], &["whole number"]),
        (&["webhooks", "show", "99999999999999999999"], &["too large"]),
        (&["webhooks", "list", "--limit", "ten"], &["--limit", "whole number"]),
        (&["keys", "list", "--limit", "0"], &["--limit", "1..=100"]),
        (&["deliveries", "list", "--since", "yesterday"], &["--since", "as in 2026-11-30T12:00:00Z"]),
        (&["deliveries", "list", "--state", "sad"], &["--state", "must be one of"]),
        (&["deliveries", "show", "abc"], &["dlv_"]),
    ];
    for (arguments, says) in wrong {
        let ran = gatepost.run(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
        assert!(says.iter().all(|words| ran.stderr.contains(words)), "{says:?} in {ran:?}");
        assert!(!ran.stderr.contains("digit found") && ran.stderr.contains("--help"), "{ran:?}");
    }
}

#[test]
fn an_empty_database_is_migrated_once() {
    let database = Database::empty();
    let gatepost = Gatepost::on(&database);
    let report = gatepost.run(&["doctor"]);
    assert!(report.stdout.contains("the next start runs the migrations"), "{report:?}");
    assert!(!gatepost.run(&["migrate", "--json"]).ok().json()["ran"].as_array().unwrap().is_empty());
    assert!(gatepost.run(&["migrate"]).ok().line().starts_with("Nothing to do"));
}

#[test]
fn a_lost_password_is_reset_on_the_command_line() {
    let database = Database::clone_template();
    let gatepost = Gatepost::on(&database);
    let user = ["users", "create", "--email", "ada@example.com", "--password-stdin"];
    gatepost.run_with(&user, PASSWORD).ok();
    let link = gatepost.run(&["users", "reset-link", "--email", "Ada@example.com"]).ok();
    assert!(link.line().contains("/password-reset?token="), "{link:?}");
    gatepost.run(&["users", "reset-link", "--email", "eve@example.com"]).assert_failed(1, &["no such user"]);
    let old_name = ["users", "password", "--email", "ada@example.com", "--password-stdin"];
    gatepost.run_with(&old_name, "another horse, another staple\n").ok();
}

#[test]
fn members_are_managed_on_the_command_line() {
    let database = Database::clone_template();
    let gatepost = Gatepost::on(&database);
    gatepost.run(&["tenants", "create", "--name", "Acme"]).ok();
    for email in ["ada@example.com", "dan@example.com"] {
        gatepost.run_with(&["users", "create", "--email", email, "--password-stdin"], PASSWORD).ok();
        gatepost.run(&["members", "add", "--user", email, "--tenant", "acme", "--role", "owner"]).ok();
    }
    gatepost.run(&["members", "role", "--user", "dan@example.com", "--tenant", "acme", "--role", "viewer"]).ok();
    let listed = gatepost.run(&["members", "list", "--tenant", "acme"]).ok();
    assert_eq!(listed.stdout, "owner      ada@example.com (ada)\nviewer     dan@example.com (dan)\n");
    gatepost.run(&["members", "remove", "--user", "dan@example.com", "--tenant", "acme"]).ok();
    let last = gatepost.run(&["members", "remove", "--user", "ada@example.com", "--tenant", "acme"]);
    last.assert_failed(1, &["needs an owner"]);
    let invite = ["members", "invite", "--email", "x@example.com", "--tenant", "acme", "--role", "viewer"];
    assert!(gatepost.run(&invite).ok().line().contains("/invitation?token="));
}

#[test]
fn the_first_tenant_is_unlimited_and_later_ones_are_free() {
    let database = Database::clone_template();
    let gatepost = Gatepost::on(&database);
    for (name, plan) in [("First", "unlimited"), ("Second", "free")] {
        let tenant = gatepost.run(&["tenants", "create", "--name", name, "--json"]).ok().json();
        assert_eq!(tenant["plan"], plan, "{name}");
    }
}

#[test]
fn tenants_and_plans_are_managed_on_the_command_line() {
    let database = Database::clone_template();
    let gatepost = Gatepost::on(&database);
    gatepost.run(&["tenants", "create", "--name", "Acme"]).ok();
    gatepost.run(&["tenants", "create", "--name", "Beta", "--plan", "pro"]).ok();
    let key = gatepost.run(&["keys", "create", "--tenant", "acme", "--name", "ci"]).ok().line().to_owned();
    let code = || gatepost.run_with(&["keys", "verify", "--json"], &key).json()["code"].as_str().unwrap().to_owned();

    gatepost.run(&["tenants", "suspend", "--tenant", "acme", "--reason", "not paid"]).ok();
    assert_eq!(code(), "TENANT_SUSPENDED");
    let listed = gatepost.run(&["tenants", "list", "--state", "suspended", "--json"]).ok().json();
    assert_eq!((listed["slug"].clone(), listed["keys"].clone()), ("acme".into(), 1.into()));
    assert_eq!(listed["suspended_reason"], "not paid");
    gatepost.run(&["tenants", "resume", "--tenant", "acme"]).ok();
    gatepost.run(&["tenants", "delete", "--tenant", "acme"]).ok();
    assert_eq!(code(), "NOT_FOUND");
    gatepost.run(&["tenants", "delete", "--tenant", "acme"]).assert_failed(1, &["no such tenant"]);
    assert!(gatepost.run(&["tenants", "list"]).ok().line().starts_with("beta "));
    gatepost.run(&["tenants", "restore", "--tenant", "acme"]).ok();
    gatepost.run(&["tenants", "restore", "--tenant", "acme"]).assert_failed(1, &["not deleted"]);
    assert_eq!(code(), "VALID");
    gatepost.run(&["tenants", "update", "--tenant", "acme", "--name", "Acme Ltd", "--plan", "pro"]).ok();
    let found = gatepost.run(&["tenants", "list", "--search", "ltd", "--json"]).ok().json();
    assert_eq!((found["name"].clone(), found["plan"].clone()), ("Acme Ltd".into(), "pro".into()));

    gatepost.run(&["plans", "update", "pro", "--max-keys", "1", "--max-members", "none"]).ok();
    let plans = gatepost.run(&["plans", "list"]).ok().stdout;
    assert!(plans.contains("pro        1 keys, 100 webhooks, any number of members,"), "{plans}");
    assert!(plans.lines().any(|plan| plan.starts_with("unlimited ") && plan.ends_with(" requests an hour")), "{plans}");
    let beyond = gatepost.run(&["keys", "create", "--tenant", "acme", "--name", "x"]);
    beyond.assert_failed(1, &["plan pro allows 1 keys"]);
    gatepost.run(&["plans", "update", "gold"]).assert_wrong();
    gatepost.run(&["plans", "update", "pro", "--max-keys", "many"]).assert_wrong();
}
