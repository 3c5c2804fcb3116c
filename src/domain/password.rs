//! Passwords of people: at least 15 characters, or 8 beside a second factor; none that is easily guessed; kept as
//! argon2id.

use std::fmt;

use zeroize::Zeroizing;
use zxcvbn::{Score, zxcvbn};

use super::argon;
use super::error::{Rejection, Result};

const SHORTEST: usize = 15;
/// Beside a second factor.
const SHORTEST_OF_TWO: usize = 8;
/// Bytes; more would only let strangers make the server hash for longer.
const LONGEST: usize = 512;

/// A password that may be set. It is wiped from memory when dropped.
pub struct Password(Zeroizing<String>);

impl Password {
    /// One that stands alone.
    pub fn parse(text: &str) -> Result<Self, Rejection> {
        Self::parse_beside(text, false)
    }

    /// One that may be shorter where its owner has a second factor.
    pub fn parse_beside(text: &str, has_second_factor: bool) -> Result<Self, Rejection> {
        let least = if has_second_factor { SHORTEST_OF_TWO } else { SHORTEST };
        if text.chars().count() < least {
            return Err(Rejection::new(
                "too_short",
                format!("must be at least {least} characters: a few random words do well"),
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

    /// Whether it needs a second factor beside it.
    pub fn is_short(&self) -> bool {
        self.0.chars().count() < SHORTEST
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// A PHC string with a salt of its own. Takes tens of milliseconds: never on an async thread.
pub fn hash(password: &Password) -> Result<String> {
    argon::hash(password.0.as_bytes(), &[])
}

/// Whether the text is the password of this PHC string. Takes tens of milliseconds.
pub fn verify(phc: &str, text: &str) -> bool {
    text.len() <= LONGEST && argon::verify(phc, text.as_bytes(), &[])
}

/// Nobody's password: verifying against it takes as long as against anybody's, so that nobody learns which accounts exist.
pub const NOBODYS_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGF0IGFsbCAhIQ$bm8gcGFzc3dvcmQgaGFzaGVzIHRvIHRoaXMgdGV4dCE";

#[cfg(test)]
mod tests {
    use argon2::password_hash::phc::PasswordHash;

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
    fn beside_a_second_factor_eight_characters_do_and_are_remembered_as_few() {
        assert_eq!(Password::parse_beside("kV9#xQ2", true).unwrap_err().code, "too_short");
        assert_eq!(Password::parse_beside("password", true).unwrap_err().code, "too_common");
        assert_eq!(Password::parse("kV9#xQ2m!z").unwrap_err().code, "too_short");
        assert!(Password::parse_beside("kV9#xQ2m!z", true).unwrap().is_short());
        assert!(!Password::parse_beside("correct horse battery staple", true).unwrap().is_short());
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
