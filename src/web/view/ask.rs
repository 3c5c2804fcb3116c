//! A question before something that can't be undone: a dialog in the page, and a page of its own without scripts.

use askama::Template;

/// The question itself; the same words in the dialog and on the page.
#[derive(Debug, Clone, Template)]
#[template(path = "components/ask.html")]
pub struct Ask {
    /// The dialog's id, and where its trigger points.
    pub id: String,
    pub is_page: bool,
    pub title: String,
    /// What will happen, in full sentences.
    pub consequence: String,
    /// Where the form is posted, and where the page without scripts is got.
    pub action: String,
    pub verb: &'static str,
    pub is_danger: bool,
    /// What must be typed first, where nothing brings it back.
    pub typed: Option<String>,
    /// The refusal of a wrong `typed`.
    pub error: Option<String>,
    pub csrf: String,
    /// Where Cancel leads without scripts.
    pub back: String,
    /// Choices that go with the act: the overlap of a rotation.
    pub choices: Vec<super::Choice>,
    pub choices_name: &'static str,
    pub choices_label: &'static str,
    /// Makes a second sending of the same form do nothing; none where it is empty.
    pub nonce: String,
    /// A line that may be written with the act.
    pub note: Option<Note>,
}

/// An optional line of text: the reason of a revocation.
#[derive(Debug, Clone)]
pub struct Note {
    pub name: &'static str,
    pub label: &'static str,
    pub help: &'static str,
    pub value: String,
    pub error: Option<String>,
}

impl askama::filters::HtmlSafe for Ask {}

impl Ask {
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

    #[must_use]
    pub fn posts(mut self, verb: &'static str, action: impl Into<String>, csrf: &str, back: impl Into<String>) -> Self {
        self.verb = verb;
        self.action = action.into();
        self.csrf = csrf.to_owned();
        self.back = back.into();
        self
    }

    #[must_use]
    pub fn typed(mut self, text: impl Into<String>) -> Self {
        self.typed = Some(text.into());
        self
    }

    /// The question again, for somebody who typed something else.
    #[must_use]
    pub fn refused(mut self) -> Self {
        self.error = Some("Type the name exactly as it stands above.".to_owned());
        self
    }

    #[must_use]
    pub fn gentle(mut self) -> Self {
        self.is_danger = false;
        self
    }

    #[must_use]
    pub fn once(mut self, nonce: impl Into<String>) -> Self {
        self.nonce = nonce.into();
        self
    }

    #[must_use]
    pub fn noting(mut self, name: &'static str, label: &'static str, help: &'static str) -> Self {
        self.note = Some(Note { name, label, help, value: String::new(), error: None });
        self
    }

    /// The question again, with what was written and why it does not fit.
    #[must_use]
    pub fn note_refused(mut self, value: impl Into<String>, error: impl Into<String>) -> Self {
        if let Some(note) = &mut self.note {
            note.value = value.into();
            note.error = Some(error.into());
        }
        self
    }

    #[must_use]
    pub fn choosing(mut self, name: &'static str, label: &'static str, choices: Vec<super::Choice>) -> Self {
        self.choices_name = name;
        self.choices_label = label;
        self.choices = choices;
        self
    }
}
