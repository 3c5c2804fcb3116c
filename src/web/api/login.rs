//! `/api/auth/login`: a password, and a code where one is asked for, for an access token that lasts an hour.

use actix_web::http::StatusCode;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::{Result, TenantId, UserId, Via};
use crate::gate::hashing::Requester;
use crate::model::User;
use crate::services::access_tokens::{self, MintedToken};
use crate::services::tenants::TenantRef;
use crate::services::{Operator, accounts, second_factor};
use crate::store::{Scope, Tx};
use crate::web::auth::visitor;
use crate::web::device;
use crate::web::json::Json;
use crate::web::problem::{Answer, Fail, Problem};
use crate::web::state::State;
use crate::web::tenant_ask::TenantAsk;
use crate::web::throttle::Attempt;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginBody {
    email: String,
    password: String,
    /// Of the authenticator app, or a recovery code; for those who have a second factor.
    code: Option<String>,
    tenant_id: Option<TenantId>,
    tenant: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct SignedInBody {
    token: String,
    expires_at: Option<DateTime<Utc>>,
    user_id: UserId,
    /// None: for the whole instance.
    tenant_id: Option<TenantId>,
}

/// Slowed as the page is, by the same counts. Wrong credentials, unknown and inactive users get the same answer.
pub async fn create(request: HttpRequest, state: Data<State>, Json(body): Json<LoginBody>) -> Answer {
    let who = Operator { via: Via::Api, ..visitor(&request, &state) };
    let attempt = Attempt::at(&body.email, who.ip)?.by(device::known(&request, &state, &body.email));
    let trial = state.throttle.begin(&attempt, state.clock.now())?;
    let (user, has_code) = match check(&state, trial.requester(), &body).await {
        Ok(checked) => checked,
        Err(fail) => {
            // To be asked for a code is no wrong guess, and what was not looked at is none either.
            if fail.problem.code != "unauthenticated" {
                trial.take_back();
            }
            return Err(fail);
        }
    };
    trial.succeed(&attempt);
    let (asked, in_query) = (TenantAsk::new(body.tenant_id, body.tenant), TenantAsk::in_query(request.head())?);
    let named = asked.named().chain(in_query.iter().flat_map(|ask| ask.named()));
    let named: Vec<TenantRef> = named.map(|(_, named)| named).collect();
    let hasher = state.hasher.clone();
    let mint = move |tx: &mut Tx<'_>| access_tokens::mint_at_login(tx, &who, &hasher, (&user, has_code), &named);
    let MintedToken { token, secret } = state.api.tx(Scope::Instance, mint).await?;
    let body = SignedInBody {
        token: secret.reveal_once(),
        expires_at: token.expires_at,
        user_id: token.user_id,
        tenant_id: token.tenant_id,
    };
    Ok(HttpResponse::Created().insert_header((CACHE_CONTROL, "no-store")).json(body))
}

/// The user, and whether they have shown a code.
async fn check(state: &State, requester: &Requester, body: &LoginBody) -> Result<(User, bool), Fail> {
    let (email, password) = (body.email.clone(), body.password.clone());
    let credentials = state.api.read(Scope::Instance, move |tx| accounts::credentials(tx, &email)).await?;
    let user = state.off_the_loop(requester, move || Ok(credentials.check(&password))).await?;
    let user =
        user.ok_or_else(|| refusal("unauthenticated", "this e-mail address and password do not belong together"))?;
    let id = user.id;
    if !state.api.read(Scope::Instance, move |tx| second_factor::is_on(tx, id)).await? {
        return Ok((user, false));
    }
    let says = "this account has a second factor: send the code of its app, or a recovery code, as code";
    let code = body.code.clone().ok_or_else(|| refusal("code_required", says))?;
    let (vault, asked) = (state.vault.clone(), user.clone());
    let check = move |tx: &mut Tx<'_>| second_factor::check(tx, &vault, &asked, &code);
    match state.api.tx(Scope::Instance, check).await? {
        true => Ok((user, true)),
        false => Err(refusal("unauthenticated", "this is not the code of this moment: each works once")),
    }
}

fn refusal(code: &'static str, says: &str) -> Fail {
    Problem::new(StatusCode::UNAUTHORIZED, code, says).into()
}
