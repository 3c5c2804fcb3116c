//! Sample data of the views about tenants.

use gatepost::web::pages::operator::plans;
use gatepost::web::pages::operator::tenants::view;
use gatepost::web::pages::settings::{Edit, SettingsForm, Used};
use gatepost::web::shell::Shell;
use gatepost::web::view::{Badge, Choice};

use super::{Kind, ago, ask, chips, errors, many, pager, print, shell, t};

fn operator(kind: Kind) -> Shell {
    Shell { is_operator: true, ..shell(kind, "/operator/tenants") }
}

fn choices() -> Vec<Choice> {
    ["free", "pro", "unlimited"].map(|plan| Choice::new(plan, plan, "pro")).into()
}

pub fn index(kind: Kind) -> String {
    print(view::Index {
        shell: operator(kind),
        rows: many(kind, 3, |index| view::Row {
            href: format!("/operator/tenants/{}", index + 1),
            name: t(kind, ["Acme Shipping", "Borealis Labs", "Globex"][index]),
            slug: ["acme-shipping", "borealis", "globex"][index].into(),
            plan: ["pro", "free", "unlimited"][index].into(),
            state: Badge::state(["active", "suspended", "deleted"][index]),
            keys: ["1,204", "7", "0"][index].into(),
            webhooks: ["31", "1", "0"][index].into(),
            members: ["12", "3", "1"][index].into(),
            active: (index != 2).then(|| ago(7)),
        }),
        search: if kind == Kind::Hostile { t(kind, "") } else { String::new() },
        states: ["", "active", "suspended", "deleted"].map(|state| Choice::new(state, state, "")).into(),
        chips: chips(kind, "/operator/tenants"),
        pager: pager(kind),
    })
}

pub fn new(kind: Kind) -> String {
    let form = view::NewForm { name: t(kind, "Acme"), slug: t(kind, "acme"), plan: "pro".into() };
    print(view::New { shell: operator(kind), form, plans: choices(), errors: errors(kind, &["name", "slug"]) })
}

pub fn show(kind: Kind, is_deleted: bool) -> String {
    let is_suspended = kind == Kind::Hostile;
    let act = |act: &str| ask(kind, act, &format!("/operator/tenants/1/{act}"));
    print(view::Show {
        shell: operator(kind),
        id: 1,
        name: t(kind, "Acme Shipping"),
        slug: "acme-shipping".into(),
        facts: view::Facts {
            state: Badge::state(if is_deleted { "deleted" } else { "active" }),
            keys: "1,204".into(),
            webhooks: "31".into(),
            members: "12".into(),
            active: (kind != Kind::Empty).then(|| ago(3)),
            made: ago(90_000),
            suspended: is_suspended.then(|| ago(50)),
            reason: is_suspended.then(|| t(kind, "")),
            erased: is_deleted.then(|| ago(-30_000)),
        },
        is_stale: is_suspended,
        is_suspended,
        is_deleted,
        form: view::TenantForm { name: t(kind, "Acme Shipping"), plan: "pro".into(), seen: "1764000000000000".into() },
        plans: choices(),
        suspend: act("suspension"),
        delete: act("deletion"),
        resume: "/operator/tenants/1/activation".into(),
        restore: "/operator/tenants/1/restoration".into(),
        errors: errors(kind, &["name", "plan"]),
    })
}

pub fn settings(kind: Kind) -> String {
    let form = || SettingsForm {
        name: t(kind, "Acme Shipping"),
        key_prefix: t(kind, "acme"),
        time_zone: if kind == Kind::Empty { String::new() } else { t(kind, "Europe/Vienna") },
        seen: "1764000000000000".into(),
    };
    print(Edit {
        shell: shell(kind, "/settings"),
        slug: "acme-shipping".into(),
        plan: "Pro".into(),
        used: many(kind, 4, |index| Used {
            name: ["Keys", "Webhooks", "Members", "Events this month"][index],
            used: ["7", "5", "1", "not counted"][index].into(),
            allowed: ["1,000", "5", "no limit", "no limit"][index].into(),
            part: [Some(1), Some(100), None, None][index],
        }),
        form: form(),
        meanwhile: (kind == Kind::Hostile).then(form),
        delete: (kind != Kind::Empty).then(|| ask(kind, "delete-tenant", "/settings/deletion")),
        errors: errors(kind, &["name", "key_prefix", "time_zone"]),
    })
}

fn row(name: &str) -> plans::Row {
    plans::Row {
        href: "/operator/plans/pro".into(),
        name: name.into(),
        keys: "1,000".into(),
        webhooks: "100".into(),
        members: "50".into(),
        events: "1,000,000".into(),
        usual_rate: "1,000".into(),
        most_rate: "No limit".into(),
    }
}

pub fn all_plans(kind: Kind) -> String {
    let rows = many(kind, 3, |index| row(["Free", "Pro", "Unlimited"][index]));
    print(plans::Index { shell: operator(kind), rows })
}

pub fn plan(kind: Kind) -> String {
    let typed = |text: &str| if kind == Kind::Empty { String::new() } else { t(kind, text) };
    print(plans::Edit {
        shell: operator(kind),
        name: "pro".into(),
        title: "Plan pro".into(),
        form: plans::PlanForm {
            max_keys: typed("1000"),
            max_webhooks: typed("100"),
            max_members: typed("50"),
            max_events_per_month: typed("1000000"),
            default_rate_limit: typed("1000"),
            max_rate_limit: typed("1000000"),
            seen: "1764000000000000".into(),
        },
        meanwhile: (kind == Kind::Hostile).then(|| row("Pro")),
        errors: errors(kind, &["max_keys", "default_rate_limit"]),
    })
}
