//! Forms of pages: reading, CSRF check and decoding.

use std::future::Future;
use std::pin::Pin;

use actix_session::SessionExt;
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use serde::de::DeserializeOwned;

use super::csrf;
use super::json::{LARGE_BODY_LIMIT, deadline_of, must_be_plain, pairs, read};
use super::problem::Fail;
use crate::domain::{Error, Rejection};

/// Extractor for a form that carries this session's CSRF token. `T` names every field except the token.
pub struct CheckedForm<T>(pub T);

impl<T: DeserializeOwned> FromRequest for CheckedForm<T> {
    type Error = Fail;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Fail>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload, session) = (request.clone(), payload.take(), request.get_session());
        Box::pin(async move {
            must_be_plain(request.head())?;
            let body = read(payload, LARGE_BODY_LIMIT, deadline_of(&request)).await?;
            let (mut token, mut fields) = (None, url::form_urlencoded::Serializer::new(String::new()));
            for (name, value) in url::form_urlencoded::parse(&body) {
                if name == csrf::FIELD {
                    token = Some(value.into_owned());
                } else if value.contains('\0') {
                    // Postgres text cannot hold NUL, and no person types it.
                    let says = "must not contain NUL characters";
                    return Err(Error::field(name, Rejection::new("control_character", says)).into());
                } else {
                    fields.append_pair(&name, &value);
                }
            }
            csrf::check(&request, &session, token.as_deref())?;
            Ok(Self(pairs(fields.finish().as_bytes())?))
        })
    }
}

/// Form of a button, with no fields except the token.
#[derive(Debug, serde::Deserialize)]
pub struct Nothing {}
