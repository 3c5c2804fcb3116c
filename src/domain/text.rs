//! Text enums (stored as TEXT, sent as strings), and checks of names, lines, slugs and JSON text.

/// Messages of Rust's own parsers, each with the message that a person gets instead.
const PARSE_ERRORS: [(&str, &str); 9] = [
    ("invalid digit found in string", "must be a whole number, as in 42"),
    ("cannot parse integer from empty string", "must be a whole number, as in 42"),
    ("number too large to fit in target type", "is too large"),
    ("number too small to fit in target type", "is too small"),
    ("number would be zero for non-zero type", "must not be 0"),
    ("invalid float literal", "must be a number, as in 1.5"),
    ("number out of range", "is too large"),
    ("invalid IP address syntax", "must be an IPv4 or IPv6 address without a port, as in 203.0.113.7"),
    ("provided string was not `true` or `false`", "must be true or false"),
];

/// Replaces a parser's message, which says what is wrong, by one that says what to write.
pub fn plain_parse_error(says: &str) -> String {
    PARSE_ERRORS.iter().fold(says.to_owned(), |says, (theirs, ours)| says.replace(theirs, ours))
}

/// Defines an enum whose variants have one spelling everywhere: database, JSON, URL, page.
#[macro_export]
macro_rules! text_enum {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord,
            diesel::expression::AsExpression, diesel::deserialize::FromSqlRow)]
        #[diesel(sql_type = diesel::sql_types::Text)]
        $vis enum $name { $($(#[$vmeta])* $variant),* }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::domain::Rejection;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    _ => Err($crate::domain::Rejection::new("choice", format!("must be one of {}", [$($text),*].join(", ")))),
                }
            }
        }

        impl diesel::serialize::ToSql<diesel::sql_types::Text, diesel::pg::Pg> for $name {
            fn to_sql<'b>(&'b self, out: &mut diesel::serialize::Output<'b, '_, diesel::pg::Pg>) -> diesel::serialize::Result {
                <str as diesel::serialize::ToSql<diesel::sql_types::Text, diesel::pg::Pg>>::to_sql(self.as_str(), out)
            }
        }

        impl diesel::deserialize::FromSql<diesel::sql_types::Text, diesel::pg::Pg> for $name {
            fn from_sql(bytes: diesel::pg::PgValue<'_>) -> diesel::deserialize::Result<Self> {
                let text = <String as diesel::deserialize::FromSql<diesel::sql_types::Text, diesel::pg::Pg>>::from_sql(bytes)?;
                Ok(text.parse::<Self>()?)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};

use super::error::Rejection;

/// Checks a name: trimmed, 1 to 100 characters, no control characters.
pub fn name(text: &str) -> Result<String, Rejection> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Rejection::required());
    }
    line(text, 100)
}

/// Checks one line of text of at most `max` characters.
pub fn line(text: &str, max: usize) -> Result<String, Rejection> {
    if max < text.chars().count() {
        return Err(Rejection::new("too_long", format!("must be at most {max} characters")));
    }
    if text.chars().any(char::is_control) {
        return Err(Rejection::new("control_character", "must not contain control characters"));
    }
    Ok(text.to_owned())
}

/// Returns a text in composed letters (NFC). Texts that people type are compared in this form.
pub fn composed(text: &str) -> String {
    ComposingNormalizerBorrowed::new_nfc().normalize(text).into_owned()
}

/// Checks a slug: `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`.
pub fn slug(text: &str) -> Result<String, Rejection> {
    let is_edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fits = (1..=LONGEST_SLUG).contains(&text.len())
        && text.chars().all(|c| is_edge(c) || c == '-')
        && text.starts_with(is_edge)
        && text.ends_with(is_edge);
    if fits {
        Ok(text.to_owned())
    } else {
        Err(Rejection::new("slug", "must be 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit"))
    }
}

/// Longest slug in bytes: that of a DNS label.
const LONGEST_SLUG: usize = 63;

/// Makes a slug from a name: `Acme Corp.` becomes `acme-corp`, `Über Größe` becomes `uber-grosse`.
pub fn slug_of(name: &str) -> String {
    let mut slug = String::new();
    // NFKD splits accented letters into a plain letter and its accents.
    let apart = DecomposingNormalizerBorrowed::new_nfkd().normalize(name);
    for c in apart.chars().flat_map(char::to_lowercase) {
        match c {
            'a'..='z' | '0'..='9' => slug.push(c),
            '\u{300}'..='\u{36f}' => {}
            c => match spelled(c) {
                "" if slug.is_empty() || slug.ends_with('-') => {}
                "" => slug.push('-'),
                letters => slug.push_str(letters),
            },
        }
    }
    slug.truncate(LONGEST_SLUG);
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "tenant".to_owned() } else { slug.to_owned() }
}

/// Returns the spelling of Latin letters that are not a plain letter with an accent.
pub(super) const fn spelled(c: char) -> &'static str {
    match c {
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'ø' => "o",
        'đ' | 'ð' => "d",
        'ł' => "l",
        'þ' => "th",
        'ı' => "i",
        _ => "",
    }
}

/// Adds a number to a slug that is taken: `acme-2`.
pub fn numbered_slug(slug: &str, number: usize) -> String {
    let end = format!("-{number}");
    let stem = slug.get(..LONGEST_SLUG.saturating_sub(end.len())).unwrap_or(slug);
    format!("{}{end}", stem.trim_end_matches('-'))
}

/// True for characters that are invisible on a page (Unicode's `Default_Ignorable_Code_Point`).
pub const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Maximum number of levels of arrays and objects in accepted JSON: a later reader must not run out of stack.
pub const DEEPEST: usize = 64;

/// Returns how deeply arrays and objects are nested in a JSON text.
pub fn json_depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut is_in_string, mut is_escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_in_string => is_escaped = true,
            b'"' => is_in_string = !is_in_string,
            b'[' | b'{' if !is_in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !is_in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Says what to change in text that is not JSON.
pub fn json_fault(text: &[u8], error: &serde_json::Error) -> &'static str {
    const FAULTS: [(&str, &str); 10] = [
        ("EOF", "the text ends too early"),
        ("trailing comma", "remove the comma before the bracket"),
        ("trailing characters", "nothing may follow the JSON value"),
        ("key must be a string", "names stand in double quotes"),
        ("expected `:`", "a colon must follow the name"),
        ("expected `,`", "a comma or the closing bracket is missing"),
        ("control character", "line breaks and tabs in text are written \\n and \\t"),
        ("invalid escape", "a backslash in text is written \\\\"),
        ("invalid number", "the number is not written as in JSON"),
        ("invalid unicode", "the text is not valid Unicode"),
    ];
    let says = error.to_string();
    if is_after_comma(text, error) {
        return "remove the comma before the bracket";
    }
    let fault = FAULTS.iter().find(|(theirs, _)| says.starts_with(theirs));
    fault.map_or("a JSON value is expected: text stands in double quotes", |(_, ours)| ours)
}

/// True for a closing bracket where another field or item is expected.
fn is_after_comma(text: &[u8], error: &serde_json::Error) -> bool {
    let line = text.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let (before, rest) = line.split_at_checked(error.column().saturating_sub(1)).unwrap_or_default();
    matches!(rest.first(), Some(b'}' | b']')) && before.trim_ascii_end().ends_with(b",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_spelled_in_plain_letters() {
        let slugs =
            ["Über Größe & Co", "Łódź Ærø", "São Paulo, S.A.", "İstanbul", "ＡＢＣ ①", "北京", "..."].map(slug_of);
        assert_eq!(slugs, ["uber-grosse-co", "lodz-aero", "sao-paulo-s-a", "istanbul", "abc-1", "tenant", "tenant"]);
        assert!([slug_of(&"é ".repeat(80)), numbered_slug(&"a-".repeat(31), 10)].iter().all(|made| slug(made).is_ok()));
        assert_eq!((numbered_slug("acme", 2).as_str(), numbered_slug(&"a".repeat(63), 12).len()), ("acme-2", 63));
    }

    #[test]
    fn brackets_in_strings_do_not_count_as_depth() {
        assert_eq!((json_depth(b"7"), json_depth(br#"{"a": [[], {}]}"#)), (0, 3));
        assert_eq!(json_depth(br#"["[[[\"[[{", "\\"]"#), 1);
    }
}
