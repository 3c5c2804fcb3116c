//! Pages of a tenant's settings, for admins, and of its deletion, for owners.

use actix_web::http::StatusCode;
use actix_web::web::Data;
use askama::Template;
use serde::Deserialize;

use super::api_keys::acts::Confirmed;
use super::{confirmations, page, rendered, see_other, unprocessable};
use crate::domain::{Actor, Error, FieldErrors, Permission, Result};
use crate::model::Tenant;
use crate::services::plans::{self, PlanUsage};
use crate::services::tenants::{self, Settings, TenantRef, life};
use crate::store::{Scope, Tx};
use crate::web::auth::SignedIn;
use crate::web::flash::Flash;
use crate::web::forms::CheckedForm;
use crate::web::problem::Answer;
use crate::web::shell::Shell;
use crate::web::state::State;
use crate::web::urls;
use crate::web::view::{Confirmation, form_version, text};

/// Page with the settings of a tenant.
#[derive(Template)]
#[template(path = "settings/edit.html")]
pub struct Edit {
    pub shell: Shell,
    pub slug: String,
    pub plan: String,
    pub used: Vec<Used>,
    pub form: SettingsForm,
    /// Settings as another user saved them while this form was open.
    pub meanwhile: Option<SettingsForm>,
    /// Confirmation to delete the tenant. Only owners have it.
    pub delete: Option<Confirmation>,
    pub errors: FieldErrors,
}

/// Use of one limit of the tenant's plan.
pub struct Used {
    pub name: &'static str,
    pub used: String,
    pub allowed: String,
    /// Used percentage of the limit. `None` without a limit.
    pub part: Option<i64>,
}

impl Used {
    fn new(name: &'static str, used: Option<i64>, most: Option<i64>) -> Self {
        let part = |(used, most): (i64, i64)| if most <= used { 100 } else { used * 100 / most.max(1) };
        Self {
            name,
            used: used.map_or_else(|| "not counted".to_owned(), text::grouped),
            allowed: most.map_or_else(|| "no limit".to_owned(), text::grouped),
            part: used.zip(most).map(part),
        }
    }

    fn all(standing: &PlanUsage) -> Vec<Self> {
        let plan = &standing.plan;
        vec![
            Self::new("Keys", Some(standing.keys), plan.max_keys),
            Self::new("Webhooks", Some(standing.webhooks), plan.max_webhooks),
            Self::new("Members", Some(standing.members), plan.max_members),
            Self::new("Events this month", standing.events, plan.max_events_per_month),
        ]
    }
}

/// Form of the settings as the browser sends it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SettingsForm {
    pub name: String,
    pub key_prefix: String,
    pub time_zone: String,
    /// Time of the settings' last change when the form was filled, in microseconds since the Unix epoch.
    pub seen: String,
}

impl SettingsForm {
    fn of(tenant: &Tenant) -> Self {
        Self {
            name: tenant.name.clone(),
            key_prefix: tenant.key_prefix.clone(),
            time_zone: tenant.time_zone.clone().unwrap_or_default(),
            seen: form_version::seen(tenant.updated_at),
        }
    }

    fn ask(&self) -> Settings {
        Settings {
            name: Some(self.name.clone()),
            key_prefix: Some(self.key_prefix.clone()),
            time_zone: Some(Some(self.time_zone.clone())),
            seen: form_version::parse(&self.seen),
        }
    }
}

async fn own(state: &State, actor: &Actor) -> Result<(Tenant, PlanUsage)> {
    let actor = actor.clone();
    let scope = Scope::Tenant(actor.tenant);
    let read =
        move |tx: &mut Tx<'_>| Ok((tenants::find(tx, &TenantRef::Id(actor.tenant))?, plans::standing(tx, &actor)?));
    state.pages.read(scope, read).await
}

fn view(shell: Shell, (tenant, standing): &(Tenant, PlanUsage), form: SettingsForm, errors: FieldErrors) -> Edit {
    Edit {
        delete: shell.rights.may(Permission::DeleteTenant).then(|| deletion(tenant, &shell.csrf)),
        slug: tenant.slug.clone(),
        plan: text::capitalized(&tenant.plan),
        used: Used::all(standing),
        meanwhile: None,
        shell,
        form,
        errors,
    }
}

fn deletion(tenant: &Tenant, csrf: &str) -> Confirmation {
    let says = "Its keys and access tokens stop working at once, and its members lose access. An operator can restore it for 30 days. Then everything is erased: keys, webhooks, events, usage and audit log.";
    Confirmation::new("delete-tenant", format!("Delete {}?", tenant.name), says)
        .posts("Delete tenant", urls::SETTINGS_DELETION, csrf, urls::SETTINGS)
        .typed(tenant.slug.as_str())
}

pub async fn edit(state: Data<State>, who: SignedIn) -> Answer {
    who.actor.must(Permission::WriteTenant)?;
    let found = own(&state, &who.actor).await?;
    page(&view(who.shell, &found, SettingsForm::of(&found.0), FieldErrors::default()))
}

/// Saves the settings. If another user saved them meanwhile, shows both versions; submitting again then overwrites on
/// purpose.
pub async fn update(state: Data<State>, who: SignedIn, CheckedForm(form): CheckedForm<SettingsForm>) -> Answer {
    let (actor, ask) = (who.actor.clone(), form.ask());
    let act = move |tx: &mut Tx<'_>| tenants::configure(tx, &actor, ask);
    match state.pages.tx(Scope::Tenant(who.actor.tenant), act).await {
        Ok(_) => see_other(&who.session, urls::SETTINGS, Flash::good("The settings are saved.")),
        Err(Error::Invalid(errors)) => {
            let found = own(&state, &who.actor).await?;
            unprocessable(&view(who.shell, &found, form, errors))
        }
        Err(Error::Conflict(_)) => {
            let found = own(&state, &who.actor).await?;
            let now = SettingsForm::of(&found.0);
            let again = SettingsForm { seen: now.seen.clone(), ..form };
            let both = Edit { meanwhile: Some(now), ..view(who.shell, &found, again, FieldErrors::default()) };
            rendered(StatusCode::CONFLICT, &both)
        }
        Err(error) => Err(error.into()),
    }
}

pub async fn ask_delete(state: Data<State>, who: SignedIn) -> Answer {
    who.actor.must(Permission::DeleteTenant)?;
    let (tenant, _) = own(&state, &who.actor).await?;
    let ask = deletion(&tenant, &who.shell.csrf);
    page(&confirmations::New::of(who.shell, ask))
}

pub async fn delete(state: Data<State>, who: SignedIn, CheckedForm(form): CheckedForm<Confirmed>) -> Answer {
    who.actor.must(Permission::DeleteTenant)?;
    let (tenant, _) = own(&state, &who.actor).await?;
    if form.confirmation.trim() != tenant.slug {
        let ask = deletion(&tenant, &who.shell.csrf).refused();
        return unprocessable(&confirmations::New::of(who.shell, ask));
    }
    let actor = who.actor;
    let db = state.pages.charged_to(tenant.id);
    db.tx(Scope::Instance, move |tx| life::delete_own(tx, &actor)).await?;
    let said = format!("{} is deleted. An operator can restore it for 30 days.", tenant.name);
    see_other(&who.session, urls::OVERVIEW, Flash::good(said))
}
