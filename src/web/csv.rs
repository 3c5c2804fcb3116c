//! Tables as CSV (RFC 4180), safe to open in a spreadsheet.

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};

use crate::domain::usage::GroupBy;
use crate::store::usage::GroupRow;

/// A table in the making.
#[derive(Debug, Default)]
pub struct Csv(String);

impl Csv {
    pub fn new(heads: &[&str]) -> Self {
        let mut csv = Self::default();
        csv.row(heads);
        csv
    }

    pub fn row<T: AsRef<str>>(&mut self, cells: &[T]) {
        let cells: Vec<_> = cells.iter().map(|cell| quoted(cell.as_ref())).collect();
        self.0.push_str(&cells.join(","));
        self.0.push_str("\r\n");
    }

    /// As a file with this name, which holds letters, digits, dots and dashes alone.
    pub fn download(self, name: &str) -> HttpResponse {
        HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, "text/csv; charset=utf-8"))
            .insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")))
            .insert_header((CACHE_CONTROL, "no-store"))
            .body(self.0)
    }
}

/// A breakdown of usage.
pub fn groups(rows: &[GroupRow], by: GroupBy) -> Csv {
    let mut csv = Csv::new(&[by.as_str(), "label", "total", "valid", "refused"]);
    for row in rows {
        let refused = row.total - row.valid;
        csv.row(&[&row.group, &row.label, &row.total.to_string(), &row.valid.to_string(), &refused.to_string()]);
    }
    csv
}

/// What a spreadsheet would take for a formula gets an apostrophe in front (OWASP, CSV injection).
fn quoted(cell: &str) -> String {
    let is_number = cell.parse::<f64>().is_ok();
    let is_formula = !is_number && cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if is_formula { format!("'{cell}") } else { cell.to_owned() };
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_formulas_defused() {
        let mut csv = Csv::new(&["name", "total"]);
        csv.row(&["=HYPERLINK(\"x\")", "-3"]);
        csv.row(&["a, b", ""]);
        assert_eq!(csv.0, "name,total\r\n\"'=HYPERLINK(\"\"x\"\")\",-3\r\n\"a, b\",\r\n");
    }
}
