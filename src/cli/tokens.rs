//! Command `gatepost tokens`.

use clap::Subcommand;
use serde_json::json;

use super::console::{Console, actor_in};
use super::say;
use crate::app::Failure;
use crate::config::Settings;
use crate::domain::access_token::{NewToken, TokenDraft};
use crate::services::{Operator, access_tokens, tenants};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create an access token for a user. Prints only the token, once.
    Create {
        /// E-mail address of the user.
        #[arg(long)]
        user: String,
        /// Slug of the tenant. Without it the token is for the whole instance, and the user must be an operator.
        #[arg(long)]
        tenant: Option<String>,
        /// Name of the token.
        #[arg(long)]
        name: String,
        /// Scopes, separated by commas. '*' stands for all rights of the user.
        #[arg(long, value_delimiter = ',', required = true)]
        scopes: Vec<String>,
        /// Days until the token expires. Default: never.
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..=3650))]
        expires_in_days: Option<u16>,
    },
}

pub fn run(settings: Settings, command: Command, json: bool) -> Result<(), Failure> {
    let Command::Create { user, tenant, name, scopes, expires_in_days } = command;
    let mut house = Console::open(&settings)?;
    let now = house.clock.now();
    let minted = house.tx(|tx, hasher| {
        let tenant = tenant.as_deref().map(|slug| actor_in(tx, slug)).transpose()?.map(|actor| actor.tenant);
        let user = tenants::user_named(tx, None, Some(&user))?;
        let expires_at = expires_in_days.map(|days| now + chrono::TimeDelta::days(days.into()));
        let draft = TokenDraft { name: Some(name), tenant, scopes: Some(scopes), expires_at };
        let ask = NewToken::parse(draft, now)?;
        access_tokens::mint_for(tx, &Operator::at_the_console(), hasher, user.id, ask)
    })?;
    let (id, token) = (minted.token.id, minted.secret.reveal_once());
    say(&if json { json!({"id": id, "token": token}).to_string() } else { token })
}
