//! View types of pages: values that render themselves as the components in `templates/components`.

pub mod badge;
pub mod chart;
pub mod choice;
pub mod confirmation;
pub mod csv;
pub mod filter;
pub mod form_version;
pub mod pager;
pub mod qr;
pub mod sample;
pub mod sheets;
pub mod spark;
pub mod text;
pub mod when;

pub use badge::{Badge, Tone};
pub use chart::{Chart, Series};
pub use choice::Choice;
pub use confirmation::{Confirmation, Note};
pub use filter::Chip;
pub use pager::Pager;
pub use sample::Snippet;
pub use spark::Spark;
pub use when::When;
