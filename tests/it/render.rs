//! Views rendered without data, with much data, and with hostile input.

mod samples;

use std::collections::BTreeSet;

use gatepost::web::routes;
use scraper::{Html, Selector};

use samples::{Kind, all};

#[test]
fn every_page_is_valid_html_with_a_title_and_one_heading() {
    for (name, html) in rendered() {
        let page = Html::parse_document(&html);
        let texts = |css: &str| texts(&page, css);
        assert!(page.errors.is_empty(), "{name}: {:?}", page.errors);
        assert_eq!(texts("h1").len(), 1, "{name} has one heading");
        assert!(!texts("title").concat().trim_start_matches(" · ").is_empty(), "{name} has a title");
        assert_eq!(texts("main").len(), 1, "{name} has a main part");
    }
}

#[test]
fn user_input_is_escaped() {
    for (name, html) in rendered() {
        let page = Html::parse_document(&html);
        let scripts: Vec<_> = select(&page, "script").iter().map(|script| script.value().attr("src")).collect();
        assert_eq!(scripts, [Some("/static/js/gatepost.js")], "{name}");
        assert!(
            select(&page, "[style], style, iframe, object, embed, [onload], [onclick], [onerror]").is_empty(),
            "{name}"
        );
        for link in select(&page, "a[href], form[action]") {
            let target = link.value().attr("href").or_else(|| link.value().attr("action")).unwrap();
            assert!(target.is_empty() || target.starts_with('/') || target.starts_with('#'), "{name}: {target}");
        }
    }
}

#[test]
fn every_field_has_a_label_and_every_id_is_unique() {
    for (name, html) in rendered() {
        let page = Html::parse_document(&html);
        let ids: Vec<_> = select(&page, "[id]").iter().filter_map(|one| one.value().attr("id")).collect();
        let unique: BTreeSet<_> = ids.iter().copied().collect();
        assert_eq!(ids.len(), unique.len(), "{name}: an id stands twice in {ids:?}");
        for field in select(&page, "input:not([type=hidden], [type=checkbox], [type=radio]), select, textarea") {
            let id = field.value().attr("id").unwrap_or_else(|| panic!("{name}: {} has no id", field.html()));
            assert!(!select(&page, &format!("label[for='{id}']")).is_empty(), "{name}: {id} has no label");
        }
        for one in select(&page, "[aria-describedby], [aria-labelledby]") {
            let of = |attribute| one.value().attr(attribute).unwrap_or_default().split_whitespace();
            for id in of("aria-describedby").chain(of("aria-labelledby")) {
                assert!(unique.contains(id), "{name}: {id} is named and missing");
            }
        }
    }
}

#[test]
fn every_link_has_a_route() {
    let routes = routes::all();
    for (name, html) in rendered() {
        let page = Html::parse_document(&html);
        let links = select(&page, "a[href^='/']").into_iter().map(|a| ("GET", a.value().attr("href").unwrap()));
        let forms = select(&page, "form[action^='/']").into_iter();
        let forms = forms.map(|form| match form.value().attr("method") {
            Some("post") => ("POST", form.value().attr("action").unwrap()),
            _ => ("GET", form.value().attr("action").unwrap()),
        });
        for (method, target) in links.chain(forms) {
            let path = target.split(['?', '#']).next().unwrap();
            let is_known = routes.iter().any(|entry| entry.method.as_str() == method && fits(&entry.path, path));
            assert!(is_known, "{name}: no route for {method} {path}");
        }
    }
}

#[test]
fn posts_carry_the_form_token() {
    for (name, html) in rendered() {
        let page = Html::parse_document(&html);
        for form in select(&page, "form[method=post]") {
            let token = form.select(&Selector::parse("input[name=_csrf]").unwrap()).next();
            assert!(
                token.is_some_and(|token| token.value().attr("value") == Some("csrf-token")),
                "{name}: {}",
                form.html()
            );
        }
    }
}

/// True if the path matches the pattern, such as `/keys/{id}`.
fn fits(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
    pattern.len() == path.len() && pattern.iter().zip(&path).all(|(want, is)| want == is || want.starts_with('{'))
}

fn rendered() -> Vec<(String, String)> {
    let kinds = [Kind::Empty, Kind::Full, Kind::Hostile];
    let pages: Vec<_> = kinds.into_iter().flat_map(all).collect();
    // Saves the pages for viewing: `GATEPOST_GALLERY=/tmp/gallery cargo nextest run render`.
    if let Ok(folder) = std::env::var("GATEPOST_GALLERY") {
        for (name, html) in &pages {
            std::fs::write(format!("{folder}/{name}.html"), html).unwrap();
        }
    }
    pages
}

fn select<'a>(page: &'a Html, css: &str) -> Vec<scraper::ElementRef<'a>> {
    page.select(&Selector::parse(css).unwrap()).collect()
}

fn texts(page: &Html, css: &str) -> Vec<String> {
    select(page, css).iter().map(|found| found.text().collect()).collect()
}
