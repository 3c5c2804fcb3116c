//! Words that an attacker tries first, and the rest of a password without them.

use icu_normalizer::DecomposingNormalizerBorrowed;

use crate::domain::text::spelled;

/// Fewest letters of a word: shorter ones occur in too many other words. An ideograph counts as [`IDEOGRAPH`] letters.
const SHORTEST_WORD: usize = 3;
/// Letters of the alphabet that one ideograph is worth.
const IDEOGRAPH: usize = 3;
/// Words about the product and its addresses, beside those of the person.
const PRODUCT: [&str; 5] = ["gatepost", "webhooks", "webhook", "api keys", "localhost"];
/// Words that people add to their name where a password must be long. Alone they tell nothing about the person.
const FILLERS: [&str; 19] = [
    "administrator",
    "password",
    "passwort",
    "welcome",
    "iloveyou",
    "secret",
    "admin",
    "login",
    "january",
    "february",
    "march",
    "april",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Words that an attacker tries first against one user.
#[derive(Debug, Clone)]
pub struct KnownWords {
    words: Vec<String>,
    /// Words and their reverses, folded with [`folded`], the longest first.
    patterns: Vec<Vec<char>>,
    /// [`FILLERS`], folded likewise.
    fillers: Vec<Vec<char>>,
}

impl KnownWords {
    /// Collects texts whole and in parts. Words about the product are always among them.
    pub fn of<T: AsRef<str>>(texts: &[T]) -> Self {
        let mut words: Vec<String> = PRODUCT.map(str::to_owned).to_vec();
        for text in texts.iter().map(AsRef::as_ref) {
            // Domains are stored in ASCII, and typed in letters.
            let unicode = text.rsplit_once('@').map_or(text, |(_, domain)| domain);
            for text in [text, &url::quirks::domain_to_unicode(unicode)] {
                words.push(text.to_owned());
                words.extend(text.split(|c: char| !c.is_alphanumeric()).map(str::to_owned));
            }
        }
        words.sort_unstable();
        words.dedup();
        words.retain(|word| SHORTEST_WORD <= weight(word.chars()));
        let mut patterns: Vec<Vec<char>> =
            words.iter().flat_map(|word| [pattern(word), pattern(&umlauts(word))]).collect();
        patterns.extend(patterns.clone().into_iter().map(|word| word.into_iter().rev().collect()));
        patterns.retain(|word| SHORTEST_WORD <= weight(word.iter().copied()));
        patterns.sort_by_key(|word| std::cmp::Reverse(word.len()));
        Self { words, patterns, fillers: FILLERS.map(pattern).to_vec() }
    }

    /// Returns the words, for an estimator.
    pub fn as_strs(&self) -> Vec<&str> {
        self.words.iter().map(String::as_str).collect()
    }

    /// Returns the rest of a text without these words and fillers; `None` if it contains none of the words.
    pub fn rest(&self, text: &str) -> Option<String> {
        let mut left: Vec<Option<(usize, char)>> = folded(text).into_iter().map(Some).collect();
        let mut taken = Self::take(&self.patterns, &mut left);
        if taken.is_empty() {
            return None;
        }
        taken.extend(Self::take(&self.fillers, &mut left));
        Some(text.chars().enumerate().filter(|(place, _)| !taken.contains(place)).map(|(_, c)| c).collect())
    }

    /// Takes all occurrences of these patterns out of a folded text, and returns their places in the original one.
    fn take(patterns: &[Vec<char>], left: &mut [Option<(usize, char)>]) -> Vec<usize> {
        let mut taken = Vec::new();
        for pattern in patterns {
            let mut start = 0;
            while let Some(window) = left.get_mut(start..start + pattern.len()) {
                let is_word = window.iter().zip(pattern).all(|(one, c)| one.is_some_and(|(_, found)| found == *c));
                if is_word {
                    taken.extend(window.iter_mut().filter_map(Option::take).map(|(place, _)| place));
                }
                start += 1;
            }
        }
        taken
    }
}

/// Counts the letters of a text, in letters of the alphabet. Digits and signs count nothing.
pub fn letters(text: &str) -> usize {
    weight(text.chars().filter(|c| c.is_alphabetic()))
}

fn weight(chars: impl Iterator<Item = char>) -> usize {
    chars.map(|c| if ('\u{2e80}'..='\u{9fff}').contains(&c) || '\u{f900}' <= c { IDEOGRAPH } else { 1 }).sum()
}

fn pattern(word: &str) -> Vec<char> {
    folded(word).into_iter().map(|(_, c)| c).collect()
}

/// Writes umlauts as two letters, as in `Juergen`.
fn umlauts(word: &str) -> String {
    word.to_lowercase().replace('ä', "ae").replace('ö', "oe").replace('ü', "ue")
}

/// Folds a text to letters and digits without case, accents and look-alikes, each with the position of its character.
fn folded(text: &str) -> Vec<(usize, char)> {
    let nfkd = DecomposingNormalizerBorrowed::new_nfkd();
    let mut found = Vec::new();
    for (place, c) in text.chars().enumerate() {
        let plain = nfkd.normalize(c.encode_utf8(&mut [0; 4])).to_lowercase();
        for c in plain.chars() {
            let letters = if spelled(c).is_empty() { look_alike(c).to_string() } else { spelled(c).to_owned() };
            found.extend(letters.chars().filter(|c| c.is_alphanumeric()).map(|c| (place, c)));
        }
    }
    found
}

/// Returns the letter that a sign is often used for.
const fn look_alike(c: char) -> char {
    match c {
        '0' => 'o',
        '1' | 'l' | '!' | '|' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' | '+' => 't',
        'ς' => 'σ',
        c => c,
    }
}
