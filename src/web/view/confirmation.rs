//! Confirmation of a change that cannot be undone: a dialog in the page, or a page of its own without scripts.

use askama::Template;

/// Confirmation, with equal texts in the dialog and on the page.
#[derive(Debug, Clone, Template)]
#[template(path = "components/ask.html")]
pub struct Confirmation {
    /// Id of the dialog, to which its trigger points.
    pub id: String,
    /// True if shown as a page of its own.
    pub is_page: bool,
    pub title: String,
    /// Description of what will happen, in full sentences.
    pub consequence: String,
    /// URL to which the form is posted and from which the page without scripts is loaded.
    pub action: String,
    /// Label of the confirming button.
    pub verb: &'static str,
    pub is_danger: bool,
    /// Text that the user must type first, for changes that nothing can undo.
    pub typed: Option<String>,
    /// Error message for a wrong `typed`.
    pub error: Option<String>,
    pub csrf: String,
    /// URL of the Cancel link without scripts.
    pub back: String,
    /// Options of the change, such as the overlap of a rotation.
    pub choices: Vec<super::Choice>,
    pub choices_name: &'static str,
    pub choices_label: &'static str,
    /// Random value that makes a repeated submission do nothing. Empty: repetition is harmless.
    pub nonce: String,
    /// Optional note to record with the change.
    pub note: Option<Note>,
}

/// Optional line of text, such as the reason of a revocation.
#[derive(Debug, Clone)]
pub struct Note {
    pub name: &'static str,
    pub label: &'static str,
    pub help: &'static str,
    pub value: String,
    pub error: Option<String>,
}

impl askama::filters::HtmlSafe for Confirmation {}

impl Confirmation {
    pub fn new(id: impl Into<String>, title: impl Into<String>, consequence: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            is_page: false,
            title: title.into(),
            consequence: consequence.into(),
            action: String::new(),
            verb: "Confirm",
            is_danger: true,
            typed: None,
            error: None,
            csrf: String::new(),
            back: "/".to_owned(),
            choices: Vec::new(),
            choices_name: "",
            choices_label: "",
            nonce: String::new(),
            note: None,
        }
    }

    /// Sets the button's label, the URL to post to, the CSRF token, and the URL of Cancel.
    #[must_use]
    pub fn posts(mut self, verb: &'static str, action: impl Into<String>, csrf: &str, back: impl Into<String>) -> Self {
        self.verb = verb;
        self.action = action.into();
        self.csrf = csrf.to_owned();
        self.back = back.into();
        self
    }

    /// Requires the user to type this text first.
    #[must_use]
    pub fn typed(mut self, text: impl Into<String>) -> Self {
        self.typed = Some(text.into());
        self
    }

    /// Shows the confirmation again after a wrong `typed`.
    #[must_use]
    pub fn refused(mut self) -> Self {
        self.error = Some("Type the name exactly as it is shown above.".to_owned());
        self
    }

    /// Marks the change as harmless, so that its button does not warn.
    #[must_use]
    pub fn gentle(mut self) -> Self {
        self.is_danger = false;
        self
    }

    /// Makes a repeated submission do nothing.
    #[must_use]
    pub fn once(mut self, nonce: impl Into<String>) -> Self {
        self.nonce = nonce.into();
        self
    }

    /// Adds an optional note.
    #[must_use]
    pub fn noting(mut self, name: &'static str, label: &'static str, help: &'static str) -> Self {
        self.note = Some(Note { name, label, help, value: String::new(), error: None });
        self
    }

    /// Shows the confirmation again with the user's note and its error.
    #[must_use]
    pub fn note_refused(mut self, value: impl Into<String>, error: impl Into<String>) -> Self {
        if let Some(note) = &mut self.note {
            note.value = value.into();
            note.error = Some(error.into());
        }
        self
    }

    /// Adds a choice of options.
    #[must_use]
    pub fn choosing(mut self, name: &'static str, label: &'static str, choices: Vec<super::Choice>) -> Self {
        self.choices_name = name;
        self.choices_label = label;
        self.choices = choices;
        self
    }
}
