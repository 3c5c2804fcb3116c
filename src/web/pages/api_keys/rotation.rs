//! Rotation of a key: the confirmation with its overlap, and the response with the new secret.

use actix_web::web::{Data, Path};
use serde::Deserialize;

use super::view::Replaced;
use super::{created, show};
use crate::domain::api_key::Overlap;
use crate::domain::{ApiKeyId, Permission};
use crate::model::ApiKey;
use crate::services::api_keys::{self, Rotated};
use crate::services::idempotency::{IdempotencyOutcome, submit_once};
use crate::services::random_token;
use crate::store::{Scope, Tx};
use crate::web::auth::SignedIn;
use crate::web::flash::Flash;
use crate::web::forms::CheckedForm;
use crate::web::pages::{back, confirmations, page, see_other};
use crate::web::problem::Answer;
use crate::web::state::State;
use crate::web::urls;
use crate::web::view::{Choice, Confirmation, When};

const OVERLAPS: [(&str, &str); 7] = [
    ("0", "Stops now"),
    ("900", "Works for 15 more minutes"),
    ("3600", "Works for 1 more hour"),
    ("21600", "Works for 6 more hours"),
    ("86400", "Works for 24 more hours"),
    ("604800", "Works for 7 more days"),
    ("2592000", "Works for 30 more days"),
];

/// Returns the confirmation, used in the dialog and on its own page.
pub fn ask(key: &ApiKey, csrf: &str, nonce: String) -> Confirmation {
    let says = "A new key with the same settings replaces it. The new secret is shown once, on the next page. The old secret works for the time that you choose. Both keys share their limits.";
    Confirmation::new("rotate-key", format!("Rotate {}?", key.name), says)
        .posts("Rotate key", urls::key_act(key.id, "rotation"), csrf, urls::key(key.id))
        .gentle()
        .once(nonce)
        .choosing("overlap_seconds", "The old secret", Choice::list(&OVERLAPS, "86400"))
}

pub async fn new(state: Data<State>, who: SignedIn, id: Path<ApiKeyId>) -> Answer {
    let (actor, id) = (who.actor.clone(), *id);
    let key = state.pages.read(Scope::Tenant(actor.tenant), move |tx| api_keys::find(tx, &actor, id)).await?;
    who.actor.must_own(Permission::WriteKeys, key.user_id)?;
    if !show::may_rotate(&key, state.clock.now()) {
        let said = "This key can no longer be rotated. Its page shows what you can do with it.";
        return see_other(&who.session, urls::key(id), Flash::bad(said));
    }
    let ask = ask(&key, &who.shell.csrf, random_token()?);
    page(&confirmations::New::of(who.shell, ask))
}

/// Form to rotate a key.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rotation {
    nonce: String,
    overlap_seconds: Option<i64>,
}

/// Rotates a key and shows the secret in the response to the POST. A repeated submission creates no second successor.
pub async fn create(
    state: Data<State>,
    who: SignedIn,
    id: Path<ApiKeyId>,
    CheckedForm(form): CheckedForm<Rotation>,
) -> Answer {
    let (id, now, hasher) = (*id, state.clock.now(), state.hasher.clone());
    let (actor, overlap) = (who.actor, Overlap::parse(form.overlap_seconds)?);
    actor.must(Permission::WriteKeys)?;
    let rotate = move |tx: &mut Tx<'_>| {
        let work = |tx: &mut Tx<'_>| api_keys::rotate(tx, &actor, &hasher, id, overlap);
        let form = ("page:/keys/rotation", form.nonce.as_str());
        submit_once(tx, actor.tenant, form, work, |rotated| rotated.minted.key.id.to_string())
    };
    match state.pages.tx(Scope::Tenant(who.shell.tenant.id), rotate).await {
        Ok(IdempotencyOutcome::First(Rotated { minted, replaced })) => {
            let until = replaced.rotation.rotates_out_at.filter(|at| now < *at).map(|at| When::new(at, now));
            let replaces = Replaced { id: replaced.id.0, hint: replaced.hint, until };
            created(who.shell, minted, &who.base, Some(replaces))
        }
        Ok(IdempotencyOutcome::Again(id)) => {
            let said = "This form has already created this key, and its secret was shown only then. If the secret is lost, rotate the key.";
            see_other(&who.session, format!("{}/{id}", urls::KEYS), Flash::good(said))
        }
        Err(error) => back(&who.session, urls::key(id), error),
    }
}
