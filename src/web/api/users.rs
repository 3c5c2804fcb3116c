//! `/api/users`: users of the instance, for operators.

use actix_web::HttpResponse;
use actix_web::http::header::LOCATION;
use actix_web::web::{Data, Path};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::body::set;
use super::list::{List, PagingQuery};
use crate::domain::{Error, Noun, UserId};
use crate::gate::hashing::Requester;
use crate::model::User;
use crate::services::accounts::{self, NewUser, UserChange};
use crate::store::Scope;
use crate::web::bearer::Bearer;
use crate::web::json::{Json, NoParameters, Query};
use crate::web::problem::Answer;
use crate::web::state::State;

const READ: &str = "members:read";
const WRITE: &str = "members:write";

/// User as the API shows them.
#[derive(Debug, Serialize)]
pub struct UserBody {
    /// Id of the user.
    id: UserId,
    /// E-mail address of the user.
    email: String,
    /// Name of the user.
    name: String,
    /// True for an operator of the instance.
    is_operator: bool,
    /// False: the user is deactivated and cannot sign in.
    is_active: bool,
    /// True once the user has proved to receive mail at the address.
    is_email_confirmed: bool,
    /// When the user was created (UTC).
    created_at: DateTime<Utc>,
    /// When the user was last changed (UTC).
    updated_at: DateTime<Utc>,
}

impl From<User> for UserBody {
    fn from(row: User) -> Self {
        Self {
            id: row.id,
            email: row.email,
            name: row.name,
            is_operator: row.is_operator,
            is_active: row.is_active,
            is_email_confirmed: row.is_email_confirmed,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

pub async fn index(state: Data<State>, bearer: Bearer, Query(query): Query<PagingQuery>) -> Answer {
    bearer.operator(READ)?;
    let paging = query.paging::<UserId>()?;
    let page = state.api.read(Scope::Instance, move |tx| accounts::list(tx, &paging)).await?;
    Ok(HttpResponse::Ok().json(List::new(page.map(UserBody::from))))
}

/// Request body to create a user. Operators are not created here, only with the command line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateBody {
    /// E-mail address of the user.
    email: String,
    /// Name of the user.
    name: Option<String>,
    /// First password of the user.
    password: String,
}

pub async fn create(state: Data<State>, bearer: Bearer, Json(body): Json<CreateBody>) -> Answer {
    let who = bearer.operator(WRITE)?;
    let host = state.host();
    let parse = move || NewUser::parse(&body.email, body.name.as_deref(), &body.password, false, &[&host]);
    let ask = state.run_blocking(&Requester::Known(who.label.clone()), parse).await?;
    let user = state.api.tx(Scope::Instance, move |tx| accounts::create(tx, &who, &ask)).await?;
    let place = format!("/api/users/{}", user.id);
    Ok(HttpResponse::Created().insert_header((LOCATION, place)).json(UserBody::from(user)))
}

pub async fn show(state: Data<State>, bearer: Bearer, id: Path<String>, _: NoParameters) -> Answer {
    bearer.operator(READ)?;
    let id = parse_id(&id)?;
    let user = state.api.read(Scope::Instance, move |tx| accounts::find(tx, id)).await?;
    Ok(HttpResponse::Ok().json(UserBody::from(user)))
}

/// Request body to change a user. Omitted fields stay as they are.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateBody {
    /// Name of the user.
    #[serde(deserialize_with = "set")]
    name: Option<String>,
    /// False deactivates the user.
    #[serde(deserialize_with = "set")]
    is_active: Option<bool>,
}

pub async fn update(state: Data<State>, bearer: Bearer, id: Path<String>, Json(body): Json<UpdateBody>) -> Answer {
    let who = bearer.operator(WRITE)?;
    let id = parse_id(&id)?;
    let change = UserChange { name: body.name, is_active: body.is_active, is_operator: None };
    let user = state.api.tx(Scope::Instance, move |tx| accounts::update(tx, &who, id, change)).await?;
    Ok(HttpResponse::Ok().json(UserBody::from(user)))
}

fn parse_id(text: &str) -> Result<UserId, Error> {
    text.parse().map_err(|_| Error::NotFound(Noun::User))
}
