//! Secrets that are invalid, each in another way.

use gatepost::domain::api_key::{Environment, KeyPrefix, KeySecret};

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Returns a well-formed secret of no key.
pub fn unknown() -> String {
    KeySecret::generate(&KeyPrefix::parse("sk").unwrap(), Environment::Live).unwrap().reveal_once()
}

/// Returns a well-formed secret with the id of the first one and the secret part of the second one.
pub fn with_id_of(one: &str, other: &str) -> String {
    let front = format!("{}{}", &one[..25], &other[25..68]);
    let mut sum = crc32fast::hash(front.as_bytes());
    let mut digits = Vec::new();
    for _ in 0..6 {
        digits.push(char::from(ALPHABET[sum as usize % 62]));
        sum /= 62;
    }
    format!("{front}{}", digits.iter().rev().collect::<String>())
}

/// Returns the secret with another last character.
pub fn mistyped(secret: &str) -> String {
    let last = if secret.ends_with('0') { "1" } else { "0" };
    format!("{}{last}", &secret[..secret.len() - 1])
}
