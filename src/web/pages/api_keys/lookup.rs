//! Key lookup. The form is posted, so that no secret gets into a URL.

use actix_web::web::Data;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::show;
use super::view::Lookup;
use crate::domain::{FieldErrors, Permission, Rejection};
use crate::store::Scope;
use crate::web::auth::SignedIn;
use crate::web::forms::CheckedForm;
use crate::web::lookup::{self, LookupResult};
use crate::web::pages::{go, page, unprocessable};
use crate::web::problem::Answer;
use crate::web::state::State;
use crate::web::urls;

pub async fn new(who: SignedIn) -> Answer {
    who.actor.must(Permission::ReadKeys)?;
    page(&Lookup { shell: who.shell, errors: FieldErrors::default(), rows: Vec::new(), said: String::new() })
}

/// Form of a lookup. The text may be a secret, so this type cannot be printed.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LookupForm {
    clue: String,
}

/// Redirects to the key, or shows why none was found. The pasted text is not shown again.
pub async fn create(state: Data<State>, who: SignedIn, CheckedForm(form): CheckedForm<LookupForm>) -> Answer {
    who.actor.must(Permission::ReadKeys)?;
    let (clue, now) = (Zeroizing::new(form.clue), state.clock.now());
    let finding = lookup::find(&state, &state.pages, Scope::Tenant(who.shell.tenant.id), &clue).await?;
    let said = finding.sentence();
    let mut errors = FieldErrors::default();
    match &finding {
        LookupResult::Key(key) => return go(urls::key(key.id)),
        LookupResult::Several(_) | LookupResult::Deleted(_) => {}
        _ => errors.add("clue", Rejection::new("lookup", said.clone())),
    }
    let is_refused = !errors.is_empty();
    let rows = finding.into_keys().into_iter().map(|key| show::named(key, now)).collect();
    let view = Lookup { shell: who.shell, said: if is_refused { String::new() } else { said }, errors, rows };
    if is_refused { unprocessable(&view) } else { page(&view) }
}
