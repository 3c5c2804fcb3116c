//! The style sheets, in the order of the cascade.

pub const ALL: [&str; 20] = [
    "tokens",
    "base",
    "layout",
    "components/button",
    "components/badge",
    "components/card",
    "components/chart",
    "components/chips",
    "components/code",
    "components/copy",
    "components/dialog",
    "components/empty",
    "components/flash",
    "components/form",
    "components/nav",
    "components/page-head",
    "components/pager",
    "components/reveal",
    "components/table",
    "components/timeline",
];
