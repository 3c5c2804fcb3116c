//! Command `gatepost users`.

use std::io::BufRead;

use clap::Subcommand;
use serde_json::json;
use zeroize::Zeroizing;

use super::console::Console;
use super::{say, tell};
use crate::app::Failure;
use crate::config::Settings;
use crate::services::accounts::{self, NewPassword, NewUser};
use crate::services::{Operator, account, second_factor, tenants};
use crate::web::urls;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a user.
    Create {
        /// E-mail address of the user.
        #[arg(long)]
        email: String,
        /// Name shown to others. Default: the part of the address before the @.
        #[arg(long)]
        name: Option<String>,
        /// Make the user an operator, who can do everything in every tenant.
        #[arg(long)]
        operator: bool,
        /// Read the password, at least 15 characters, from the first line of stdin.
        #[arg(long, required = true)]
        password_stdin: bool,
    },
    /// Create a link with which a user sets a new password, once, within a day. Prints only the link.
    ResetLink {
        /// E-mail address of the user.
        #[arg(long)]
        email: String,
    },
    /// Remove the second factor of a user who lost their device and their recovery codes.
    RemoveSecondFactor {
        /// E-mail address of the user.
        #[arg(long)]
        email: String,
    },
    /// Set a new password for a user who lost theirs. Ends all of their sessions.
    #[command(alias = "password")]
    SetPassword {
        /// E-mail address of the user.
        #[arg(long)]
        email: String,
        /// Read the password, at least 15 characters, from the first line of stdin.
        #[arg(long, required = true)]
        password_stdin: bool,
    },
}

pub fn run(settings: Settings, command: Command, json: bool) -> Result<(), Failure> {
    match command {
        Command::Create { email, name, operator, password_stdin: _ } => {
            let ask = NewUser::parse(&email, name.as_deref(), &password()?, operator, &[host(&settings)])?;
            create(&settings, &ask, json)
        }
        Command::ResetLink { email } => reset_link(&settings, &email, json),
        Command::RemoveSecondFactor { email } => remove_second_factor(&settings, &email, json),
        Command::SetPassword { email, password_stdin: _ } => set_password(&settings, &email, &password()?, json),
    }
}

fn create(settings: &Settings, ask: &NewUser, json: bool) -> Result<(), Failure> {
    let mut house = Console::open(settings)?;
    let user = house.tx(|tx, _| accounts::create(tx, &Operator::at_the_console(), ask))?;
    let value = json!({"id": user.id, "email": user.email, "name": user.name, "is_operator": user.is_operator});
    tell(json, &value, &format!("Created user {} ({})", user.id, user.email))
}

fn reset_link(settings: &Settings, email: &str, json: bool) -> Result<(), Failure> {
    let mut house = Console::open(settings)?;
    let token = house.tx(|tx, _| {
        let user = tenants::user_named(tx, None, Some(email))?;
        account::offer_reset(tx, &Operator::at_the_console(), user.id)
    })?;
    let link = settings.public_url.join(&urls::reset_with(&token));
    let link = link.map_err(|error| Failure::new(error.to_string()))?;
    say(&if json { json!({"email": email, "link": link}).to_string() } else { link.to_string() })
}

fn remove_second_factor(settings: &Settings, email: &str, json: bool) -> Result<(), Failure> {
    let mut house = Console::open(settings)?;
    let (user, is_password_ended) = house.tx(|tx, _| {
        let user = tenants::user_named(tx, None, Some(email))?;
        let is_password_ended = second_factor::remove(tx, &Operator::at_the_console(), &user)?;
        Ok((user, is_password_ended))
    })?;
    let sentence = if is_password_ended {
        format!("{} needs a reset link: the password was too short without a second factor", user.email)
    } else {
        format!("{} no longer has a second factor", user.email)
    };
    tell(json, &json!({"id": user.id, "email": user.email}), &sentence)
}

fn host(settings: &Settings) -> &str {
    settings.public_url.host_str().unwrap_or_default()
}

fn set_password(settings: &Settings, email: &str, password: &str, json: bool) -> Result<(), Failure> {
    let mut house = Console::open(settings)?;
    let (user, rules) = house.read(|tx| {
        let user = tenants::user_named(tx, None, Some(email))?;
        let rules = accounts::password_rules(tx, user.id, Some(host(settings)))?;
        Ok((user, rules.alone()))
    })?;
    let new = NewPassword::parse(password, &rules)?;
    house.tx(|tx, _| accounts::set_password(tx, &Operator::at_the_console(), user.id, &new))?;
    tell(json, &json!({"id": user.id, "email": user.email}), &format!("{} has a new password", user.email))
}

/// Reads the first line of stdin, without its line break.
fn password() -> Result<Zeroizing<String>, Failure> {
    let mut line = Zeroizing::new(String::new());
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Failure::new(format!("the password can't be read from stdin: {error}")))?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(Failure::new(
            "the password was expected on stdin, as in `gatepost users create … --password-stdin < file`",
        ));
    }
    Ok(Zeroizing::new(password.to_owned()))
}
