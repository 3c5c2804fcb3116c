//! Sparkline for a table cell, with the numbers in its label.

use askama::Template;

use super::chart::percent;
use super::text::counted;

/// Sparkline as its template needs it.
#[derive(Debug, Clone, Template)]
#[template(path = "components/spark.html")]
pub struct Spark {
    pub label: String,
    pub bars: Vec<(usize, String, String)>,
    pub width: usize,
}

impl askama::filters::HtmlSafe for Spark {}

impl Spark {
    pub fn new(values: &[i64], noun: &str, span: &str) -> Self {
        let top = values.iter().copied().max().unwrap_or(0);
        let tall = |value: i64| if 0 < value { value.max(top / 12) } else { 0 };
        let bars = values.iter().enumerate();
        Self {
            label: format!("{} in {span}", counted(values.iter().sum(), noun)),
            bars: bars
                .map(|(index, value)| (index * 4, percent(top - tall(*value), top), percent(tall(*value), top)))
                .collect(),
            width: (values.len() * 4).max(4),
        }
    }
}
