//! Documents compared with the product: the README's tour runs, the settings agree, and links and paths exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use gatepost::config::SETTINGS;
use gatepost::domain::UserId;
use gatepost::web::routes::{self, Door, Entry};
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::{Person, TestApp};

/// Time limit of the whole tour, which mostly starts python3.
const PATIENCE: Duration = Duration::from_secs(60);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the bodies of all fenced blocks with this tag.
pub fn blocks(text: &str, tag: &str) -> Vec<String> {
    let (mut found, mut open) = (Vec::new(), None::<(bool, String)>);
    for line in text.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(rest), None) => open = Some((rest == tag, String::new())),
            (Some(_), Some((is_wanted, body))) => {
                if *is_wanted {
                    found.push(body.clone());
                }
                open = None;
            }
            (None, Some((_, body))) => {
                body.push_str(line);
                body.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    found
}

/// Returns the `NAME=value` words before `make run` in the tour's start command.
fn tour_settings(readme: &str) -> Vec<(String, String)> {
    let start = blocks(readme, "console")
        .into_iter()
        .find(|block| block.contains("make run"))
        .expect("the tour says how to start");
    let words = start.split_whitespace().filter_map(|word| word.split_once('='));
    words.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[actix_web::test]
async fn the_tour_runs_as_written() {
    let readme = read("README.md");
    let settings = tour_settings(&readme);
    assert_eq!(settings.len(), 3, "{settings:?}");
    let settings: Vec<_> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let app = TestApp::start_with(&settings).await;
    let ada = app.owner("ada").await;
    let token = app.mint_token(UserId(ada.user_id), Some(app.tenant), &["*"]);
    // Background jobs of the tour are stopped at its end.
    let script = format!("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{}", blocks(&readme, "sh").concat());

    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", &script]).env("GATEPOST", &app.base).env("TOKEN", &token);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.expect("the tour ends").expect("bash starts");

    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n--- stderr ---\n{complained}");
    for fact in [
        "made pk_",
        "apiKey",
        "x-ratelimit-limit: 1000",
        "\nVALID\nINSUFFICIENT_SCOPE\n",
        "made webhook ",
        "to 1 webhook\n",
        "\"attempts\":[{",
        "signature verified: {\"type\":\"order.created\"",
        "{\"id\": 1001, \"total\": 49.90}",
        "API key revoked",
        "(401)",
    ] {
        assert!(said.contains(fact), "{fact:?} is missing:\n{said}\n--- stderr ---\n{complained}");
    }
    let webhooks = Person::with_token(&app.base, &token).get("/api/webhooks").await.json();
    assert_eq!(webhooks["data"], serde_json::json!([]), "the tour removes its webhook");
}

#[actix_web::test]
async fn readme_states_the_real_limits_of_the_free_plan() {
    let app = TestApp::start().await;
    let operator = app.operator("grace").await;
    let plans = app.instance_token_of(&operator, &["*"]).get("/api/plans").await.json();
    let free = plans["data"].as_array().unwrap().iter().find(|plan| plan["name"] == "free").unwrap();
    let limit = |name: &str| gatepost::web::view::text::grouped(free[name].as_i64().unwrap());
    let [keys, webhooks, events] = ["max_keys", "max_webhooks", "max_events_per_month"].map(limit);
    let sentence = format!("{keys} keys, {webhooks} webhooks and {events} events a month");
    assert!(read("README.md").contains(&sentence), "README should say: {sentence}");
}

#[test]
fn readme_lists_all_settings_with_their_real_defaults() {
    let row = |cells: [String; 5]| format!("| {} |", cells.join(" | "));
    let mut table = vec![
        row(["environment", "flag", "`gatepost.toml`", "default", "what it does"].map(str::to_owned)),
        "|---|---|---|---|---|".to_owned(),
    ];
    table.extend(SETTINGS.iter().map(|setting| {
        let flag = setting.flag().map_or_else(|| "–".to_owned(), |flag| format!("`--{flag}`"));
        let names = [format!("`{}`", setting.env), flag, format!("`{}`", setting.key)];
        let [env, flag, key] = names;
        row([env, flag, key, setting.default.to_owned(), setting.help.to_owned()])
    }));
    let table = table.join("\n");
    assert!(read("README.md").contains(&table), "README.md's table of settings should read:\n{table}");
}

/// Returns all documents of the project, with their paths.
fn documents() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                if name != "target" && name != "node_modules" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if name.ends_with(".md") {
                found.push((path.clone(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(4 < found.len(), "{found:?}");
    found
}

/// Returns the text without its fenced blocks.
fn prose(text: &str) -> String {
    let mut is_inside = false;
    let mut kept = String::new();
    for line in text.lines() {
        if line.starts_with("```") {
            is_inside = !is_inside;
        } else if !is_inside {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

#[test]
fn every_relative_link_leads_to_a_file() {
    let mut dead = Vec::new();
    for (path, text) in documents() {
        for rest in prose(&text).split("](").skip(1) {
            let target = rest.split(')').next().unwrap();
            let file = target.split('#').next().unwrap();
            let is_elsewhere = target.contains("://") || target.starts_with("mailto:") || file.is_empty();
            if !is_elsewhere && !path.parent().unwrap().join(file).exists() {
                dead.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
}

/// True if a word in backticks is a path in this repository.
fn is_place(word: &str) -> bool {
    const FOLDERS: [&str; 9] =
        ["src/", "tests/", "templates/", "static/", "migrations/", "docs/", "benches/", "scripts/", ".ci/"];
    FOLDERS.iter().any(|folder| word.starts_with(folder))
        && !word.contains(['<', '*', '…', ' ', '{'])
        && !word.contains("::")
}

#[test]
fn every_path_that_a_document_names_exists() {
    let mut missing = Vec::new();
    for (path, text) in documents() {
        for word in prose(&text).split('`').skip(1).step_by(2).filter(|word| is_place(word)) {
            if !root().join(word).exists() {
                missing.push(format!("{}: {word}", path.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Checks each `file.rs::name` in ARCHITECTURE.md: the file must contain the name.
#[test]
fn every_function_that_the_architecture_names_exists() {
    let text = read("ARCHITECTURE.md");
    let words: Vec<_> = prose(&text).split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let named: Vec<_> = words.iter().filter_map(|word| word.split_once(".rs::")).collect();
    assert!(10 < named.len(), "the walkthroughs name functions as `src/….rs::name`");
    let mut missing = Vec::new();
    for (file, name) in named {
        let source = read(&format!("{file}.rs"));
        let last = name.rsplit("::").next().unwrap();
        let is_said = ["fn ", "struct ", "enum ", "const ", "trait ", "mod "].iter().any(|kind| {
            source
                .match_indices(&format!("{kind}{last}"))
                .any(|(at, found)| !source[at + found.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_'))
        });
        if !is_said {
            missing.push(format!("{file}.rs::{name}"));
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// True if a route is for programs. Static files are for pages.
fn is_for_programs(entry: &Entry) -> bool {
    entry.door != Door::Page && !entry.path.starts_with("/static/")
}

#[test]
fn the_documented_routes_are_those_of_the_program() {
    let text = read("docs/api.md");
    let documented: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(route, _)| route.to_owned())
        .collect();
    let documented: BTreeSet<_> = documented.into_iter().filter(|route| route.contains(" /")).collect();
    // The document mentions these alternative paths only once.
    let is_alias = |path: &str| path.starts_with("/api/api-keys") || path.starts_with("/api-keys");
    let routes = routes::all().into_iter().filter(|entry| is_for_programs(entry) && !is_alias(&entry.path));
    let routes: BTreeSet<_> = routes.map(|entry| format!("{} {}", entry.method, entry.path)).collect();
    let (missing, gone): (Vec<_>, Vec<_>) =
        (routes.difference(&documented).collect(), documented.difference(&routes).collect());
    assert!(missing.is_empty() && gone.is_empty(), "not documented: {missing:#?}\nno such route: {gone:#?}");
}
