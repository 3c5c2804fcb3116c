//! Pages, as people use them.

mod sessions;
mod setup;
