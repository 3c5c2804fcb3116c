//! Passwords of people: at least 15 characters, none that is easily guessed, kept as argon2id.

use std::fmt;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;
use zxcvbn::{Score, zxcvbn};

use super::error::{Error, Rejection, Result};

const SHORTEST: usize = 15;
/// Bytes; more would only let strangers make the server hash for longer.
const LONGEST: usize = 512;

/// A password that may be set. It is wiped from memory when dropped.
pub struct Password(Zeroizing<String>);

impl Password {
    pub fn parse(text: &str) -> Result<Self, Rejection> {
        if text.chars().count() < SHORTEST {
            return Err(Rejection::new(
                "too_short",
                format!("must be at least {SHORTEST} characters: a few random words do well"),
            ));
        }
        if LONGEST < text.len() {
            return Err(Rejection::new("too_long", format!("must be at most {LONGEST} bytes")));
        }
        // It estimates from a list of common passwords, names, dates, keyboard walks and repetitions.
        if zxcvbn(text, &["gatepost"]).score() < Score::Three {
            return Err(Rejection::new(
                "too_common",
                "is too easily guessed: repetitions, common words and sequences count little",
            ));
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// A PHC string with a salt of its own. Takes tens of milliseconds: never on an async thread.
pub fn hash(password: &Password) -> Result<String> {
    let phc = argon2().hash_password(password.0.as_bytes()).map_err(Error::bug)?;
    Ok(phc.to_string())
}

/// Whether the text is the password of this PHC string. Takes tens of milliseconds.
pub fn verify(phc: &str, text: &str) -> bool {
    if LONGEST < text.len() {
        return false;
    }
    PasswordHash::new(phc).is_ok_and(|phc| argon2().verify_password(text.as_bytes(), &phc).is_ok())
}

/// Nobody's password: verifying against it takes as long as against anybody's, so that nobody learns which accounts exist.
pub const NOBODYS_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGF0IGFsbCAhIQ$bm8gcGFzc3dvcmQgaGFzaGVzIHRvIHRoaXMgdGV4dCE";

/// argon2id with OWASP's parameters: 19 MiB, two passes, one lane.
fn argon2() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_common_passwords_are_refused() {
        let code = |text: &str| Password::parse(text).unwrap_err().code;
        assert_eq!(code("correct horse"), "too_short");
        assert_eq!(code(&"x".repeat(600)), "too_long");
        for common in
            ["passwordpassword", "123456789012345", "aaaaaaaaaaaaaaaaaaaa", "qwertyuiopasdfgh", "gatepostgatepost"]
        {
            assert_eq!(code(common), "too_common", "{common}");
        }
        assert!(Password::parse("correct horse battery staple").is_ok());
        assert!(Password::parse("пять слов для пароля").is_ok());
    }

    #[test]
    fn a_hash_knows_its_password() {
        let phc = hash(&Password::parse("tall grass near the river").unwrap()).unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(verify(&phc, "tall grass near the river"));
        let nobody = PasswordHash::new(NOBODYS_HASH).unwrap();
        assert_eq!(nobody.params, PasswordHash::new(&phc).unwrap().params);
        assert!(!verify(&phc, "tall grass near the sea!!") && !verify("", "") && !verify("x", "x"));
    }
}
