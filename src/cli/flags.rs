//! Flags for all settings, generated from the table of settings.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, value_parser};

use crate::config::SETTINGS;

/// Values given by flags, by the settings' keys, and the settings file.
#[derive(Debug, Clone, Default)]
pub struct SettingFlags {
    pub values: BTreeMap<&'static str, String>,
    pub config: Option<PathBuf>,
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for setting in SETTINGS.iter().filter(|setting| !setting.is_secret) {
            if let Some(value) = matches.get_one::<String>(setting.key) {
                self.values.insert(setting.key, value.clone());
            }
        }
        self.config = matches.get_one::<PathBuf>("config").cloned();
        Ok(())
    }
}

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        let config =
            Arg::new("config").long("config").value_name("FILE").global(true).value_parser(value_parser!(PathBuf));
        let command = command.arg(
            config.help("Settings file [env: GATEPOST_CONFIG] [default: gatepost.toml here]").help_heading("Settings"),
        );
        SETTINGS.iter().fold(command, |command, setting| match setting.flag() {
            Some(flag) => {
                let help = format!("{} [env: {}] [default: {}]", capital(setting.help), setting.env, setting.default);
                let arg = Arg::new(setting.key).long(flag).value_name("VALUE").global(true);
                command.arg(arg.help(help).help_heading("Settings"))
            }
            None => command,
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().collect::<String>() + chars.as_str()).unwrap_or_default()
}
