//! Passwords of users: at least 15 characters, or 8 beside a second factor, hard to guess, and stored as argon2id
//! hashes.

mod known;

use std::fmt;

use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};
use zeroize::Zeroizing;
use zxcvbn::{Score, zxcvbn};

use super::argon;
use super::error::{Rejection, Result};
use known::KnownWords;

/// Fewest characters of a password.
const SHORTEST: usize = 15;
/// Fewest letters that a password with known words must add to them.
const LEAST_ADDED: usize = 8;
/// Fewest characters of a password beside a second factor.
const SHORTEST_OF_TWO: usize = 8;
/// Maximum number of bytes of a password: a limit on how long a stranger can make the server hash.
const LONGEST: usize = 512;
/// Maximum number of bytes before normalization, which shortens no text to less than a third.
const LONGEST_TYPED: usize = 3 * LONGEST;

/// Rules for a new password of one user.
#[derive(Debug, Clone)]
pub struct PasswordRules {
    has_second_factor: bool,
    known: KnownWords,
}

impl PasswordRules {
    /// Returns the rules for a password without a second factor.
    pub fn alone(self) -> Self {
        Self { has_second_factor: false, ..self }
    }

    /// True if the user has a second factor.
    pub const fn has_second_factor(&self) -> bool {
        self.has_second_factor
    }

    /// Creates rules. `texts` are an attacker's first guesses: the user's name and address, their tenants, this
    /// server's host.
    pub fn new<T: AsRef<str>>(has_second_factor: bool, texts: &[T]) -> Self {
        Self { has_second_factor, known: KnownWords::of(texts) }
    }
}

/// A password that fits the rules, in Unicode NFC (NIST SP 800-63B section 3.1.1.2). It is wiped from memory when
/// dropped.
pub struct Password(Zeroizing<String>);

impl Password {
    /// Checks a password. Beside a second factor it may be shorter.
    pub fn parse(text: &str, rules: &PasswordRules) -> Result<Self, Rejection> {
        let too_long = || Rejection::new("too_long", format!("must be at most {LONGEST} bytes"));
        if LONGEST_TYPED < text.len() {
            return Err(too_long());
        }
        let text = composed(text);
        let least = if rules.has_second_factor { SHORTEST_OF_TWO } else { SHORTEST };
        if text.chars().count() < least {
            return Err(Rejection::new(
                "too_short",
                format!("must be at least {least} characters: a few random words work well"),
            ));
        }
        if LONGEST < text.len() {
            return Err(too_long());
        }
        let is_weak = |text: &str| zxcvbn(text, &rules.known.as_strs()).score() < Score::Three;
        let adds_little = |rest: String| known::letters(&rest) < LEAST_ADDED || is_weak(&rest);
        if rules.known.rest(&text).is_some_and(adds_little) {
            return Err(Rejection::new(
                "too_personal",
                "is little more than your name, e-mail address, tenant or this product's name: add unrelated words",
            ));
        }
        // The estimate knows common passwords, names, dates, keyboard walks and repetitions.
        if is_weak(&text) {
            return Err(Rejection::new(
                "too_common",
                "is too easy to guess: repetitions, common words and sequences count little",
            ));
        }
        Ok(Self(text))
    }

    /// True if the password is long enough only with a second factor.
    pub fn is_short(&self) -> bool {
        self.0.chars().count() < SHORTEST
    }
}

/// Composes accented letters, which keyboards and systems write as one character or two.
fn composed(text: &str) -> Zeroizing<String> {
    Zeroizing::new(ComposingNormalizerBorrowed::new_nfc().normalize(text).into_owned())
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Hashes a password to a PHC string with a random salt. Takes tens of milliseconds: never call it on an async thread.
pub fn hash(password: &Password) -> Result<String> {
    argon::hash(password.0.as_bytes(), &[])
}

/// True if the text is the password of this PHC string. Takes tens of milliseconds, and up to three times as long with
/// accented letters: hashes made before passwords were composed hold them as they were typed.
pub fn verify(phc: &str, text: &str) -> bool {
    if LONGEST_TYPED < text.len() {
        return false;
    }
    let decomposed = DecomposingNormalizerBorrowed::new_nfd().normalize(text).into_owned();
    let mut forms = vec![composed(text), Zeroizing::new(text.to_owned()), Zeroizing::new(decomposed)];
    forms.dedup();
    forms.iter().filter(|form| form.len() <= LONGEST).any(|form| argon::verify(phc, form.as_bytes(), &[]))
}

/// Hash that no password matches. Verifying against it takes the usual time, so a caller can't find out which accounts
/// exist.
pub const DUMMY_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGF0IGFsbCAhIQ$bm8gcGFzc3dvcmQgaGFzaGVzIHRvIHRoaXMgdGV4dCE";

#[cfg(test)]
mod tests {
    use argon2::password_hash::phc::PasswordHash;

    use super::*;

    fn alone() -> PasswordRules {
        PasswordRules::new(
            false,
            &["ada.lovelace@analytical.example", "Ada Lovelace", "Engine Works", "keys.example.com"],
        )
    }

    fn beside() -> PasswordRules {
        PasswordRules::new(true, &[""])
    }

    #[test]
    fn short_and_common_passwords_are_refused() {
        let code = |text: &str| Password::parse(text, &alone()).unwrap_err().code;
        assert_eq!(code("correct horse"), "too_short");
        assert_eq!(code(&"x".repeat(600)), "too_long");
        for common in ["passwordpassword", "123456789012345", "aaaaaaaaaaaaaaaaaaaa", "qwertyuiopasdfgh"] {
            assert_eq!(code(common), "too_common", "{common}");
        }
        assert!(Password::parse("correct horse battery staple", &alone()).is_ok());
        assert!(Password::parse("пять слов для пароля", &alone()).is_ok());
    }

    #[test]
    fn passwords_from_personal_words_are_refused() {
        for personal in [
            "ada.lovelace@analytical.example",
            "Gatepost2026!Gatepost",
            "G@t3p0st-G@t3p0st-1815",
            "Ada Lovelace 1815!",
            "ADA_LOVELACE_ADA_LOVELACE",
            "Ád\u{61}\u{301} Lovelace Lovelace",
            "\u{ff21}\u{ff24}\u{ff21}lovelace123456",
            "ecalevolada.ecalevol",
            "a.d.a.l.o.v.e.l.a.c.e.1815",
            "engineworks2026!!",
            "Gatepost1990!Gatepost2026!",
            "GatepostAdmin2026!",
            "gatepost-password-1",
            "ILoveGatepost2026!",
            "Gatepost!December2026",
            "webhookswebhooks!",
            "API keys in, webhooks out",
            "localhost8821localhost",
            "Lovelace1906!Lovelace1992!",
            "EngineAdmin2026!Works",
            "keys.example.com1!",
        ] {
            let refused = Password::parse(personal, &alone()).err().map(|rejection| rejection.code);
            assert_eq!(refused, Some("too_personal"), "{personal}");
        }
        let names =
            PasswordRules::new(false, &["Αθηναίος", "Jürgen Groß", "李明", "zed@xn--bcher-kva.example", "127.0.0.1"]);
        for personal in [
            "αθηναίοςΑΘΗΝΑΙΟΣ1",
            "JurgenGross1990!!",
            "JuergenGross1990!",
            "李明李明李明1990李明李明李",
            "Bücher-Bücher-2026!",
            "127.0.0.1:8821!!!!",
        ] {
            let refused = Password::parse(personal, &names).err().map(|rejection| rejection.code);
            assert_eq!(refused, Some("too_personal"), "{personal}");
        }
    }

    #[test]
    fn good_passphrases_are_accepted() {
        for good in [
            "gatepost purple tractor sings backwards",
            "ada likes seventeen copper kettles",
            "turnkey monkeys wash the ceiling",
            "admin of nine wandering lighthouses",
            "welcome turbine marble otter",
            "пять слов для пароля",
            "紫色的拖拉机在月亮下面唱着歌向后走",
            "vK8#mPq2$wXz9!rTb4",
            "müde Wolken tragen Briefe",
        ] {
            assert!(Password::parse(good, &alone()).is_ok(), "{good}");
        }
    }

    #[test]
    fn composed_and_decomposed_letters_are_the_same_password() {
        let (composed, decomposed) =
            ("\u{e9}t\u{e9} pr\u{e8}s du lac gris", "e\u{301}te\u{301} pre\u{300}s du lac gris");
        let phc = hash(&Password::parse(decomposed, &alone()).unwrap()).unwrap();
        assert!(verify(&phc, composed) && verify(&phc, decomposed) && !verify(&phc, "ete pres du lac gris"));
        let old = argon::hash(decomposed.as_bytes(), &[]).unwrap();
        assert!(verify(&old, composed) && verify(&old, decomposed));
        let short = "e\u{301}".repeat(14);
        assert_eq!(Password::parse(&short, &alone()).unwrap_err().code, "too_short");
    }

    #[test]
    fn eight_characters_suffice_beside_a_second_factor_and_count_as_short() {
        assert_eq!(Password::parse("kV9#xQ2", &beside()).unwrap_err().code, "too_short");
        assert_eq!(Password::parse("password", &beside()).unwrap_err().code, "too_common");
        assert_eq!(Password::parse("kV9#xQ2m!z", &alone()).unwrap_err().code, "too_short");
        assert!(Password::parse("kV9#xQ2m!z", &beside()).unwrap().is_short());
        assert!(!Password::parse("correct horse battery staple", &beside()).unwrap().is_short());
    }

    #[test]
    fn a_hash_verifies_only_its_password() {
        let phc = hash(&Password::parse("tall grass near the river", &alone()).unwrap()).unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(verify(&phc, "tall grass near the river"));
        let dummy = PasswordHash::new(DUMMY_HASH).unwrap();
        assert_eq!(dummy.params, PasswordHash::new(&phc).unwrap().params);
        assert!(!verify(&phc, "tall grass near the sea!!") && !verify("", "") && !verify("x", "x"));
    }
}
