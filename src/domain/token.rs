//! Common form of API keys and access tokens: prefix, id, secret part and checksum.

use std::fmt;

use zeroize::Zeroizing;

use super::checksum;
use super::error::{Error, Result};

/// Digits of base62, in the order of their bytes.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Characters of the id, which holds 128 bits.
const ID_WIDTH: usize = 22;
/// Characters of the secret part, which holds 256 bits.
const SECRET_WIDTH: usize = 43;
/// Characters of the checksum.
const CHECKSUM_WIDTH: usize = 6;
/// Characters behind the prefix.
const BODY_WIDTH: usize = ID_WIDTH + SECRET_WIDTH + CHECKSUM_WIDTH;
/// Longest text: `<16 characters>_test_` and the body.
const LONGEST: usize = 16 + "_test_".len() + BODY_WIDTH;
/// Largest values of the two parts: 2^128 - 1 and 2^256 - 1.
const LARGEST_ID: &str = "7n42DGM5Tflk9n8mt7Fhc7";
const LARGEST_SECRET: &str = "yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1";

/// Error for a text of another form, or with a wrong checksum or value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// A whole token. It can be neither copied nor printed, and is wiped from memory when dropped.
pub struct Token {
    text: Zeroizing<String>,
    /// Position of the body.
    body: usize,
}

impl Token {
    /// Generates a random token. `stem` is everything before the last underscore: `sk`, `sk_test`, `gpat`.
    ///
    /// # Errors
    /// Fails if the operating system has no randomness to give.
    pub fn generate(stem: &str) -> Result<Self> {
        let (mut id, mut secret) = ([0; 16], Zeroizing::new([0; 32]));
        getrandom::fill(&mut id).map_err(|cause| Error::bug(cause.to_string()))?;
        getrandom::fill(secret.as_mut()).map_err(|cause| Error::bug(cause.to_string()))?;
        Ok(Self::build(stem, id, &secret))
    }

    fn build(stem: &str, id: [u8; 16], secret: &[u8; 32]) -> Self {
        let mut text = Zeroizing::new(String::with_capacity(stem.len() + 1 + BODY_WIDTH));
        text.push_str(stem);
        text.push('_');
        let body = text.len();
        encode(&mut text, &id, ID_WIDTH);
        encode(&mut text, secret, SECRET_WIDTH);
        let sum = checksum(&text);
        text.extend(sum.map(char::from));
        Self { text, body }
    }

    /// Returns the id of 22 characters.
    pub fn id(&self) -> &str {
        self.text.get(self.body..self.body + ID_WIDTH).unwrap_or_default()
    }

    /// Returns the prefix and the first four characters: `sk_3kTq`.
    pub fn beginning(&self) -> &str {
        self.text.get(..self.body + 4).unwrap_or_default()
    }

    /// Returns the part that may be shown: `sk_3kTq…9xZ2`.
    pub fn hint(&self) -> String {
        let end = self.text.get(self.text.len().saturating_sub(4)..).unwrap_or_default();
        format!("{}…{end}", self.beginning())
    }

    /// Returns the whole token, for digesting only.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Returns the whole token for the one response that shows it.
    pub fn reveal_once(self) -> String {
        self.text.to_string()
    }
}

/// Prints the hint only.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.hint())
    }
}

/// A presented text in the form of a token, with a valid checksum and valid values.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    text: &'a str,
    stem: &'a str,
    id: &'a str,
}

impl<'a> Presented<'a> {
    /// Parses a text and checks its checksum.
    pub fn parse(text: &'a str) -> Result<Self, Malformed> {
        let (stem, body) = split(text).ok_or(Malformed)?;
        // The checksum comes first: mistyped and made-up secrets need no further work.
        let (summed, sum) = text.split_at_checked(text.len() - CHECKSUM_WIDTH).ok_or(Malformed)?;
        if checksum(summed) != sum.as_bytes() {
            return Err(Malformed);
        }
        let (id, rest) = body.split_at_checked(ID_WIDTH).ok_or(Malformed)?;
        let secret = rest.get(..SECRET_WIDTH).ok_or(Malformed)?;
        // The digits are ordered by their bytes, so numbers of equal width compare like their texts.
        if id <= LARGEST_ID && secret <= LARGEST_SECRET { Ok(Self { text, stem, id }) } else { Err(Malformed) }
    }

    /// Returns the stem: `sk`, `sk_test`, `gpat` …
    pub fn stem(&self) -> &'a str {
        self.stem
    }

    /// Returns the id of 22 characters.
    pub fn id(&self) -> &'a str {
        self.id
    }

    /// Returns the whole text.
    pub fn secret(&self) -> &'a str {
        self.text
    }
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Presented({}_{}…)", self.stem, self.id.get(..4).unwrap_or_default())
    }
}

/// True if the text has the form of a token, whatever its checksum.
pub fn has_form(text: &str) -> bool {
    split(text).is_some()
}

/// True for 22 base62 characters whose value fits 128 bits.
pub fn is_id(text: &str) -> bool {
    text.len() == ID_WIDTH && text.bytes().all(|c| c.is_ascii_alphanumeric()) && text <= LARGEST_ID
}

/// Splits a token's text into stem and body: the body is its last 71 characters, after an underscore.
fn split(text: &str) -> Option<(&str, &str)> {
    if LONGEST < text.len() {
        return None;
    }
    let (front, body) = text.split_at_checked(text.len().checked_sub(BODY_WIDTH)?)?;
    let stem = front.strip_suffix('_')?;
    let is_lower = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
    let fits = !stem.is_empty() && !stem.starts_with('_') && !stem.ends_with('_') && !stem.contains("__");
    let is_ours = fits && stem.bytes().all(is_lower) && body.bytes().all(|c| c.is_ascii_alphanumeric());
    is_ours.then_some((stem, body))
}

/// Returns the CRC-32 (IEEE) in base62, six characters wide.
fn checksum(text: &str) -> [u8; CHECKSUM_WIDTH] {
    let (mut rest, mut sum) = (checksum::crc32(text.as_bytes()), [b'0'; CHECKSUM_WIDTH]);
    for digit in sum.iter_mut().rev() {
        *digit = usize::try_from(rest % 62).ok().and_then(|value| ALPHABET.get(value)).copied().unwrap_or(b'0');
        rest /= 62;
    }
    sum
}

/// Appends a big-endian number in base62, padded with `0` on the left.
fn encode(out: &mut String, bytes: &[u8], width: usize) {
    let mut number = Zeroizing::new(bytes.to_vec());
    let mut digits = Zeroizing::new(vec![b'0'; width]);
    for digit in digits.iter_mut().rev() {
        let mut rest = 0_u16;
        for byte in number.iter_mut() {
            let value = (rest << 8) | u16::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            rest = value % 62;
        }
        *digit = ALPHABET.get(usize::from(rest)).copied().unwrap_or(b'0');
    }
    out.extend(digits.iter().copied().map(char::from));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Adds a valid checksum to a body, so that only later checks can refuse it.
    fn summed(text: &str) -> String {
        format!("{text}{}", std::str::from_utf8(&checksum(text)).unwrap())
    }

    #[test]
    fn the_alphabet_goes_from_digits_over_capitals_to_small_letters() {
        let mut text = String::new();
        encode(&mut text, &[61], 2);
        encode(&mut text, &[62], 2);
        encode(&mut text, &[36], 2);
        assert_eq!(text, "0z100a");
    }

    #[test]
    fn the_checksum_is_the_crc_32_of_ieee() {
        // The check value of the CRC catalogue: "123456789" gives cbf43926 = 3421780262.
        let mut expected = String::new();
        encode(&mut expected, &0xcbf4_3926_u32.to_be_bytes(), 6);
        assert_eq!(checksum("123456789"), expected.as_bytes());
        assert_eq!(expected, "3jZRME");
    }

    #[test]
    fn a_part_whose_value_does_not_fit_is_malformed() {
        // 2^128 - 1 and 2^256 - 1 are the largest valid values.
        let largest = Token::build("sk", [255; 16], &[255; 32]);
        assert!(Presented::parse(largest.expose()).is_ok());
        assert_eq!(largest.id(), LARGEST_ID);
        let (mut most, mut zeros) = (String::new(), String::new());
        encode(&mut most, &[255; 32], SECRET_WIDTH);
        encode(&mut zeros, &[0; 32], SECRET_WIDTH);
        assert_eq!((most.as_str(), zeros), (LARGEST_SECRET, "0".repeat(43)));
        let just_over = summed(&format!("sk_{}{}2", "0".repeat(22), &LARGEST_SECRET[..42]));
        assert_eq!(Presented::parse(&just_over).unwrap_err(), Malformed);
        let id_over = summed(&format!("sk_{}{}", "7n42DGM5Tflk9n8mt7Fhc8", "0".repeat(43)));
        let secret_over = summed(&format!("sk_{}{}", "0".repeat(22), "z".repeat(43)));
        assert_eq!(Presented::parse(&id_over).unwrap_err(), Malformed);
        assert_eq!(Presented::parse(&secret_over).unwrap_err(), Malformed);
    }

    #[test]
    fn a_token_shows_no_more_than_its_hint() {
        let token = Token::build("sk_test", [1; 16], &[2; 32]);
        let text = format!("{token:?} {:?}", Presented::parse(token.expose()).unwrap());
        assert!(!text.contains(token.id()));
        assert_eq!(token.hint().chars().count(), "sk_test_".len() + 4 + 1 + 4);
    }

    proptest! {
        #[test]
        fn every_token_survives_the_round_trip(id: [u8; 16], secret: [u8; 32], test: bool) {
            let stem = if test { "fp_x_test" } else { "fp_x" };
            let token = Token::build(stem, id, &secret);
            prop_assert_eq!(token.expose().len(), stem.len() + 1 + BODY_WIDTH);
            let presented = Presented::parse(token.expose()).unwrap();
            prop_assert_eq!(presented.id(), token.id());
            prop_assert_eq!(presented.stem(), stem);
        }

        #[test]
        fn one_changed_character_is_noticed(at in 3_usize..74, to in "[0-9A-Za-z]", id: [u8; 16], secret: [u8; 32]) {
            let mut text = Token::build("sk", id, &secret).reveal_once();
            prop_assume!(text[at..=at] != to);
            text.replace_range(at..=at, &to);
            prop_assert!(Presented::parse(&text).is_err());
        }

        #[test]
        fn no_text_makes_it_stumble(text in ".{0,120}") {
            let _ = Presented::parse(&text);
            let _ = has_form(&text);
        }
    }
}
