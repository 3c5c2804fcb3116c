//! What the page about usage shows.

use askama::Template;

use crate::web::pages::api_keys::view::{Range, Share};
use crate::web::shell::Shell;
use crate::web::view::Chart;

#[derive(Template)]
#[template(path = "usage/index.html")]
pub struct Index {
    pub shell: Shell,
    pub ranges: Vec<Range>,
    pub total: String,
    pub valid: String,
    pub refused: String,
    pub success_rate: String,
    pub chart: Chart,
    pub keys: Vec<Share>,
    pub endpoints: Vec<Share>,
    pub outcomes: Vec<Share>,
}
