//! CSV lines (RFC 4180) that spreadsheets read as text: no cell becomes a formula, whatever users typed.

use icu_normalizer::DecomposingNormalizerBorrowed;
use icu_normalizer::properties::CanonicalCombiningClassMapBorrowed;

use crate::domain::text::is_invisible;

/// Returns the cells as one line with its line end.
pub fn line(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| self::cell(cell)).collect();
    cells.join(",") + "\r\n"
}

/// Quotes a cell if needed. Prepends an apostrophe if a spreadsheet would evaluate it.
fn cell(text: &str) -> String {
    let text = text.replace('\0', "");
    let is_formula = text.starts_with(['\t', '\r', '\n']) || first_sign(&text).is_some_and(is_operator);
    let text = if is_formula { format!("'{text}") } else { text };
    if text.contains(['"', ',', '\r', '\n', ';', '\t', '\'']) || text.trim() != text {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

/// Returns the first visible character. Spreadsheets skip invisible ones before they look for a formula. Marks, blank and
/// unassigned characters count as invisible: an apostrophe too many does no harm.
fn first_sign(text: &str) -> Option<char> {
    let classes = CanonicalCombiningClassMapBorrowed::new();
    let is_letter = |c: char| c.is_alphanumeric() && !is_invisible(c) && classes.get_u8(c) == 0;
    text.chars().find(|c| is_letter(*c) || c.is_ascii_graphic() || is_operator(*c))
}

/// True for a character that starts a formula. Full-width, small and raised forms count as the plain character.
fn is_operator(sign: char) -> bool {
    let plain = DecomposingNormalizerBorrowed::new_nfkd().normalize_iter(std::iter::once(sign)).next();
    plain.is_some_and(|sign| matches!(sign, '=' | '+' | '-' | '@' | '\u{2212}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_formulas_are_escaped() {
        let written = |cell: &str| line(&[cell.to_owned()]);
        assert_eq!(line(&["a".into(), "b c".into(), String::new()]), "a,b c,\r\n");
        assert_eq!(written("say \"hi\", you"), "\"say \"\"hi\"\", you\"\r\n");
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1"] {
            let cell = written(formula);
            assert!(cell.starts_with("\"'"), "{cell:?}");
        }
        assert_eq!(written("a=b"), "a=b\r\n");
        let invisible = [
            "\u{200b}",
            "\u{feff}",
            "\u{a0}",
            "\u{2060}\u{202e}",
            " \t",
            "\u{ad}",
            "\u{1f}",
            "\u{3000}",
            "\u{e0020}",
            "\0",
            "\u{3164}",
            "\u{115f}",
            "\u{2800}",
            "\u{301}",
            "\u{345}",
            "\u{64b}",
            "\u{20dd}",
            "\u{fffe}",
        ];
        for (before, sign) in invisible
            .iter()
            .flat_map(|before| ["=1", "+1", "-1", "@a", "＝1", "﹦1", "⁼1", "−1"].map(|sign| (before, sign)))
        {
            let cell = written(&format!("{before}{sign}"));
            assert!(cell.starts_with("\"'") && cell.ends_with(&format!("{sign}\"\r\n")), "{cell:?}");
        }
        assert_eq!(written("\u{200b}a"), "\u{200b}a\r\n");
    }
}
