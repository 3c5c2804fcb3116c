//! Being written.

pub mod form;
pub mod view;
