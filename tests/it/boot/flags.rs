//! Every setting has a flag, except secrets.

use gatepost::config::SETTINGS;

#[test]
fn the_settings_flags_are_in_the_help() {
    let help = super::command::Gatepost::new(&[]).run(&["serve", "--help"]).ok().stdout;
    for setting in SETTINGS {
        match setting.flag() {
            Some(flag) => assert!(help.contains(&format!("--{flag}")), "{flag}"),
            None => assert!(!help.contains(&setting.key.replace('_', "-")), "{} is a secret", setting.key),
        }
    }
}
