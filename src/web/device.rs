//! Device cookie: proof that a browser signed in to an account before. The cookie grants no access. Sign-ins with it
//! are served first under load, and failures elsewhere do not slow them.

use actix_web::body::BoxBody;
use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header::{HeaderValue, SET_COOKIE};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::state::State;
use crate::domain::{Error, Result, email};

/// How long a device stays known after its last sign-in.
const LASTS: TimeDelta = TimeDelta::days(180);
/// Number of accounts that one browser stays known for. The oldest is dropped first.
const MOST_ACCOUNTS: usize = 4;
/// Separator between the proofs in a cookie. Base64url contains no dot.
const SEPARATOR: char = '.';

/// Random id of a device. Failed sign-ins are counted by it.
pub type DeviceId = [u8; 16];

/// Proof for one account, with an HMAC over sign-in time, device id and the account's e-mail address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Proof {
    /// Time of the sign-in, in Unix seconds.
    signed_in: i64,
    device: DeviceId,
    /// HMAC-SHA256 under the master key.
    mac: [u8; 32],
}

impl Proof {
    fn new(key: &[u8], email: &str, device: DeviceId, now: DateTime<Utc>) -> Result<Self> {
        let signed_in = now.timestamp();
        let mac = mac(key, email, device, signed_in)?.finalize().into_bytes().into();
        Ok(Self { signed_in, device, mac })
    }

    fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (signed_in, rest) = bytes.split_first_chunk::<8>()?;
        let (device, mac) = rest.split_first_chunk::<16>()?;
        Some(Self { signed_in: i64::from_be_bytes(*signed_in), device: *device, mac: mac.try_into().ok()? })
    }

    fn print(&self) -> String {
        URL_SAFE_NO_PAD.encode([&self.signed_in.to_be_bytes()[..], &self.device, &self.mac].concat())
    }

    /// True if this instance made the proof for this account and it has not expired.
    fn holds(&self, key: &[u8], email: &str, now: DateTime<Utc>) -> bool {
        let age = now.timestamp().saturating_sub(self.signed_in);
        let is_recent = (0..LASTS.num_seconds()).contains(&age);
        let is_ours =
            mac(key, email, self.device, self.signed_in).is_ok_and(|mac| mac.verify(&self.mac.into()).is_ok());
        is_recent && is_ours
    }
}

fn mac(key: &[u8], email: &str, device: DeviceId, signed_in: i64) -> Result<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(Error::bug)?;
    let account = email::lookup(email);
    for part in [b"device cookie", &signed_in.to_be_bytes()[..], &device, account.as_bytes()] {
        mac.update(part);
    }
    Ok(mac)
}

/// Returns the proofs in the request's cookie, for any account, newest first.
fn proofs(request: &HttpRequest, state: &State) -> Vec<Proof> {
    let own = request.cookie(&state.cookies.device).map(|cookie| cookie.value().to_owned());
    own.iter().flat_map(|value| value.split(SEPARATOR)).filter_map(Proof::parse).take(MOST_ACCOUNTS).collect()
}

/// Returns the device id if this browser signed in to the account before.
pub fn known(request: &HttpRequest, state: &State, email: &str) -> Option<DeviceId> {
    let (key, now) = (state.settings.master_key.bytes(), state.clock.now());
    proofs(request, state).into_iter().find(|proof| proof.holds(&key[..], email, now)).map(|proof| proof.device)
}

/// `Set-Cookie` line that a handler leaves in the response's extensions for [`add_cookie`].
struct NewCookie(HeaderValue);

/// Adds the device cookie to the response, after the session cookie.
pub fn add_cookie(answer: &mut HttpResponse<BoxBody>) {
    let new = answer.extensions_mut().remove::<NewCookie>();
    if let Some(NewCookie(line)) = new {
        answer.headers_mut().append(SET_COOKIE, line);
    }
}

/// Makes the browser known for this account, through a device cookie on the response.
pub fn remember(request: &HttpRequest, state: &State, email: &str, mut answer: HttpResponse) -> Result<HttpResponse> {
    let (key, now) = (state.settings.master_key.bytes(), state.clock.now());
    let mut device = DeviceId::default();
    getrandom::fill(&mut device).map_err(|cause| Error::bug(cause.to_string()))?;
    let mut proofs = proofs(request, state);
    // Replace the proof for this account instead of adding a second one.
    proofs.retain(|proof| !proof.holds(&key[..], email, now));
    proofs.insert(0, Proof::new(&key[..], email, device, now)?);
    let proofs: Vec<_> = proofs.iter().take(MOST_ACCOUNTS).map(Proof::print).collect();
    let cookie = Cookie::build(state.cookies.device.as_str(), proofs.join(&SEPARATOR.to_string()))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(state.is_https())
        .max_age(Duration::seconds(LASTS.num_seconds()))
        .finish();
    let line = cookie.to_string().parse().map_err(|_| Error::bug("the device cookie is no header"))?;
    answer.extensions_mut().insert(NewCookie(line));
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"a master key of this instance";
    const NOW: DateTime<Utc> = DateTime::<Utc>::UNIX_EPOCH;

    fn ada() -> Proof {
        Proof::new(KEY, "ada@example.com", [7; 16], NOW).unwrap()
    }

    #[test]
    fn a_proof_survives_the_cookie_and_holds_for_its_account_in_any_case() {
        let read = Proof::parse(&ada().print()).unwrap();
        assert_eq!(read, ada());
        assert!(read.holds(KEY, " ADA@example.com", NOW));
    }

    #[test]
    fn a_proof_holds_for_no_other_account() {
        assert!(!ada().holds(KEY, "dan@example.com", NOW));
    }

    #[test]
    fn a_proof_of_another_instance_is_worthless() {
        assert!(!ada().holds(b"another master key", "ada@example.com", NOW));
    }

    #[test]
    fn a_changed_proof_is_worthless() {
        let text = ada().print();
        for at in 0..text.len() {
            let changed = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
            let forged = [&text[..at], changed, &text[at + 1..]].concat();
            let holds = Proof::parse(&forged).is_some_and(|proof| proof.holds(KEY, "ada@example.com", NOW));
            assert!(!holds, "{forged}");
        }
        for junk in ["", "x", "AAAA", &text[1..], &format!("{text}AA")] {
            assert_eq!(Proof::parse(junk), None, "{junk}");
        }
    }

    #[test]
    fn a_proof_holds_for_half_a_year() {
        assert!(ada().holds(KEY, "ada@example.com", NOW + TimeDelta::days(179)));
        assert!(!ada().holds(KEY, "ada@example.com", NOW + TimeDelta::days(180)));
        assert!(!ada().holds(KEY, "ada@example.com", NOW - TimeDelta::days(1)));
    }
}
