//! Lines of CSV (RFC 4180) that a spreadsheet reads as text: whatever people typed, no cell is a formula.

/// The cells as one line, with its end.
pub fn line(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| self::cell(cell)).collect();
    cells.join(",") + "\r\n"
}

/// In quotes where it must be; behind an apostrophe where a spreadsheet would calculate it.
fn cell(text: &str) -> String {
    let text = text.replace('\0', "");
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let text = if is_formula { format!("'{text}") } else { text };
    if text.contains(['"', ',', '\r', '\n', ';', '\t', '\'']) || text.trim() != text {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_no_formula_survives() {
        let written = |cell: &str| line(&[cell.to_owned()]);
        assert_eq!(line(&["a".into(), "b c".into(), String::new()]), "a,b c,\r\n");
        assert_eq!(written("say \"hi\", you"), "\"say \"\"hi\"\", you\"\r\n");
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1"] {
            let cell = written(formula);
            assert!(cell.starts_with("\"'"), "{cell:?}");
        }
        assert_eq!(written("a=b"), "a=b\r\n");
    }
}
