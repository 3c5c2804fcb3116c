//! Filters in a page's URL, shown as chips that remove them.

use url::form_urlencoded::Serializer;

use crate::domain::{FieldErrors, Rejection};

/// Active filter, with the URL without it.
#[derive(Debug, Clone)]
pub struct Chip {
    pub name: String,
    pub value: String,
    pub without: String,
}

/// Maximum length of a text filter in characters. The rest is ignored.
const LONGEST_TEXT: usize = 200;

/// Returns a text filter, or `None` if it is blank. NUL is replaced, since Postgres text cannot hold it.
pub fn text(typed: &str) -> Option<String> {
    let typed = typed.trim().chars().take(LONGEST_TEXT);
    Some(typed.map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect::<String>()).filter(|text| !text.is_empty())
}

/// Parses a filter, or adds an error if it is invalid. Blank text is no filter.
pub fn read<T>(
    errors: &mut FieldErrors,
    name: &str,
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, Rejection>,
) -> Option<T> {
    let text = text.trim();
    if text.is_empty() { None } else { errors.take(name, parse(text)) }
}

/// Returns the path with the parameters that are not empty.
pub fn href(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut query = Serializer::new(String::new());
    query.extend_pairs(parameters.iter().filter(|(_, value)| !value.is_empty()));
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// Returns a chip for each active filter. `shown` gives the filter's label and value as words.
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
