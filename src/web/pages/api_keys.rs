//! Pages about keys: the form, the response with the secret, and the page of one key. Submodules have the other pages.

pub mod acts;
pub mod bulk;
pub mod export;
pub mod form;
pub mod listing;
pub mod lookup;
pub mod rotation;
pub mod show;
pub mod snippets;
pub mod view;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderValue;
use actix_web::web::{Data, Path};
use url::Url;

use super::spans::TimeQuery;
use super::{back, page, rendered, see_other, unprocessable};
use crate::domain::api_key::KeySecret;
use crate::domain::{Actor, ApiKeyId, Error, FieldErrors, Permission, Result};
use crate::model::ApiKey;
use crate::services::api_keys::{self, MintedKey};
use crate::services::idempotency::{IdempotencyOutcome, submit_once};
use crate::services::{random_token, usage};
use crate::store::{Scope, Tx};
use crate::web::auth::SignedIn;
use crate::web::flash::Flash;
use crate::web::forms::CheckedForm;
use crate::web::json::Query;
use crate::web::problem::{Answer, Fail};
use crate::web::shell::Shell;
use crate::web::state::State;
use crate::web::urls;
use crate::web::view::form_version;
use form::KeyForm;
use view::{Created, Edit, New, Replaced};

/// Number of recent calls on the page of a key.
const LATEST_CALLS: i64 = 8;

pub async fn new(state: Data<State>, who: SignedIn) -> Answer {
    let known = known_scopes(&state, &who.actor).await?;
    page(&new_view(who.shell, KeyForm::fresh()?, known, FieldErrors::default()))
}

/// Returns scopes of the tenant's other keys, as suggestions.
async fn known_scopes(state: &State, actor: &Actor) -> Result<Vec<String>, Error> {
    let (actor, tenant) = (actor.clone(), actor.tenant);
    let given = move |tx: &mut Tx<'_>| api_keys::scopes_given(tx, &actor, &form::no_suggestions());
    state.pages.read(Scope::Tenant(tenant), given).await
}

fn new_view(shell: Shell, form: KeyForm, known_scopes: Vec<String>, errors: FieldErrors) -> New {
    const FOLDED: [&str; 9] = [
        "rate_limit",
        "rate_window_seconds",
        "limits",
        "quota",
        "allowed_ips",
        "prefix",
        "description",
        "tags",
        "metadata",
    ];
    let is_detailed = form.is_detailed() || FOLDED.iter().any(|field| errors.of(field).is_some());
    New { shell, fields: form.fields(known_scopes), form, errors, is_detailed }
}

/// Creates a key and shows its secret in the response to the POST. The secret is therefore never in a URL, a session or
/// a log. A repeated submission creates no second key.
pub async fn create(state: Data<State>, who: SignedIn, CheckedForm(form): CheckedForm<KeyForm>) -> Answer {
    who.actor.must(Permission::WriteKeys)?;
    let minted = match form.new_key(state.clock.now()) {
        Ok(ask) => {
            let (actor, hasher, nonce) = (who.actor.clone(), state.hasher.clone(), form.nonce.clone());
            let mint = move |tx: &mut Tx<'_>| {
                let work = |tx: &mut Tx<'_>| api_keys::mint(tx, &actor, &hasher, ask);
                submit_once(tx, actor.tenant, ("page:/keys", &nonce), work, |minted| minted.key.id.to_string())
            };
            state.pages.tx(Scope::Tenant(who.shell.tenant.id), mint).await
        }
        Err(error) => Err(error),
    };
    match minted {
        Ok(IdempotencyOutcome::First(minted)) => created(who.shell, minted, &who.base, None),
        Ok(IdempotencyOutcome::Again(id)) => {
            let said = "This form has already created this key, and its secret was shown only then. If the secret is lost, rotate the key.";
            see_other(&who.session, format!("{}/{id}", urls::KEYS), Flash::good(said))
        }
        Err(Error::Invalid(errors)) => {
            let known = known_scopes(&state, &who.actor).await?;
            unprocessable(&new_view(who.shell, form, known, errors))
        }
        Err(error) => back(&who.session, urls::KEYS, error),
    }
}

fn created(shell: Shell, minted: MintedKey, base: &Url, replaces: Option<Replaced>) -> Answer {
    let MintedKey { key, secret } = minted;
    let secret = KeySecret::reveal_once(secret);
    let mut snippets = snippets::calls(super::stem(base), &secret);
    snippets.extend(snippets::gateways(base, &shell, &key)?.into_iter().take(1));
    let view = Created {
        shell,
        id: key.id.0,
        dotenv: format!("GATEPOST_API_KEY={}\nGATEPOST_API_SECRET={secret}\n", key.public_id),
        snippets,
        name: key.name,
        public_id: key.public_id,
        secret,
        replaces,
    };
    page(&view).map(secretive)
}

/// Forbids caching, and hides this page's URL from the next page.
pub fn secretive(mut answer: HttpResponse) -> HttpResponse {
    let headers = answer.headers_mut();
    headers.insert(actix_web::http::header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(actix_web::http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

pub async fn show(state: Data<State>, mut who: SignedIn, id: Path<ApiKeyId>, Query(asked): Query<TimeQuery>) -> Answer {
    who.shell.note_ignored(&asked.ignored());
    let (actor, id, now) = (who.actor, *id, state.clock.now());
    let stretch = asked.stretch(now);
    let find = move |tx: &mut Tx<'_>| {
        let (key, report) = usage::of_key(tx, &actor, id, stretch.span())?;
        let kin = api_keys::neighbors(tx, &actor, &key)?;
        let quota = api_keys::quota(tx, &actor, &key)?;
        let calls = usage::latest(tx, &actor, id, LATEST_CALLS)?;
        Ok((key, report, kin, quota, calls))
    };
    let (key, report, kin, quota, calls) = state.reports.read(Scope::Tenant(who.shell.tenant.id), find).await?;
    let gateways = snippets::gateways(&who.base, &who.shell, &key)?;
    let (base, nonce) = (super::stem(&who.base), random_token()?);
    let limits = state.gate.standings(&key).await;
    let context = show::Context {
        shell: who.shell,
        report: &report,
        kin,
        limits,
        calls,
        quota,
        stretch,
        base,
        gateways,
        nonce,
        now,
    };
    page(&show::show(key, context))
}

pub async fn edit(state: Data<State>, who: SignedIn, id: Path<ApiKeyId>) -> Answer {
    let key = editable(&state, &who, *id).await?;
    let known = known_scopes(&state, &who.actor).await?;
    page(&edit_view(who.shell, &key, KeyForm::of(&key), known, FieldErrors::default()))
}

pub async fn update(
    state: Data<State>,
    who: SignedIn,
    id: Path<ApiKeyId>,
    CheckedForm(form): CheckedForm<KeyForm>,
) -> Answer {
    let (before, now) = (editable(&state, &who, *id).await?, state.clock.now());
    let changed = match form.change(&before, now) {
        Ok(change) => {
            let (actor, id, seen) = (who.actor.clone(), before.id, form_version::parse(&form.seen));
            let change = move |tx: &mut Tx<'_>| {
                seen.map_or(Ok(()), |seen| api_keys::must_be_as_seen(tx, &actor, id, seen))?;
                api_keys::update(tx, &actor, id, &change)
            };
            state.pages.tx(Scope::Tenant(who.shell.tenant.id), change).await
        }
        Err(error) => Err(error),
    };
    match changed {
        Ok(key) => see_other(&who.session, urls::key(key.id), Flash::good(format!("{} is saved.", key.name))),
        Err(Error::Invalid(errors)) => {
            let known = known_scopes(&state, &who.actor).await?;
            unprocessable(&edit_view(who.shell, &before, form, known, errors))
        }
        // The page of the key shows the other user's change. Submitting the form again then overwrites it on purpose.
        Err(Error::Conflict(_)) if form_version::parse(&form.seen).is_some_and(|seen| seen != before.updated_at) => {
            let again = KeyForm { seen: form_version::seen(before.updated_at), ..form };
            let known = known_scopes(&state, &who.actor).await?;
            let view = edit_view(who.shell, &before, again, known, FieldErrors::default());
            rendered(StatusCode::CONFLICT, &Edit { is_stale: true, ..view })
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns the key if the user may change it.
async fn editable(state: &State, who: &SignedIn, id: ApiKeyId) -> Result<ApiKey, Fail> {
    let actor = who.actor.clone();
    let key = state.pages.read(Scope::Tenant(actor.tenant), move |tx| api_keys::find(tx, &actor, id)).await?;
    who.actor.must_own(Permission::WriteKeys, key.user_id)?;
    Ok(key)
}

fn edit_view(shell: Shell, key: &ApiKey, form: KeyForm, known: Vec<String>, errors: FieldErrors) -> Edit {
    Edit { is_stale: false, shell, id: key.id.0, name: key.name.clone(), fields: form.fields(known), form, errors }
}
