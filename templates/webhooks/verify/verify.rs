// base64 = "0.22", hmac = "0.13", sha2 = "0.11"
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Takes the raw body: call it before you parse the body. `now` is in Unix seconds.
pub fn verify(secret: &str, id: &str, at: &str, signatures: &str, body: &[u8], now: i64) -> Result<(), &'static str> {
    let sent = at.parse::<i64>().map_err(|_| "no timestamp")?;
    if 300 < now.abs_diff(sent) {
        return Err("too old");
    }
    // A secret without the prefix whsec_ is used as it is.
    let key = match secret.strip_prefix("whsec_") {
        Some(encoded) => STANDARD.decode(encoded).map_err(|_| "not base64")?,
        None => secret.as_bytes().to_vec(),
    };
    let mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| "not a key")?;
    let mac = mac.chain_update(format!("{id}.{at}.")).chain_update(body);
    // During a rotation there are several signatures.
    let mut given = signatures.split(' ').filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok());
    if given.any(|one| mac.clone().verify_slice(&one).is_ok()) { Ok(()) } else { Err("wrong signature") }
}
