//! Style sheet of all pages, joined from one file per component.

/// Joined style sheets, in the order of the cascade.
pub const JOINED: &str = concat!(
    include_str!("../../../static/css/tokens.css"),
    include_str!("../../../static/css/base.css"),
    include_str!("../../../static/css/layout.css"),
    include_str!("../../../static/css/components/bulk.css"),
    include_str!("../../../static/css/components/button.css"),
    include_str!("../../../static/css/components/badge.css"),
    include_str!("../../../static/css/components/card.css"),
    include_str!("../../../static/css/components/changes.css"),
    include_str!("../../../static/css/components/chart.css"),
    include_str!("../../../static/css/components/chips.css"),
    include_str!("../../../static/css/components/code.css"),
    include_str!("../../../static/css/components/copy.css"),
    include_str!("../../../static/css/components/dialog.css"),
    include_str!("../../../static/css/components/empty.css"),
    include_str!("../../../static/css/components/flash.css"),
    include_str!("../../../static/css/components/form.css"),
    include_str!("../../../static/css/components/nav.css"),
    include_str!("../../../static/css/components/page-head.css"),
    include_str!("../../../static/css/components/pager.css"),
    include_str!("../../../static/css/components/qr.css"),
    include_str!("../../../static/css/components/reveal.css"),
    include_str!("../../../static/css/components/table.css"),
    include_str!("../../../static/css/components/timeline.css"),
);

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_style_sheet_is_included() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("static/css");
        let mut joined = 0;
        for folder in [root.clone(), root.join("components")] {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
                let sheet = fs::read_to_string(entry.path()).unwrap();
                assert!(JOINED.contains(&sheet), "{}", entry.path().display());
                joined += sheet.len();
            }
        }
        assert_eq!(joined, JOINED.len());
    }
}
