//! Tenant named by a request: by `tenant_id` or by `tenant` (a slug), in its body or its query.

use std::borrow::Cow;

use actix_web::dev::RequestHead;
use actix_web::http::Method;

use crate::domain::{Error, Rejection, Result, TenantId};
use crate::services::tenants::TenantRef;

const ID: &str = "tenant_id";
const SLUG: &str = "tenant";
/// Query parameters that writes accept besides a tenant: `probe` to activate a webhook, and `api_key` if the settings
/// allow it.
const OF_WRITES: [&str; 2] = ["probe", "api_key"];
/// Query parameters that a search accepts besides a tenant.
const SEARCH_PARAMETERS: [&str; 2] = ["limit", "offset"];

/// Tenant named by one part of a request, the body or the query.
#[derive(Debug, Clone, Default)]
pub struct TenantAsk {
    /// Id of the tenant.
    pub tenant_id: Option<TenantId>,
    /// Slug of the tenant.
    pub tenant: Option<String>,
}

impl TenantAsk {
    pub fn new(tenant_id: Option<TenantId>, tenant: Option<String>) -> Self {
        Self { tenant_id, tenant }
    }

    /// Reads the tenant from the query. Without a query, returns `None` at no cost. A write with an unknown parameter
    /// is refused, since the parameter's intent would be ignored. Lists check their own parameters.
    pub fn in_query(head: &RequestHead) -> Result<Option<Box<Self>>> {
        let Some(query) = head.uri.query() else { return Ok(None) };
        let is_read = matches!(head.method, Method::GET | Method::HEAD);
        let is_search = head.uri.path().ends_with("/search");
        let mut ask = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let is_repeated = match &*name {
                ID => ask.tenant_id.replace(id(&value)?).is_some(),
                SLUG => ask.tenant.replace(Cow::into_owned(value)).is_some(),
                other if is_read || OF_WRITES.contains(&other) => false,
                other if is_search && SEARCH_PARAMETERS.contains(&other) => false,
                _ => return Err(Error::field(name, Rejection::new("unknown", "is not a parameter of this request"))),
            };
            if is_repeated {
                return Err(Error::field(name, Rejection::new("duplicate", "must be given once")));
            }
        }
        Ok((!ask.is_empty()).then(|| Box::new(ask)))
    }

    pub fn is_empty(&self) -> bool {
        self.tenant_id.is_none() && self.tenant.is_none()
    }

    /// Returns each way in which the tenant is named, with its field.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, TenantRef)> {
        let by_id = self.tenant_id.map(|id| (ID, TenantRef::Id(id)));
        let by_slug = self.tenant.clone().map(|slug| (SLUG, TenantRef::Slug(slug)));
        by_id.into_iter().chain(by_slug)
    }

    /// True if another tenant than `own` is named.
    pub fn is_another(&self, own: TenantId, slug: &str) -> bool {
        self.tenant_id.is_some_and(|id| id != own) || self.tenant.as_deref().is_some_and(|named| named != slug)
    }
}

/// Returns a query without the tenant parameters, which `web::bearer` and `web::gated` read.
pub fn left_out(query: &str) -> String {
    let names_one =
        |pair: &&str| url::form_urlencoded::parse(pair.as_bytes()).any(|(name, _)| matches!(&*name, ID | SLUG));
    query.split('&').filter(|pair| !names_one(pair)).collect::<Vec<_>>().join("&")
}

fn id(text: &str) -> Result<TenantId> {
    text.parse().map_err(|rejection| Error::field(ID, rejection))
}
