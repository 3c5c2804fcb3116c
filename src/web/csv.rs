//! CSV files: building a table and offering it for download.

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};

use crate::domain::usage::GroupBy;
use crate::store::usage::GroupRow;
use crate::web::view::csv::line;

/// CSV text under construction.
#[derive(Debug, Default)]
pub struct Csv(String);

impl Csv {
    pub fn new(heads: &[&str]) -> Self {
        let mut csv = Self::default();
        csv.row(heads);
        csv
    }

    pub fn row<T: AsRef<str>>(&mut self, cells: &[T]) {
        let cells: Vec<_> = cells.iter().map(|cell| cell.as_ref().to_owned()).collect();
        self.0.push_str(&line(&cells));
    }

    /// Responds with the table as a file. `name` contains only letters, digits, dots and dashes.
    pub fn download(self, name: &str) -> HttpResponse {
        HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, "text/csv; charset=utf-8"))
            .insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")))
            .insert_header((CACHE_CONTROL, "no-store"))
            .body(self.0)
    }
}

/// Builds the table of a usage breakdown.
pub fn groups(rows: &[GroupRow], by: GroupBy) -> Csv {
    let mut csv = Csv::new(&[by.as_str(), "label", "total", "valid", "refused"]);
    for row in rows {
        let refused = row.total - row.valid;
        csv.row(&[&row.group, &row.label, &row.total.to_string(), &row.valid.to_string(), &refused.to_string()]);
    }
    csv
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_line_for_each_row() {
        let mut csv = Csv::new(&["name", "total"]);
        csv.row(&["a, b", "3"]);
        assert_eq!(csv.0, "name,total\r\n\"a, b\",3\r\n");
    }
}
