//! Rules of plain English that a program can check.

use std::fs;
use std::path::{Path, PathBuf};

/// Words without a subject. Name who acts: an admin, a client, no user.
const VAGUE: [&str; 4] = ["somebody", "nobody", "whoever", "anybody"];
/// Vague words that are names: a Unix user.
const NAMES: [&str; 3] = ["`nobody`", "\"nobody\"", "postgres or nobody"];
/// Openings of doc comments that do not name their subject.
const OPENINGS: [&str; 13] =
    ["The same", "Of", "And", "Or", "But", "Those", "That", "Which", "Whether", "What", "Whom", "Whose", "It"];

/// Returns the files below a path of the repository that have one of these extensions.
fn files(path: &str, extensions: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(path)];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extensions.iter().any(|one| extension == *one)) {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    assert!(!found.is_empty(), "{path} holds no such file");
    found
}

fn has_word(line: &str, word: &str) -> bool {
    line.to_lowercase().split(|c: char| !c.is_alphabetic()).any(|one| one == word)
}

#[test]
fn texts_say_who_acts() {
    let mut wrong = Vec::new();
    for folder in ["src", "templates", "docs", "README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md"] {
        for (path, text) in files(folder, &["rs", "html", "md", "txt"]) {
            for (number, line) in text.lines().enumerate() {
                let is_name = NAMES.iter().any(|name| line.contains(name));
                if !is_name && VAGUE.iter().any(|word| has_word(line, word)) {
                    wrong.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// First lines of doc comments, with their numbers.
fn openings(source: &str) -> impl Iterator<Item = (usize, &str)> {
    let doc = |line: &str| ["///", "//!"].iter().any(|sign| line.starts_with(sign));
    let mut is_inside = false;
    source.lines().map(str::trim).enumerate().filter_map(move |(at, line)| {
        let is_first = doc(line) && !is_inside;
        is_inside = doc(line);
        is_first.then(|| (at + 1, line.trim_start_matches(['/', '!', ' '])))
    })
}

#[test]
fn doc_comments_begin_with_their_subject() {
    let mut wrong = Vec::new();
    for (path, source) in files("src", &["rs"]).into_iter().chain(files("benches", &["rs"])) {
        for (number, text) in openings(&source) {
            let begins = |opening: &str| text.strip_prefix(opening).is_some_and(|rest| rest.starts_with([' ', ',']));
            if let Some(opening) = OPENINGS.iter().find(|opening| begins(opening)) {
                wrong.push(format!("{}:{number} begins with \"{opening}\"", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
