//! Codes of an authenticator app (RFC 6238: HMAC-SHA-1, 6 digits, steps of 30 s), and recovery codes.

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use totp_rs::{Builder, Totp};

use super::error::{Error, Result};

/// Length of a secret in bytes (RFC 4226, section 4, recommends 160 bits).
const SECRET_BYTES: usize = 20;
/// Recovery codes of one user.
pub const RECOVERY_CODES: usize = 10;
/// Characters of a recovery code: 80 bits, in an alphabet without look-alikes.
const CODE_LENGTH: usize = 16;
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
const ISSUER: &str = "Gatepost";

/// Wrong codes in a row before the first wait.
const FREE: i32 = 5;
/// Longest wait between guesses. With the password, an attacker gets a few hundred guesses a month at a million codes.
const LONGEST: TimeDelta = TimeDelta::hours(1);

/// Returns the remaining wait after `wrong` wrong codes in a row. The wait doubles from one second.
pub fn wait_after(wrong: i32, last: DateTime<Utc>, now: DateTime<Utc>) -> Option<TimeDelta> {
    let beyond = u32::try_from(wrong.checked_sub(FREE)?).ok()?;
    let open_at = last + TimeDelta::seconds(1_i64.checked_shl(beyond.min(20)).unwrap_or(i64::MAX)).min(LONGEST);
    (now < open_at).then(|| open_at - now)
}

/// Secret that an authenticator app shares with the server. It is wiped from memory when dropped.
pub struct Authenticator(Totp);

impl Authenticator {
    /// Generates a random secret.
    pub fn generate(account: &str) -> Result<Self> {
        let mut secret = [0_u8; SECRET_BYTES];
        getrandom::fill(&mut secret).map_err(|error| Error::bug(error.to_string()))?;
        Self::new(&secret, account)
    }

    /// Restores an authenticator from the bytes of its secret.
    pub fn new(secret: &[u8], account: &str) -> Result<Self> {
        // Apps read a colon as the end of the issuer's name.
        let builder = Builder::new().with_secret(secret).with_account_name(account.replace(':', "_"));
        builder.with_issuer(Some(ISSUER)).build().map(Self).map_err(|error| Error::bug(error.to_string()))
    }

    /// Returns the bytes of the secret.
    pub fn secret(&self) -> &[u8] {
        self.0.secret().as_bytes()
    }

    /// Returns the secret in base32, to type into an app.
    pub fn text(&self) -> String {
        self.0.secret().to_base32()
    }

    /// Returns the text of the QR code: `otpauth://totp/…`.
    pub fn url(&self) -> Result<String> {
        self.0.to_url().map_err(|error| Error::bug(error.to_string()))
    }

    /// Returns the time step of a code: the current one, or its neighbours, since clocks differ. `None` for a wrong
    /// code.
    pub fn step_of(&self, code: &str, now: DateTime<Utc>) -> Option<i64> {
        let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
        if code.len() != 6 || !code.bytes().all(|c| c.is_ascii_digit()) {
            return None;
        }
        let step = self.0.check(&code, u64::try_from(now.timestamp()).ok()?)?;
        i64::try_from(step).ok()
    }
}

/// Generates a random recovery code such as `k3fm-9q2x-7hbd-pw4t`.
pub fn recovery_code() -> Result<String> {
    let mut bytes = [0_u8; CODE_LENGTH];
    getrandom::fill(&mut bytes).map_err(|error| Error::bug(error.to_string()))?;
    let mut code = String::new();
    for (place, byte) in bytes.into_iter().enumerate() {
        if place != 0 && place.is_multiple_of(4) {
            code.push('-');
        }
        let letter = ALPHABET.get(usize::from(byte % 32)).copied().unwrap_or(b'a');
        code.push(char::from(letter));
    }
    Ok(code)
}

/// Returns the stored form of a recovery code, whatever its spaces, dashes and capitals. `None` if it can't be one.
pub fn recovery_digest(text: &str) -> Option<[u8; 32]> {
    let code: String = text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    (code.len() == CODE_LENGTH).then(|| Sha256::digest(code.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn codes_are_those_of_rfc_6238() {
        // Appendix B, cut to six digits.
        let app = Authenticator::new(b"12345678901234567890", "ada@example.com").unwrap();
        for (seconds, code) in
            [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (20_000_000_000, "353130")]
        {
            assert_eq!(app.step_of(code, at(seconds)), Some(seconds / 30), "{seconds}");
        }
        assert_eq!(app.step_of(" 287 082 ", at(59 + 30)), Some(1));
        assert_eq!(app.step_of("287082", at(59 + 61)), None);
        assert!(
            ["", "28708", "2870820", "28708x", "２８７０８２"].iter().all(|code| app.step_of(code, at(59)).is_none())
        );
    }

    #[test]
    fn waits_after_wrong_codes_start_late_and_grow_to_an_hour() {
        let wait = |wrong, seconds| wait_after(wrong, at(0), at(seconds)).map(|wait| wait.num_seconds());
        assert_eq!((wait(0, 0), wait(4, 0), wait(5, 0), wait(5, 1)), (None, None, Some(1), None));
        assert_eq!(
            (wait(8, 3), wait(17, 0), wait(i32::MAX, 0), wait(i32::MAX, 3_600)),
            (Some(5), Some(3_600), Some(3_600), None)
        );
    }

    #[test]
    fn the_qr_code_holds_secret_issuer_and_account() {
        let app = Authenticator::new(b"12345678901234567890", "a:b@example.com").unwrap();
        let url = app.url().unwrap();
        assert!(url.starts_with("otpauth://totp/Gatepost:") && url.contains("secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"));
        assert_eq!(app.text(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    }

    #[test]
    fn recovery_codes_match_in_any_spelling() {
        let code = recovery_code().unwrap();
        assert_eq!(code.len(), 19);
        let digest = recovery_digest(&code).unwrap();
        assert_eq!(recovery_digest(&format!(" {} ", code.replace('-', "").to_uppercase())), Some(digest));
        assert_ne!(recovery_digest(&recovery_code().unwrap()), Some(digest));
        assert!(recovery_digest("123456").is_none());
    }
}
