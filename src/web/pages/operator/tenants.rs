//! Pages about tenants, for operators: list, creation, details and changes. `acts` suspends and deletes tenants.

pub mod acts;
pub mod view;

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::super::paging::PagePlace;
use super::super::{page, rendered, see_other, unprocessable};
use crate::domain::tenant::TenantState;
use crate::domain::{Error, FieldErrors, Result, TenantId};
use crate::model::Tenant;
use crate::services::tenants::{self, NewTenant, PLANS, TenantChange, TenantFigures, TenantFilter};
use crate::store::{Scope, Tx};
use crate::web::auth::{SignedIn, SignedInAnyTenant};
use crate::web::flash::Flash;
use crate::web::forms::CheckedForm;
use crate::web::json::Query;
use crate::web::problem::Answer;
use crate::web::shell::Shell;
use crate::web::state::State;
use crate::web::urls;
use crate::web::view::{Badge, Choice, Pager, When, filter, form_version, text};
use view::{Facts, Index, New, NewForm, Row, Show, TenantForm};

const ROWS: i64 = 50;

/// URL parameters of the list.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Listing {
    q: String,
    state: String,
    #[serde(flatten)]
    place: PagePlace,
}

pub async fn index(
    state: Data<State>,
    SignedInAnyTenant(mut who): SignedInAnyTenant,
    Query(asked): Query<Listing>,
) -> Answer {
    who.operator()?;
    let mut ignored = asked.place.noted::<TenantId>();
    let state_asked = filter::read(&mut ignored, "state", &asked.state, str::parse);
    who.shell.note_ignored(&ignored);
    let (paging, now) = (asked.place.paging::<TenantId>(ROWS), state.clock.now());
    let wanted = TenantFilter { text: filter::text(&asked.q), state: state_asked, ..TenantFilter::default() };
    let read = move |tx: &mut Tx<'_>| tenants::page(tx, &wanted, &paging);
    let found = state.pages.read(Scope::Instance, read).await?;
    let set = [("q", asked.q.trim()), ("state", asked.state.as_str())];
    page(&Index {
        pager: Pager::new(urls::TENANTS, &set, &found),
        chips: filter::chips(urls::TENANTS, &set, |name, value| match name {
            "q" => ("Search".to_owned(), value.to_owned()),
            _ => ("Status".to_owned(), text::capitalized(value)),
        }),
        rows: found.rows.into_iter().map(|(tenant, figures)| row(tenant, figures, now)).collect(),
        states: states(&asked.state),
        search: asked.q,
        shell: who.shell,
    })
}

fn states(chosen: &str) -> Vec<Choice> {
    let any = Choice::new("", "All but deleted", chosen);
    let each =
        TenantState::ALL.iter().map(|state| Choice::new(state.as_str(), text::capitalized(state.as_str()), chosen));
    std::iter::once(any).chain(each).collect()
}

fn row(tenant: Tenant, figures: TenantFigures, now: DateTime<Utc>) -> Row {
    Row {
        href: urls::tenant(tenant.id),
        state: Badge::state(tenant.state().as_str()),
        keys: text::grouped(figures.keys),
        webhooks: text::grouped(figures.webhooks),
        members: text::grouped(figures.members),
        active: When::maybe(figures.last_activity_at, now),
        name: tenant.name,
        slug: tenant.slug,
        plan: tenant.plan,
    }
}

fn plans(chosen: &str) -> Vec<Choice> {
    PLANS.iter().map(|plan| Choice::new(*plan, text::capitalized(plan), chosen)).collect()
}

pub async fn new(state: Data<State>, SignedInAnyTenant(who): SignedInAnyTenant) -> Answer {
    who.operator()?;
    let plan = state.pages.read(Scope::Instance, |tx| tenants::default_plan(tx)).await?.to_owned();
    page(&blank(who.shell, NewForm { plan, ..NewForm::default() }, FieldErrors::default()))
}

fn blank(shell: Shell, form: NewForm, errors: FieldErrors) -> New {
    New { shell, plans: plans(&form.plan), form, errors }
}

pub async fn create(
    state: Data<State>,
    SignedInAnyTenant(who): SignedInAnyTenant,
    CheckedForm(form): CheckedForm<NewForm>,
) -> Answer {
    let operator = who.operator()?;
    let plan = Some(form.plan.as_str()).filter(|plan| !plan.is_empty());
    let made = match NewTenant::parse(&form.name, Some(form.slug.trim()), plan) {
        Ok(ask) => state.pages.tx(Scope::Instance, move |tx| tenants::create(tx, &operator, &ask)).await,
        Err(error) => Err(error),
    };
    match made {
        Ok(tenant) => {
            let said = format!("{} is created. Enter it to invite its owner.", tenant.name);
            see_other(&who.session, urls::tenant(tenant.id), Flash::good(said))
        }
        Err(Error::Invalid(errors)) => unprocessable(&blank(who.shell, form, errors)),
        Err(error) => Err(error.into()),
    }
}

/// Returns a tenant, deleted or not, with its figures.
async fn found(state: &State, id: TenantId) -> Result<(Tenant, TenantFigures)> {
    let read = move |tx: &mut Tx<'_>| Ok((tenants::find_any(tx, id)?, tenants::figures(tx, id)?));
    state.pages.read(Scope::Instance, read).await
}

pub async fn show(state: Data<State>, SignedInAnyTenant(who): SignedInAnyTenant, id: Path<TenantId>) -> Answer {
    who.operator()?;
    let found = found(&state, *id).await?;
    page(&detail(who, found, None, FieldErrors::default(), state.clock.now()))
}

fn detail(
    who: SignedIn,
    (tenant, figures): (Tenant, TenantFigures),
    form: Option<TenantForm>,
    errors: FieldErrors,
    now: DateTime<Utc>,
) -> Show {
    let form = form.unwrap_or_else(|| TenantForm::of(&tenant));
    Show {
        facts: Facts {
            state: Badge::state(tenant.state().as_str()),
            keys: text::grouped(figures.keys),
            webhooks: text::grouped(figures.webhooks),
            members: text::grouped(figures.members),
            active: When::maybe(figures.last_activity_at, now),
            made: When::new(tenant.created_at, now),
            suspended: When::maybe(tenant.suspended_at, now),
            reason: tenant.suspended_reason.clone(),
            erased: When::maybe(tenant.erased_at(), now),
        },
        is_stale: false,
        is_suspended: tenant.suspended_at.is_some(),
        is_deleted: tenant.deleted_at.is_some(),
        suspend: acts::suspension(&tenant, &who.shell.csrf),
        delete: acts::deletion(&tenant, &who.shell.csrf),
        resume: urls::tenant_act(tenant.id, "activation"),
        restore: urls::tenant_act(tenant.id, "restoration"),
        plans: plans(&form.plan),
        id: tenant.id.0,
        name: tenant.name,
        slug: tenant.slug,
        shell: who.shell,
        form,
        errors,
    }
}

pub async fn update(
    state: Data<State>,
    SignedInAnyTenant(who): SignedInAnyTenant,
    id: Path<TenantId>,
    CheckedForm(form): CheckedForm<TenantForm>,
) -> Answer {
    let (operator, id, now) = (who.operator()?, *id, state.clock.now());
    let change = TenantChange {
        name: Some(form.name.clone()),
        plan: Some(form.plan.clone()),
        is_active: None,
        seen: form_version::parse(&form.seen),
    };
    let act = move |tx: &mut Tx<'_>| tenants::update(tx, &operator, id, change);
    match state.pages.tx(Scope::Instance, act).await {
        Ok(tenant) => see_other(&who.session, urls::tenant(id), Flash::good(format!("{} is saved.", tenant.name))),
        Err(Error::Invalid(errors)) => {
            let found = found(&state, id).await?;
            unprocessable(&detail(who, found, Some(form), errors, now))
        }
        // The current values are shown above the form. Submitting it again then overwrites them on purpose.
        Err(Error::Conflict(_)) => {
            let found = found(&state, id).await?;
            let again = TenantForm { seen: TenantForm::of(&found.0).seen, ..form };
            let view = detail(who, found, Some(again), FieldErrors::default(), now);
            rendered(StatusCode::CONFLICT, &Show { is_stale: true, ..view })
        }
        Err(error) => Err(error.into()),
    }
}
