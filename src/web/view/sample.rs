//! Code sample for the reader to copy, in tabs that need no script.

/// Code sample with the label of its tab.
#[derive(Debug, Clone)]
pub struct Snippet {
    pub name: &'static str,
    pub code: String,
}

impl Snippet {
    pub fn new(name: &'static str, code: impl Into<String>) -> Self {
        Self { name, code: code.into() }
    }
}
