//! `gatepost audit verify`.

use diesel::prelude::*;

use super::command::Gatepost;
use crate::support::database::Database;

#[test]
fn audit_verify_confirms_an_intact_log_and_names_a_broken_one() {
    let database = Database::clone_template();
    let gatepost = Gatepost::on(&database);
    assert_eq!(gatepost.run(&["audit", "verify"]).ok().stdout, "");
    for name in ["Acme", "Beta"] {
        gatepost.run(&["tenants", "create", "--name", name]).ok();
    }
    for name in ["one", "two", "three"] {
        gatepost.run(&["keys", "create", "--tenant", "acme", "--name", name]).ok();
    }

    let whole = gatepost.run(&["audit", "verify"]).ok();
    assert!(
        whole.stdout.contains("acme: 4 entries are intact, ") && whole.stdout.contains("beta: 1 entry is intact, ")
    );
    gatepost.run(&["audit", "verify", "--tenant", "nobody"]).assert_failed(1, &["no such tenant"]);

    let forged = "UPDATE audit_entries SET actor = 'mallory' WHERE tenant_id = 1 AND seq = 3";
    diesel::sql_query(forged).execute(&mut database.connect()).unwrap();
    let broken = gatepost.run(&["audit", "verify"]);
    assert_eq!(broken.code, 1, "{broken:?}");
    assert!(broken.stdout.contains("acme: BROKEN at entry 3 (id 4, api_key.minted, "), "{broken:?}");
    assert!(broken.stdout.contains("beta: 1 entry is intact, "), "{broken:?}");
    gatepost.run(&["audit", "verify", "--tenant", "beta"]).ok();
    let told = gatepost.run(&["audit", "verify", "--tenant", "acme", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!((told["whole"].clone(), told["chains"][0]["broken"]["seq"].clone()), (false.into(), 3.into()));
}
