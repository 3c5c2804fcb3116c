//! Rules for the code, checked by reading it: layers, a first sentence per file, sizes, and forbidden parts of
//! templates.

use std::fs;
use std::path::{Path, PathBuf};

/// Maximum lines of a source file and of a function.
const FILE_BUDGET: usize = 400;
const FUNCTION_BUDGET: usize = 60;

/// Modules and their layers. A module imports only lower layers, never a module of its own layer (ARCHITECTURE.md).
const LAYERS: [(&str, u8); 14] = [
    ("domain", 0),
    ("config", 1),
    ("schema", 2),
    ("model", 3),
    ("store", 4),
    ("outbound", 4),
    ("services", 5),
    ("gate", 5),
    ("web", 6),
    ("workers", 6),
    ("app", 7),
    ("cli", 8),
    ("lib", 9),
    ("main", 9),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &str, extension: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push((path.clone(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "{folder} is empty");
    found
}

fn module_of(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

fn layer_of(module: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer)
}

/// Returns the modules that a file imports by `crate::store::…`. The code does not use `use crate::{domain, …}`.
fn imported(source: &str) -> Vec<String> {
    let uses = source.split("crate::").skip(1);
    uses.map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()).collect()
}

#[test]
fn a_module_imports_only_lower_layers() {
    let mut wrong = Vec::new();
    for (path, source) in files("src", "rs") {
        let own = module_of(&path);
        let here = layer_of(&own).unwrap_or_else(|| panic!("{} stands on no floor", path.display()));
        for other in imported(&source) {
            let Some(there) = layer_of(&other) else { continue };
            if other != own && here <= there {
                wrong.push(format!("{} imports {other}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn pages_api_and_forward_auth_do_not_import_each_other() {
    for (path, source) in files("src/web", "rs") {
        let text = path.to_str().unwrap();
        for (own, other) in [
            ("/web/pages/", "web::api::"),
            ("/web/api/", "web::pages::"),
            ("/web/forward_auth", "web::api::"),
            ("/web/forward_auth", "web::pages::"),
        ] {
            assert!(!text.contains(own) || !source.contains(other), "{text} imports {other}");
        }
    }
}

#[test]
fn every_source_file_begins_with_a_module_comment() {
    for (path, source) in files("src", "rs").into_iter().chain(files("tests", "rs")) {
        if path.ends_with("src/schema.rs") {
            continue;
        }
        assert!(source.starts_with("//! "), "{} has no first sentence", path.display());
    }
}

#[test]
fn only_the_store_contains_sql_and_services_contain_no_http_status() {
    for (path, source) in files("src", "rs") {
        let own = module_of(&path);
        let code = source.split("#[cfg(test)]").next().unwrap();
        if !matches!(own.as_str(), "store" | "model" | "schema") {
            for sign in ["sql_query(", "diesel::insert_into", "diesel::update(", "diesel::delete("] {
                assert!(!code.contains(sign), "{} holds SQL: {sign}", path.display());
            }
        }
        if matches!(own.as_str(), "services" | "gate" | "store" | "domain") {
            assert!(!code.contains("actix"), "{} knows actix", path.display());
            assert!(!code.contains("StatusCode"), "{} knows HTTP statuses", path.display());
        }
    }
}

#[test]
fn lints_are_expected_with_a_reason_and_never_allowed() {
    for (path, source) in files("src", "rs") {
        assert!(!source.contains("#[allow("), "{} allows a lint: expect it, with a reason", path.display());
        for sign in ["todo!(", "unimplemented!(", "TODO", "FIXME"] {
            assert!(!source.contains(sign), "{} has a {sign}", path.display());
        }
    }
}

#[test]
fn files_and_functions_stay_below_their_maximum_size() {
    let mut large = Vec::new();
    for (path, source) in files("src", "rs") {
        if path.ends_with("schema.rs") {
            continue;
        }
        let code = source.split("#[cfg(test)]").next().unwrap();
        if FILE_BUDGET < code.lines().count() {
            large.push(format!("{}: {} lines", path.display(), code.lines().count()));
        }
        large.extend(long_functions(&path, code));
    }
    assert!(large.is_empty(), "{large:#?}");
}

/// Finds functions by indentation: rustfmt puts the closing brace in the column where the function begins.
fn long_functions(path: &Path, code: &str) -> Vec<String> {
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let text = line.trim_start();
        // The list of routes is data on one screen, not a function with steps.
        if text.starts_with("pub fn routes()") {
            continue;
        }
        let is_function = ["fn ", "pub fn ", "async fn ", "pub async fn ", "pub(super) fn ", "pub(crate) fn "];
        if !is_function.iter().any(|sign| text.starts_with(sign)) {
            continue;
        }
        let close = format!("{}}}", &line[..line.len() - text.len()]);
        let length = lines[start..].iter().position(|line| **line == close).unwrap_or(0);
        if FUNCTION_BUDGET < length {
            found.push(format!("{}:{}: {length} lines", path.display(), start + 1));
        }
    }
    found
}

#[test]
fn templates_escape_everything_and_contain_no_scripts_or_styles() {
    for (path, source) in files("templates", "html") {
        let name = path.display();
        assert!(!source.contains("|safe") && !source.contains("| safe"), "{name} prints something unescaped");
        assert!(!source.contains(" style=") && !source.contains("<style"), "{name} has inline styles");
        assert!(!source.contains(" onclick=") && !source.contains(" onsubmit="), "{name} has inline handlers");
        for script in source.split("<script").skip(1) {
            assert!(script.split('>').next().unwrap().contains("src=\"/static/js/"), "{name} has an inline script");
        }
    }
}

#[test]
fn pages_load_nothing_from_other_origins() {
    for (path, source) in
        files("templates", "html").into_iter().chain(files("static", "css")).chain(files("static", "js"))
    {
        for sign in ["src=\"http", "href=\"http", "url(http", "@import", "src=\"//"] {
            assert!(!source.contains(sign), "{} reaches out: {sign}", path.display());
        }
    }
}
