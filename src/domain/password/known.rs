//! Words that an attacker tries first, and the rest of a password without them.

use icu_normalizer::DecomposingNormalizerBorrowed;

/// Fewest characters of a word: shorter ones occur in too many other words.
const SHORTEST_WORD: usize = 3;

/// Words that an attacker tries first against one user.
#[derive(Debug, Clone)]
pub struct KnownWords {
    words: Vec<String>,
    /// Words and their reverses, folded with [`folded`], the longest first.
    patterns: Vec<Vec<char>>,
}

impl KnownWords {
    /// Collects texts whole and in parts. The product's name is always among them.
    pub fn of<T: AsRef<str>>(texts: &[T]) -> Self {
        let mut words = Vec::new();
        for text in texts.iter().map(AsRef::as_ref).chain(["gatepost"]) {
            words.push(text.to_owned());
            words.extend(text.split(|c: char| !c.is_alphanumeric()).map(str::to_owned));
        }
        words.retain(|word| SHORTEST_WORD <= word.chars().count());
        let mut patterns: Vec<Vec<char>> =
            words.iter().map(|word| folded(word).into_iter().map(|(_, c)| c).collect()).collect();
        patterns.extend(patterns.clone().into_iter().map(|word| word.into_iter().rev().collect()));
        patterns.retain(|word| SHORTEST_WORD <= word.len());
        patterns.sort_by_key(|word| std::cmp::Reverse(word.len()));
        Self { words, patterns }
    }

    /// Returns the words, for an estimator.
    pub fn as_strs(&self) -> Vec<&str> {
        self.words.iter().map(String::as_str).collect()
    }

    /// Returns the rest of a text without these words; `None` if it contains none of them.
    pub fn rest(&self, text: &str) -> Option<String> {
        let mut left: Vec<Option<(usize, char)>> = folded(text).into_iter().map(Some).collect();
        let mut taken = Vec::new();
        for pattern in &self.patterns {
            let mut start = 0;
            while let Some(window) = left.get_mut(start..start + pattern.len()) {
                let is_word = window.iter().zip(pattern).all(|(one, c)| one.is_some_and(|(_, found)| found == *c));
                if is_word {
                    taken.extend(window.iter_mut().filter_map(Option::take).map(|(place, _)| place));
                }
                start += 1;
            }
        }
        let rest = text.chars().enumerate().filter(|(place, _)| !taken.contains(place)).map(|(_, c)| c);
        (!taken.is_empty()).then(|| rest.collect())
    }
}

/// Folds a text to letters and digits without case, accents and look-alikes, each with the position of its character.
fn folded(text: &str) -> Vec<(usize, char)> {
    let nfkd = DecomposingNormalizerBorrowed::new_nfkd();
    let mut found = Vec::new();
    for (place, c) in text.chars().enumerate() {
        let plain = nfkd.normalize(c.encode_utf8(&mut [0; 4])).to_lowercase();
        found.extend(plain.chars().map(look_alike).filter(|c| c.is_alphanumeric()).map(|c| (place, c)));
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
        c => c,
    }
}
