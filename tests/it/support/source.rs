//! Request bodies of the API, read from its source, so that tests cover new fields automatically.

use std::fs;
use std::path::{Path, PathBuf};

/// Struct of a request body, with its fields as named in JSON.
#[derive(Debug)]
pub struct RequestBody {
    pub file: String,
    pub name: String,
    pub fields: Vec<String>,
}

pub fn request_bodies() -> Vec<RequestBody> {
    let mut found = Vec::new();
    for path in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/api")) {
        let file = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if line.starts_with("#[derive(") && line.contains("Deserialize") {
                found.extend(body(&file, &mut lines));
            }
        }
    }
    assert!(20 < found.len(), "{found:?}");
    found
}

/// Request bodies whose fields have further names by serde's `alias`.
pub fn hidden_names_of_bodies() -> Vec<String> {
    let mut found = Vec::new();
    for path in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/api")) {
        let text = fs::read_to_string(&path).unwrap();
        for part in text.split("#[derive(").filter(|part| part.contains("alias = ")) {
            let name = part.split("struct ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
            if !name.ends_with("Query") {
                found.push(format!("{} {name}", path.display()));
            }
        }
    }
    found
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    files.into_iter().chain(folders.iter().flat_map(|folder| self::files(folder))).collect()
}

/// Returns the struct after a `derive`, or `None` for enums and query strings.
fn body<'a>(file: &str, lines: &mut impl Iterator<Item = &'a str>) -> Option<RequestBody> {
    let head = lines.find(|line| !line.starts_with("#[") && !line.starts_with("///"))?;
    let name = head.strip_prefix("pub ").unwrap_or(head).strip_prefix("struct ")?.split([' ', '<']).next()?.to_owned();
    if name.ends_with("Query") {
        return None;
    }
    let (mut fields, mut renamed) = (Vec::new(), None);
    for line in lines.take_while(|line| *line != "}").map(str::trim) {
        if let Some((_, rest)) = line.split_once("rename = \"") {
            renamed = rest.split('"').next().map(str::to_owned);
        } else if let Some((field, _)) = line.split_once(": ").filter(|_| !line.starts_with(['#', '/'])) {
            let field = field.strip_prefix("pub ").unwrap_or(field).to_owned();
            fields.push(renamed.take().unwrap_or(field));
        }
    }
    Some(RequestBody { file: file.to_owned(), name, fields })
}
