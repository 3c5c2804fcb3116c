//! Changes to the keys ticked in the list: a confirmation that states their number, then the change.

use actix_session::Session;
use actix_web::web::Data;
use serde::Deserialize;

use super::show;
use super::view::{BulkAct, BulkPage};
use crate::domain::api_key::{Selection, TagChange};
use crate::domain::{Actor, Error, FieldErrors, Permission, Result};
use crate::model::ApiKey;
use crate::services::api_keys::{self, Bulk};
use crate::store::{Scope, Tx};
use crate::web::auth::SignedIn;
use crate::web::flash::Flash;
use crate::web::forms::CheckedForm;
use crate::web::json::Query;
use crate::web::pages::{page, see_other, unprocessable};
use crate::web::problem::{Answer, Fail};
use crate::web::shell::Shell;
use crate::web::state::State;
use crate::web::urls;
use crate::web::view::text;

/// Ticked keys, and the input for the change.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BulkForm {
    pub ids: Vec<i64>,
    /// URL of the list that the form came from, with its filters.
    pub back: String,
    pub reason: String,
    /// Tags separated by commas.
    pub add: String,
    pub remove: String,
}

impl BulkForm {
    /// Returns the URL to go back to. Only lists of keys are allowed, since the form could name any URL.
    fn back(&self) -> &str {
        let is_list = self.back == urls::KEYS || self.back.starts_with("/keys?");
        if is_list && urls::is_local(&self.back) { &self.back } else { urls::KEYS }
    }

    fn tags(&self) -> Result<TagChange> {
        let items = |text: &str| super::form::tags(text);
        TagChange::parse(&items(&self.add), &items(&self.remove))
    }
}

pub async fn ask_revoke(state: Data<State>, who: SignedIn, Query(form): Query<BulkForm>) -> Answer {
    ask(state, who, form, BulkAct::Revoke).await
}

pub async fn ask_tag(state: Data<State>, who: SignedIn, Query(form): Query<BulkForm>) -> Answer {
    ask(state, who, form, BulkAct::Tag).await
}

pub async fn ask_delete(state: Data<State>, who: SignedIn, Query(form): Query<BulkForm>) -> Answer {
    ask(state, who, form, BulkAct::Delete).await
}

async fn ask(state: Data<State>, mut who: SignedIn, form: BulkForm, act: BulkAct) -> Answer {
    who.shell.note_ignored(&FieldErrors::default());
    let keys = chosen(&state, &who, &form, act).await?;
    if keys.is_empty() {
        let said = match form.ids.is_empty() {
            true => "Select keys first: use the check boxes in their rows.",
            false => "None of the selected keys can be changed: they were deleted or already revoked.",
        };
        return see_other(&who.session, form.back(), Flash::bad(said));
    }
    page(&view(who.shell, &state, keys, form, act, FieldErrors::default()))
}

/// Returns the ticked keys that the change would affect.
async fn chosen(state: &State, who: &SignedIn, form: &BulkForm, act: BulkAct) -> Result<Vec<ApiKey>, Fail> {
    who.actor.must(Permission::WriteManyKeys)?;
    if form.ids.is_empty() {
        return Ok(Vec::new());
    }
    let (actor, selection) = (who.actor.clone(), Selection::parse(&form.ids)?);
    let find = move |tx: &mut Tx<'_>| api_keys::chosen(tx, &actor, &selection);
    let mut keys = state.pages.read(Scope::Tenant(who.shell.tenant.id), find).await?;
    keys.retain(|key| act != BulkAct::Revoke || key.revoked_at.is_none());
    Ok(keys)
}

fn view(shell: Shell, state: &State, keys: Vec<ApiKey>, form: BulkForm, act: BulkAct, errors: FieldErrors) -> BulkPage {
    let now = state.clock.now();
    let count = text::counted(i64::try_from(keys.len()).unwrap_or(i64::MAX), "key");
    BulkPage {
        shell,
        title: format!("{} {count}?", act.verb()),
        count,
        act,
        back: form.back().to_owned(),
        rows: keys.into_iter().map(|key| show::named(key, now)).collect(),
        form,
        errors,
    }
}

pub async fn revoke(state: Data<State>, who: SignedIn, CheckedForm(form): CheckedForm<BulkForm>) -> Answer {
    let reason = form.reason.clone();
    let act = move |tx: &mut Tx<'_>, actor: &Actor, chosen: &Selection| {
        api_keys::revoke_many(tx, actor, chosen, Some(&reason))
    };
    done(state, who, form, BulkAct::Revoke, Ok(act)).await
}

pub async fn tag(state: Data<State>, who: SignedIn, CheckedForm(form): CheckedForm<BulkForm>) -> Answer {
    let act = form.tags().map(|change| {
        move |tx: &mut Tx<'_>, actor: &Actor, chosen: &Selection| api_keys::tag_many(tx, actor, chosen, &change)
    });
    done(state, who, form, BulkAct::Tag, act).await
}

pub async fn delete(state: Data<State>, who: SignedIn, CheckedForm(form): CheckedForm<BulkForm>) -> Answer {
    let act = move |tx: &mut Tx<'_>, actor: &Actor, chosen: &Selection| api_keys::delete_many(tx, actor, chosen);
    done(state, who, form, BulkAct::Delete, Ok(act)).await
}

async fn done<F>(state: Data<State>, who: SignedIn, form: BulkForm, act: BulkAct, work: Result<F>) -> Answer
where
    F: FnOnce(&mut Tx<'_>, &Actor, &Selection) -> Result<Bulk> + Send + 'static,
{
    who.actor.must(Permission::WriteManyKeys)?;
    let (actor, selection) = (who.actor.clone(), Selection::parse(&form.ids)?);
    let bulk = match work {
        Ok(work) => {
            let work = move |tx: &mut Tx<'_>| work(tx, &actor, &selection);
            state.pages.tx(Scope::Tenant(who.shell.tenant.id), work).await
        }
        Err(error) => Err(error),
    };
    match bulk {
        Ok(bulk) => told(&who.session, form.back(), &bulk, act),
        Err(Error::Invalid(errors)) => {
            let keys = chosen(&state, &who, &form, act).await?;
            unprocessable(&view(who.shell, &state, keys, form, act, errors))
        }
        Err(error) => Err(error.into()),
    }
}

/// Redirects with a message such as "12 keys revoked, 1 skipped". Numbers are easier to read than a list of ids.
fn told(session: &Session, back: &str, bulk: &Bulk, act: BulkAct) -> Answer {
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let affected = count(bulk.affected.len());
    let said = format!("{} {}", text::counted(affected, "key"), act.done());
    let said = match bulk.skipped.len() {
        0 => format!("{said}."),
        skipped => format!("{said}. {} skipped, because nothing had to be changed.", text::grouped(count(skipped))),
    };
    see_other(session, back, if affected == 0 { Flash::bad(said) } else { Flash::good(said) })
}
