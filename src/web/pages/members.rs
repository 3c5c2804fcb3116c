//! Page about the members of a tenant and its open invitations.

pub mod invitations;
pub mod view;

use actix_web::web::{Data, Path};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::api_keys::acts::Confirmed;
use super::paging::PagePlace;
use super::{back, confirmations, page, see_other};
use crate::domain::mail::MailState;
use crate::domain::{Actor, MembershipId, Permission, Role, UserId};
use crate::model::{Invitation, Membership, User};
use crate::services::{invitations as invited, members};
use crate::store::{Scope, Tx};
use crate::web::auth::SignedIn;
use crate::web::flash::Flash;
use crate::web::forms::CheckedForm;
use crate::web::json::Query;
use crate::web::problem::Answer;
use crate::web::shell::Shell;
use crate::web::state::State;
use crate::web::urls;
use crate::web::view::{Badge, Choice, Confirmation, Pager, Tone, When, filter, text};
use view::{Index, Invited, Row};

const ROWS: i64 = 50;

/// URL parameters of the list.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Listing {
    q: String,
    #[serde(flatten)]
    place: PagePlace,
}

pub async fn index(state: Data<State>, mut who: SignedIn, Query(asked): Query<Listing>) -> Answer {
    who.shell.note_ignored(&asked.place.noted::<MembershipId>());
    let (actor, now) = (who.actor, state.clock.now());
    let (asker, paging) = (actor.clone(), asked.place.paging::<MembershipId>(ROWS));
    let search = filter::text(&asked.q);
    let read = move |tx: &mut Tx<'_>| {
        let found = members::page(tx, &asker, search.as_deref(), &paging)?;
        Ok((found, members::count_owners(tx, &asker)?, invited::list(tx, &asker)?))
    };
    let (found, owners, open) = state.pages.read(Scope::Tenant(actor.tenant), read).await?;
    let set = [("q", asked.q.trim())];
    page(&Index {
        pager: Pager::new(urls::MEMBERS, &set, &found),
        chips: filter::chips(urls::MEMBERS, &set, |_, value| ("Search".to_owned(), value.to_owned())),
        rows: found.rows.into_iter().map(|one| row(one, &actor, owners, &who.shell.csrf, now)).collect(),
        invited: open.into_iter().map(|one| invitation(one, &who.shell.csrf, now)).collect(),
        search: asked.q,
        shell: who.shell,
    })
}

fn row((member, user): (Membership, User), actor: &Actor, owners: i64, csrf: &str, now: DateTime<Utc>) -> Row {
    // Only owners may change an owner, and no user may change the last one.
    let is_owner = member.role == Role::Owner;
    let may_change = !is_owner || (actor.may(Permission::MakeOwners) && owners != 1);
    Row {
        role: badge(member.role),
        is_you: actor.user == Some(user.id),
        is_active: user.is_active,
        since: When::new(member.created_at, now),
        change: ask_role(&member, &user, actor, csrf),
        remove: ask_remove(&user, actor, csrf),
        may_change,
        is_last_owner: is_owner && owners == 1,
        name: user.name,
        email: user.email,
    }
}

fn invitation(row: Invitation, csrf: &str, now: DateTime<Utc>) -> Invited {
    Invited {
        revoke: invitations::ask(&row, csrf),
        role: badge(row.role),
        made: When::new(row.created_at, now),
        expires: When::new(row.expires_at, now),
        mail: row.mail_state.map(mail_badge),
        mail_error: row.mail_error.unwrap_or_default(),
        email: row.email,
    }
}

fn mail_badge(state: MailState) -> Badge {
    match state {
        MailState::Waiting => Badge::new(Tone::Info, "clock", "Waiting"),
        MailState::Sent => Badge::new(Tone::Good, "check", "Sent"),
        MailState::Failed => Badge::new(Tone::Bad, "cross", "Failed"),
    }
}

fn badge(role: Role) -> Badge {
    let (tone, icon) = match role {
        Role::Owner => (Tone::Good, "token"),
        Role::Admin => (Tone::Info, "user"),
        Role::Developer => (Tone::Idle, "key"),
        Role::Viewer => (Tone::Idle, "eye"),
    };
    Badge::new(tone, icon, text::capitalized(role.as_str()))
}

/// Returns the roles that the actor may assign, the most powerful first.
pub fn roles(actor: &Actor, chosen: &str) -> Vec<Choice> {
    let may = |role: &Role| *role != Role::Owner || actor.may(Permission::MakeOwners);
    let says = |role: Role| match role {
        Role::Owner => "Owner: can do everything, including managing owners",
        Role::Admin => "Admin: can change everything, invite members and read the audit log",
        Role::Developer => "Developer: can create keys and webhooks, change their own, and publish events",
        Role::Viewer => "Viewer: can read keys, webhooks, deliveries and usage",
    };
    let all = Role::ALL.iter().rev().copied().filter(may);
    all.map(|role| Choice::new(role.as_str(), says(role), chosen)).collect()
}

fn ask_role(member: &Membership, user: &User, actor: &Actor, csrf: &str) -> Confirmation {
    let says = "The new role applies from their next request, also to their access tokens.";
    Confirmation::new(format!("role-{}", user.id), format!("Change the role of {}?", user.name), says)
        .posts("Change role", urls::member_act(user.id, "role"), csrf, urls::MEMBERS)
        .choosing("role", "Role", roles(actor, member.role.as_str()))
        .gentle()
}

fn ask_remove(user: &User, actor: &Actor, csrf: &str) -> Confirmation {
    let (title, says) = if actor.user == Some(user.id) {
        (
            "Leave this tenant?".to_owned(),
            "You lose access to this tenant at once. API keys that you created keep working.",
        )
    } else {
        let says = "They lose access to this tenant at once. Their access tokens for it and the invitations that they sent stop working. API keys that they created keep working.";
        (format!("Remove {}?", user.name), says)
    };
    Confirmation::new(format!("remove-{}", user.id), title, says).posts(
        "Remove member",
        urls::member_act(user.id, "removal"),
        csrf,
        urls::MEMBERS,
    )
}

pub async fn ask_change(state: Data<State>, who: SignedIn, id: Path<UserId>) -> Answer {
    ask(&state, who, *id, |(member, user), actor, shell| ask_role(&member, &user, actor, &shell.csrf)).await
}

pub async fn ask_removal(state: Data<State>, who: SignedIn, id: Path<UserId>) -> Answer {
    ask(&state, who, *id, |(_, user), actor, shell| ask_remove(&user, actor, &shell.csrf)).await
}

async fn ask(
    state: &State,
    who: SignedIn,
    id: UserId,
    question: impl FnOnce((Membership, User), &Actor, &Shell) -> Confirmation,
) -> Answer {
    who.actor.must(Permission::WriteMembers)?;
    let actor = who.actor.clone();
    let found = state.pages.read(Scope::Tenant(actor.tenant), move |tx| members::find(tx, &actor, id)).await?;
    let ask = question(found, &who.actor, &who.shell);
    page(&confirmations::New::of(who.shell, ask))
}

/// Form to change a member's role.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleForm {
    role: Role,
}

pub async fn change(
    state: Data<State>,
    who: SignedIn,
    id: Path<UserId>,
    CheckedForm(form): CheckedForm<RoleForm>,
) -> Answer {
    let (actor, id) = (who.actor, *id);
    let act = move |tx: &mut Tx<'_>| members::change_role(tx, &actor, id, form.role);
    match state.pages.tx(Scope::Tenant(who.shell.tenant.id), act).await {
        Ok((member, user)) => {
            see_other(&who.session, urls::MEMBERS, Flash::good(format!("{} is {} now.", user.name, a(member.role))))
        }
        Err(error) => back(&who.session, urls::MEMBERS, error),
    }
}

pub async fn remove(state: Data<State>, who: SignedIn, id: Path<UserId>, _: CheckedForm<Confirmed>) -> Answer {
    let (actor, id) = (who.actor, *id);
    let is_self = actor.user == Some(id) && !actor.is_operator;
    let act = move |tx: &mut Tx<'_>| members::remove(tx, &actor, id);
    match state.pages.tx(Scope::Tenant(who.shell.tenant.id), act).await {
        Ok(user) => {
            let place = if is_self { urls::OVERVIEW } else { urls::MEMBERS };
            see_other(&who.session, place, Flash::good(format!("{} is no longer a member.", user.name)))
        }
        Err(error) => back(&who.session, urls::MEMBERS, error),
    }
}

/// Returns a role with its article, such as `an admin` or `a viewer`.
pub fn a(role: Role) -> String {
    let article = if role.as_str().starts_with(['a', 'o']) { "an" } else { "a" };
    format!("{article} {role}")
}
