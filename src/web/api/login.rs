//! `/api/auth/login`: exchanges a password, and a code if a second factor is on, for an access token valid for one
//! hour.

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
use crate::web::tenant_param::TenantAsk;
use crate::web::throttle::Attempt;

/// Request body of a sign-in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginBody {
    /// E-mail address of the user.
    email: String,
    /// Password of the user.
    password: String,
    /// Code of the authenticator app, or a recovery code. Required if a second factor is on.
    code: Option<String>,
    /// Id of the tenant that the token is for.
    tenant_id: Option<TenantId>,
    /// Slug of the tenant that the token is for.
    tenant: Option<String>,
}

/// New access token.
#[derive(Debug, Serialize)]
pub struct SignedInBody {
    /// Token, shown only here.
    token: String,
    /// When the token expires (UTC).
    expires_at: Option<DateTime<Utc>>,
    /// Id of the user.
    user_id: UserId,
    /// Id of the token's tenant, or `null` for an instance token.
    tenant_id: Option<TenantId>,
}

/// Signs a user in. Shares the throttling counts of the sign-in page. Wrong credentials, unknown and inactive users
/// get the same response.
pub async fn create(request: HttpRequest, state: Data<State>, Json(body): Json<LoginBody>) -> Answer {
    let who = Operator { via: Via::Api, ..visitor(&request, &state) };
    let attempt = Attempt::at(&body.email, who.ip)?.by(device::known(&request, &state, &body.email));
    let trial = state.throttle.begin(&attempt, state.clock.now())?;
    let (user, has_code) = match check(&state, trial.requester(), &body).await {
        Ok(checked) => checked,
        Err(fail) => {
            // Only wrong credentials count as a failed guess. A missing code or an unchecked password does not.
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

/// Returns the user, and true if a valid code was given.
async fn check(state: &State, requester: &Requester, body: &LoginBody) -> Result<(User, bool), Fail> {
    let (email, password) = (body.email.clone(), body.password.clone());
    let credentials = state.api.read(Scope::Instance, move |tx| accounts::credentials(tx, &email)).await?;
    let user = state.run_blocking(requester, move || Ok(credentials.check(&password))).await?;
    let user = user.ok_or_else(|| refusal("unauthenticated", "the e-mail address or the password is wrong"))?;
    let id = user.id;
    if !state.api.read(Scope::Instance, move |tx| second_factor::is_on(tx, id)).await? {
        return Ok((user, false));
    }
    let says = "this account has a second factor: send the code from its app, or a recovery code, as code";
    let code = body.code.clone().ok_or_else(|| refusal("code_required", says))?;
    let (vault, asked) = (state.vault.clone(), user.clone());
    let check = move |tx: &mut Tx<'_>| second_factor::check(tx, &vault, &asked, &code);
    match state.api.tx(Scope::Instance, check).await? {
        true => Ok((user, true)),
        false => Err(refusal("unauthenticated", "this code is wrong, has expired or was already used")),
    }
}

fn refusal(code: &'static str, says: &str) -> Fail {
    Problem::new(StatusCode::UNAUTHORIZED, code, says).into()
}
