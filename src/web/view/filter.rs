//! Filters that live in the URL: what is set, as chips that take it away again.

use url::form_urlencoded::Serializer;

use crate::domain::{FieldErrors, Rejection};

/// One active filter and the address without it.
#[derive(Debug, Clone)]
pub struct Chip {
    pub name: String,
    pub value: String,
    pub without: String,
}

/// Characters of a text that is searched for: what lies beyond them narrows nothing.
const LONGEST_TEXT: usize = 200;

/// What was typed into a filter, if anything was. Postgres knows no text with a NUL in it, so nothing can match one.
pub fn text(typed: &str) -> Option<String> {
    let typed = typed.trim().chars().take(LONGEST_TEXT);
    Some(typed.map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect::<String>()).filter(|text| !text.is_empty())
}

/// Reads a filter, or notes why it cannot be read. Empty text is no filter.
pub fn read<T>(
    errors: &mut FieldErrors,
    name: &str,
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, Rejection>,
) -> Option<T> {
    let text = text.trim();
    if text.is_empty() { None } else { errors.take(name, parse(text)) }
}

/// A path with those of the parameters that say something.
pub fn href(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut query = Serializer::new(String::new());
    query.extend_pairs(parameters.iter().filter(|(_, value)| !value.is_empty()));
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// Chips for the parameters that are set, each with the words to show for its value.
pub fn chips(path: &str, parameters: &[(&str, &str)], shown: impl Fn(&str, &str) -> (String, String)) -> Vec<Chip> {
    let set = parameters.iter().filter(|(_, value)| !value.is_empty());
    set.map(|(name, value)| {
        let others: Vec<_> = parameters.iter().filter(|(other, _)| other != name).copied().collect();
        let (label, value) = shown(name, value);
        Chip { name: label, value, without: href(path, &others) }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chip_leads_to_the_list_without_its_filter() {
        let set = [("q", "a b"), ("state", "active"), ("owner", "")];
        let chips = chips("/keys", &set, |name, value| (name.to_owned(), value.to_owned()));
        let ways: Vec<_> = chips.iter().map(|chip| chip.without.as_str()).collect();
        assert_eq!(ways, ["/keys?state=active", "/keys?q=a+b"]);
    }
}
