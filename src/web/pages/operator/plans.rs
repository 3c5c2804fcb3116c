//! Pages about plans, for operators.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use askama::Template;
use serde::Deserialize;

use super::super::{page, rendered, see_other, unprocessable};
use crate::domain::{Error, FieldErrors, Rejection, Result};
use crate::model::Plan;
use crate::services::plans::{self, PlanChange};
use crate::store::{Scope, Tx};
use crate::web::auth::SignedInAnyTenant;
use crate::web::flash::Flash;
use crate::web::forms::CheckedForm;
use crate::web::pages::api_keys::form::number;
use crate::web::problem::Answer;
use crate::web::shell::Shell;
use crate::web::state::State;
use crate::web::urls;
use crate::web::view::{form_version, text};

/// Page with the list of plans.
#[derive(Template)]
#[template(path = "operator/plans.html")]
pub struct Index {
    pub shell: Shell,
    pub rows: Vec<Row>,
}

/// Plan in the list.
pub struct Row {
    pub href: String,
    pub name: String,
    pub keys: String,
    pub webhooks: String,
    pub members: String,
    pub events: String,
    pub usual_rate: String,
    pub most_rate: String,
}

impl Row {
    fn of(plan: &Plan) -> Self {
        Self {
            href: urls::plan(&plan.name),
            name: text::capitalized(&plan.name),
            keys: limit(plan.max_keys),
            webhooks: limit(plan.max_webhooks),
            members: limit(plan.max_members),
            events: limit(plan.max_events_per_month),
            usual_rate: text::grouped(plan.default_rate_limit),
            most_rate: limit(plan.max_rate_limit),
        }
    }
}

/// Formats a limit for people.
pub fn limit(most: Option<i64>) -> String {
    most.map_or_else(|| "No limit".to_owned(), text::grouped)
}

/// Form of a plan as the browser sends it. An empty limit means unlimited.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlanForm {
    pub max_keys: String,
    pub max_webhooks: String,
    pub max_members: String,
    pub max_events_per_month: String,
    pub default_rate_limit: String,
    pub max_rate_limit: String,
    /// Time of the plan's last change when the form was filled, in microseconds since the Unix epoch.
    pub seen: String,
}

impl PlanForm {
    fn of(plan: &Plan) -> Self {
        let typed = |most: Option<i64>| most.map(|most| most.to_string()).unwrap_or_default();
        Self {
            max_keys: typed(plan.max_keys),
            max_webhooks: typed(plan.max_webhooks),
            max_members: typed(plan.max_members),
            max_events_per_month: typed(plan.max_events_per_month),
            default_rate_limit: plan.default_rate_limit.to_string(),
            max_rate_limit: typed(plan.max_rate_limit),
            seen: form_version::seen(plan.updated_at),
        }
    }

    fn change(&self) -> Result<PlanChange> {
        let mut errors = FieldErrors::default();
        let e = &mut errors;
        let change = PlanChange {
            max_keys: e.take("max_keys", optional(&self.max_keys)),
            max_webhooks: e.take("max_webhooks", optional(&self.max_webhooks)),
            max_members: e.take("max_members", optional(&self.max_members)),
            max_events_per_month: e.take("max_events_per_month", optional(&self.max_events_per_month)),
            default_rate_limit: e.take("default_rate_limit", number(&self.default_rate_limit)),
            max_rate_limit: e.take("max_rate_limit", optional(&self.max_rate_limit)),
            seen: form_version::parse(&self.seen),
        };
        if errors.is_empty() { Ok(change) } else { Err(errors.into()) }
    }
}

fn optional(text: &str) -> Result<Option<i64>, Rejection> {
    let text = text.trim();
    if text.is_empty() { Ok(None) } else { number(text).map(Some) }
}

/// Page with the form of a plan.
#[derive(Template)]
#[template(path = "operator/plan.html")]
pub struct Edit {
    pub shell: Shell,
    pub name: String,
    pub title: String,
    pub form: PlanForm,
    /// Plan as another user saved it while this form was open.
    pub meanwhile: Option<Row>,
    pub errors: FieldErrors,
}

fn edit_view(shell: Shell, plan: &Plan, form: PlanForm, errors: FieldErrors) -> Edit {
    let title = format!("Plan {}", plan.name);
    Edit { shell, name: plan.name.clone(), title, form, meanwhile: None, errors }
}

pub async fn index(state: Data<State>, SignedInAnyTenant(who): SignedInAnyTenant) -> Answer {
    who.operator()?;
    let rows = state.pages.read(Scope::Instance, |tx| plans::list(tx)).await?;
    page(&Index { shell: who.shell, rows: rows.iter().map(Row::of).collect() })
}

async fn found(state: &State, name: &str) -> Result<Plan> {
    let name = name.to_owned();
    state.pages.read(Scope::Instance, move |tx| plans::find(tx, &name)).await
}

pub async fn edit(state: Data<State>, SignedInAnyTenant(who): SignedInAnyTenant, name: Path<String>) -> Answer {
    who.operator()?;
    let plan = found(&state, &name).await?;
    page(&edit_view(who.shell, &plan, PlanForm::of(&plan), FieldErrors::default()))
}

/// Saves a plan. If another user saved it meanwhile, shows both versions; submitting again then overwrites on purpose.
pub async fn update(
    state: Data<State>,
    SignedInAnyTenant(who): SignedInAnyTenant,
    name: Path<String>,
    CheckedForm(form): CheckedForm<PlanForm>,
) -> Answer {
    let (operator, plan) = (who.operator()?, name.clone());
    let changed = match form.change() {
        Ok(change) => {
            let act = move |tx: &mut Tx<'_>| plans::update(tx, &operator, &plan, &change);
            state.pages.tx(Scope::Instance, act).await
        }
        Err(error) => Err(error),
    };
    match changed {
        Ok(plan) => {
            let said = format!("The plan {} is saved. It applies to what is created from now on.", plan.name);
            see_other(&who.session, urls::PLANS, Flash::good(said))
        }
        Err(Error::Invalid(errors)) => {
            let plan = found(&state, &name).await?;
            unprocessable(&edit_view(who.shell, &plan, form, errors))
        }
        Err(Error::Conflict(_)) => {
            let plan = found(&state, &name).await?;
            let again = PlanForm { seen: PlanForm::of(&plan).seen, ..form };
            let both = edit_view(who.shell, &plan, again, FieldErrors::default());
            rendered(StatusCode::CONFLICT, &Edit { meanwhile: Some(Row::of(&plan)), ..both })
        }
        Err(error) => Err(error.into()),
    }
}
