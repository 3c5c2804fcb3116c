//! Option of a select, a radio group or a set of check boxes.

/// Option with its value and label.
#[derive(Debug, Clone)]
pub struct Choice {
    pub value: String,
    pub label: String,
    pub help: String,
    pub is_chosen: bool,
}

impl Choice {
    pub fn new(value: impl Into<String>, label: impl Into<String>, chosen: &str) -> Self {
        let value = value.into();
        Self { is_chosen: value == chosen, value, label: label.into(), help: String::new() }
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    /// Returns options from pairs of value and label.
    pub fn list(pairs: &[(&str, &str)], chosen: &str) -> Vec<Self> {
        pairs.iter().map(|(value, label)| Self::new(*value, *label, chosen)).collect()
    }
}
