//! Formatting of numbers, durations and names for people.

/// Formats `12345` as `12,345`.
pub fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index != 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if number < 0 { format!("-{out}") } else { out }
}

/// Formats `3600` as `1 hour` and `90` as `90 seconds`, in the largest unit that divides the number.
pub fn seconds(number: i64) -> String {
    let units = [(86_400, "day"), (3_600, "hour"), (60, "minute")];
    let unit = units.into_iter().find(|(size, _)| *size <= number && number % size == 0);
    let (size, name) = unit.unwrap_or((1, "second"));
    counted(number / size, name)
}

/// Formats a number with its noun: `1 key`, `2 keys`, `2 deliveries`.
pub fn counted(number: i64, noun: &str) -> String {
    match noun.strip_suffix('y') {
        _ if number == 1 => format!("1 {noun}"),
        Some(stem) if !stem.ends_with(['a', 'e', 'o']) => format!("{} {stem}ies", grouped(number)),
        _ => format!("{} {noun}s", grouped(number)),
    }
}

/// Formats milliseconds, from 1,000 on as seconds.
pub fn millis(number: i64) -> String {
    if number < 1_000 { format!("{number} ms") } else { format!("{}.{} s", number / 1_000, number % 1_000 / 100) }
}

/// Formats microseconds as milliseconds, with two decimals below 10 ms.
pub fn micros(number: i64) -> String {
    match number {
        ..10_000 => format!("{}.{:02} ms", number / 1_000, number % 1_000 / 10),
        _ => millis(number / 1_000),
    }
}

/// Formats bytes, from 1,024 on as KiB.
pub fn bytes(number: usize) -> String {
    if number < 1_024 {
        format!("{number} B")
    } else {
        format!("{}.{} KiB", number / 1_024, number % 1_024 * 10 / 1_024)
    }
}

/// Formats a share as percent with one decimal, such as `98.3 %`. Returns a dash if `whole` is zero.
pub fn share(part: i64, whole: i64) -> String {
    if whole <= 0 {
        return "–".to_owned();
    }
    let thousandths = part.saturating_mul(1_000) / whole;
    format!("{}.{} %", thousandths / 10, thousandths % 10)
}

/// Formats a field's name for people: `rate_limit` as `Rate limit`, `events[2]` as `Events, item 3`.
pub fn label(field: &str) -> String {
    let (name, item) = field.split_once('[').unwrap_or((field, ""));
    let name = match name {
        "url" => "URL".to_owned(),
        "allowed_ips" => "Allowed addresses".to_owned(),
        "events" => "Event types".to_owned(),
        "type" => "Event type".to_owned(),
        "" => "The form".to_owned(),
        _ => capitalized(&name.replace('_', " ")),
    };
    match item.trim_end_matches(']').parse::<usize>() {
        Ok(index) => format!("{name}, item {}", index + 1),
        Err(_) => name,
    }
}

/// Returns a field's error as a sentence, such as `Name is required.`
pub fn refusal(field: &str, detail: &str) -> String {
    let stop = if detail.ends_with(['.', '!', '?']) { "" } else { "." };
    if detail.starts_with(char::is_uppercase) || detail.starts_with("its ") {
        return format!("{}{stop}", capitalized(detail));
    }
    format!("{} {detail}{stop}", label(field))
}

/// Returns the id of the input that a field's error belongs to. An error in `events[2]` belongs to `field-events`.
pub fn anchor(field: &str) -> String {
    format!("field-{}", field.split_once('[').map_or(field, |(name, _)| name))
}

/// Returns the first letter of a name, for the mark beside it.
pub fn initial(name: &str) -> String {
    name.chars().find(|c| c.is_alphanumeric()).map_or_else(|| "•".to_owned(), |c| c.to_uppercase().collect())
}

/// Returns the text with a capital letter and a full stop.
pub fn sentence(text: &str) -> String {
    let stop = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{}{stop}", capitalized(text))
}

/// Returns the text with a capital first letter.
pub fn capitalized(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Indents JSON for reading, keeping field order and number formats. Other text stays unchanged.
pub fn pretty(text: &str) -> String {
    if serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() {
        return text.to_owned();
    }
    let mut printer = Printer::default();
    text.chars().for_each(|c| printer.take(c));
    printer.out
}

#[derive(Default)]
struct Printer {
    out: String,
    depth: usize,
    is_in_text: bool,
    is_escaped: bool,
    /// True right after an opening bracket: empty objects and arrays stay on one line.
    is_fresh: bool,
}

impl Printer {
    fn take(&mut self, c: char) {
        if self.is_in_text {
            self.out.push(c);
            self.is_in_text = self.is_escaped || c != '"';
            self.is_escaped = !self.is_escaped && c == '\\';
            return;
        }
        if c.is_whitespace() {
            return;
        }
        if matches!(c, '}' | ']') {
            self.depth = self.depth.saturating_sub(1);
            if !self.is_fresh {
                self.line();
            }
        } else if self.is_fresh {
            self.line();
        }
        self.is_fresh = matches!(c, '{' | '[');
        self.out.push(c);
        match c {
            '{' | '[' => self.depth += 1,
            ',' => self.line(),
            ':' => self.out.push(' '),
            '"' => self.is_in_text = true,
            _ => {}
        }
    }

    fn line(&mut self) {
        self.out.push('\n');
        self.out.push_str(&"  ".repeat(self.depth));
    }
}

/// Returns the items of a text field, separated by lines, commas or spaces.
pub fn items(text: &str) -> Vec<String> {
    text.split(['\n', ',', ' ']).map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// Formats a number that was counted up to `most` + 1, as `1,000+` if it exceeds `most`.
pub fn capped(number: i64, most: i64) -> String {
    if number <= most { grouped(number) } else { grouped(most) + "+" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_formatted() {
        assert_eq!(
            [grouped(0), grouped(999), grouped(1_000), grouped(-1_234_567)],
            ["0", "999", "1,000", "-1,234,567"]
        );
        assert_eq!(
            [seconds(1), seconds(90), seconds(3_600), seconds(172_800)],
            ["1 second", "90 seconds", "1 hour", "2 days"]
        );
        assert_eq!([millis(41), millis(1_250), share(983, 1_000), share(1, 0)], ["41 ms", "1.2 s", "98.3 %", "–"]);
        assert_eq!([micros(41), micros(9_876), micros(12_345)], ["0.04 ms", "9.87 ms", "12 ms"]);
        assert_eq!([bytes(12), bytes(1_536)], ["12 B", "1.5 KiB"]);
    }

    #[test]
    fn nouns_agree_with_their_number() {
        assert_eq!(
            [counted(1, "key"), counted(0, "key"), counted(2_000, "delivery")],
            ["1 key", "0 keys", "2,000 deliveries"]
        );
    }

    #[test]
    fn json_is_indented_and_otherwise_unchanged() {
        let text = r#"{"b": 1.50, "a":[{},[1,"x, \"y\": {"],[]],"c":{"d":null}}"#;
        let expected = "{\n  \"b\": 1.50,\n  \"a\": [\n    {},\n    [\n      1,\n      \"x, \\\"y\\\": {\"\n    ],\n    []\n  ],\n  \"c\": {\n    \"d\": null\n  }\n}";
        assert_eq!(pretty(text), expected);
        assert_eq!(pretty("not json"), "not json");
    }

    #[test]
    fn a_refusal_is_a_sentence_about_its_field() {
        assert_eq!(refusal("rate_limit", "must be at least 1"), "Rate limit must be at least 1.");
        assert_eq!(refusal("events[1]", "is required"), "Event types, item 2 is required.");
        assert_eq!(refusal("name", "Type the name to confirm."), "Type the name to confirm.");
        assert_eq!(anchor("events[1]"), "field-events");
    }
}
