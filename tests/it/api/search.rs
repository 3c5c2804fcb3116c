//! Search by name, in any case, spelling or script.

use diesel::prelude::*;
use diesel::sql_types::{Array, Text};
use gatepost::domain::text;
use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::json;
use url::form_urlencoded::byte_serialize;

use crate::support::{Person, TestApp};

const NAMES: [&str; 35] = [
    "ΟΔΟΣ ΑΘΗΝΑΣ",
    "İstanbul",
    "ısparta",
    "🚀",
    "👩‍🚀 crew",
    "a🚀b",
    "Straße",
    "GROẞ",
    "ＡＢＣ１２３",
    "Ame\u{301}lie",
    "Zażółć gęślą",
    "東京サーバー",
    "がぎぐ",
    "서울 서버",
    "Việt Nam",
    "สวัสดี",
    "नमस्ते दुनिया",
    "שָׁלוֹם",
    "مُحَمَّد",
    "ᾳδης",
    "ﬁxture",
    "x",
    "日",
    "ci_deploy-bot",
    "100%_done",
    "---",
    "***!",
    "'; --\\",
    "C++",
    "zero\u{200b}width",
    "\u{200b}",
    "™ & ©",
    "R – D & co.",
    "Ϲaſe Ⅷ",
    "x\u{301}\u{302}\u{303}y",
];

fn forms(name: &str) -> Vec<String> {
    let nfd = DecomposingNormalizerBorrowed::new_nfd().normalize(name).into_owned();
    let nfc = ComposingNormalizerBorrowed::new_nfc().normalize(name).into_owned();
    let mut forms = vec![name.to_owned(), nfd, nfc, name.to_uppercase(), name.to_lowercase()];
    forms.extend(name.split_whitespace().map(str::to_owned));
    forms
}

fn query(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}

/// Searches the list for all forms of each name, and expects to find the name.
async fn assert_all_found(program: &Person, list: &str, names: &[&str]) {
    for name in names {
        for form in forms(name) {
            let found = program.get(format!("{list}q={}&limit=100", query(&form))).await.assert_ok().json();
            let found: Vec<_> = found["data"].as_array().unwrap().iter().map(|row| row["name"].clone()).collect();
            assert!(found.iter().any(|found| found == name), "{form:?} finds no {name:?} in {list}, but {found:?}");
        }
    }
}

#[actix_web::test]
async fn every_key_is_found_by_the_forms_of_its_name() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let program = app.token_of(&ada, &["*"]);
    for name in NAMES {
        program.post_json("/api/keys", json!({"name": name})).await.assert_status(201);
    }
    assert_all_found(&program, "/api/keys?", &NAMES).await;
    let page = ada.visit(format!("/keys?q={}", query("οδοσ"))).await.assert_ok().html();
    assert!(page.all_text().contains("ΟΔΟΣ ΑΘΗΝΑΣ"));
}

#[actix_web::test]
async fn every_key_is_found_across_tenants_by_the_forms_of_its_name() {
    let app = TestApp::start().await;
    let program = app.token_of(&app.admin("ada").await, &["*"]);
    for name in NAMES {
        program.post_json("/api/keys", json!({"name": name})).await.assert_status(201);
    }
    let olga = app.operator("olga").await;
    assert_all_found(&app.instance_token_of(&olga, &["*"]), "/api/keys?", &NAMES).await;
}

#[actix_web::test]
async fn a_search_for_symbols_or_ideographs_finds_only_the_same_ones() {
    let app = TestApp::start().await;
    let program = app.token_of(&app.admin("ada").await, &["*"]);
    for name in ["🚀", "🛰", "---", "***", "東京", "京都", "100%", "100_"] {
        program.post_json("/api/keys", json!({"name": name})).await.assert_status(201);
    }
    for name in ["🚀", "---", "東京"] {
        let found = program.get(format!("/api/keys?q={}", query(name))).await.assert_ok().json();
        assert_eq!(found["data"].as_array().unwrap().len(), 1, "{name}");
    }
}

#[actix_web::test]
async fn webhooks_and_tenants_are_found_by_the_forms_of_their_names() {
    let app = TestApp::start().await;
    let olga = app.operator("olga").await;
    let (program, instance) = (app.token_of(&app.admin("ada").await, &["*"]), app.instance_token_of(&olga, &["*"]));
    let names = &NAMES[..5];
    for name in names {
        let webhook = json!({"name": name, "url": "https://example.com/hook", "events": ["*"]});
        program.post_json("/api/webhooks", webhook).await.assert_status(201);
        instance.post_json("/api/tenants", json!({"name": name})).await.assert_status(201);
    }
    assert_all_found(&program, "/api/webhooks?", names).await;
    assert_all_found(&instance, "/api/tenants?", names).await;
}

#[actix_web::test]
async fn members_and_users_are_found_by_the_forms_of_their_names() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let olga = app.operator("olga").await;
    let instance = app.instance_token_of(&olga, &["*"]);
    let program = app.token_of(&ada, &["*"]);
    for (index, name) in NAMES[..5].iter().enumerate() {
        let email = format!("person{index}@b\u{fc}cher.example");
        let user = json!({"email": email, "name": name, "password": crate::support::people::PASSWORD});
        let user = instance.post_json("/api/users", user).await.assert_status(201).json();
        let member = json!({"user_id": user["id"], "role": "viewer"});
        instance.post_json("/api/tenants/1/members", member).await.assert_status(201);
    }
    assert_all_found(&program, "/api/tenants/1/members?", &NAMES[..5]).await;
    for place in ["/members", "/operator/users"] {
        for form in [&query("οδος αθηνας"), &query("PERSON0@bücher.example")] {
            let page = olga.visit(format!("{place}?q={form}")).await.assert_ok().html();
            assert!(page.all_text().contains("ΟΔΟΣ ΑΘΗΝΑΣ"), "{place} {form}");
        }
    }
}

fn words(conn: &mut PgConnection, texts: &[String]) -> Vec<Vec<String>> {
    #[derive(QueryableByName)]
    struct Words {
        #[diesel(sql_type = Array<Text>)]
        words: Vec<String>,
    }
    let query =
        diesel::sql_query("SELECT search_words(t) AS words FROM unnest($1) WITH ORDINALITY AS a (t, n) ORDER BY n");
    let rows: Vec<Words> = query.bind::<Array<Text>, _>(texts).load(conn).unwrap();
    rows.into_iter().map(|row| row.words).collect()
}

/// True if a search for `searched` finds a text with the words `stored`.
fn finds(searched: &[String], stored: &[String]) -> bool {
    let is_all_signs = searched.iter().all(|word| word.starts_with('='));
    let searched = searched.iter().filter(|word| is_all_signs || !word.starts_with('='));
    searched.filter(|word| *word != "=").take(10).all(|word| stored.iter().any(|one| one.starts_with(word.as_str())))
}

#[actix_web::test]
async fn every_letter_is_found_by_its_upper_and_lower_case() {
    let app = TestApp::start_bare(&[]).await;
    let letters = ('\u{1}'..=char::MAX).filter(|c| !c.is_control());
    let cased = letters.filter(|c| !c.to_uppercase().eq([*c]) || !c.to_lowercase().eq([*c]));
    let letters: Vec<String> = cased.map(String::from).collect();
    let mut conn = app.conn();
    let stored = words(&mut conn, &letters);
    for other in [str::to_uppercase, str::to_lowercase] {
        let others: Vec<String> = letters.iter().map(|letter| other(letter)).collect();
        for ((letter, stored), searched) in letters.iter().zip(&stored).zip(words(&mut conn, &others)) {
            assert_eq!(&searched, stored, "{letter}");
        }
    }
}

#[actix_web::test]
async fn any_name_is_found_by_its_words_and_its_other_forms() {
    let app = TestApp::start_bare(&[]).await;
    let conn = std::cell::RefCell::new(app.conn());
    // Letters, marks and symbols that every supported version of Postgres knows.
    let letters = "[ -~\\u{a1}-\\u{24f}\\u{300}-\\u{314}\\u{391}-\\u{3c9}\\u{400}-\\u{45f}\\u{531}-\\u{556}\\u{e01}-\\u{e30}\\u{1e00}-\\u{1e99}\\u{1f80}-\\u{1faf}\\u{200b}-\\u{2027}\\u{2190}-\\u{21ff}\\u{3041}-\\u{30fe}\\u{4e00}-\\u{9fa5}\\u{ac00}-\\u{d7a3}\\u{ff01}-\\u{ff5e}\\u{1f300}-\\u{1f5ff}]{1,30}";
    let any = TestRunner::deterministic().run(&letters, |given| {
        let Ok(name) = text::name(&given) else { return Ok(()) };
        let mut forms = forms(&name);
        forms.retain(|form| !form.trim().is_empty());
        let found = words(&mut conn.borrow_mut(), &forms);
        for (form, searched) in forms.iter().zip(&found) {
            prop_assert!(finds(searched, &found[0]), "{:?} does not find {:?}", form, name);
        }
        Ok(())
    });
    any.unwrap();
}

#[actix_web::test]
async fn a_text_that_folding_empties_finds_nothing_rather_than_everything() {
    let app = TestApp::start().await;
    let program = app.program().await;
    program.post_json("/api/keys", json!({"name": "plain"})).await.assert_status(201);
    let webhook = json!({"name": "plain", "url": "https://hooks.example.com/x", "events": ["*"]});
    program.post_json("/api/webhooks", webhook).await.assert_status(201);
    for list in ["/api/keys", "/api/webhooks"] {
        for accent in ["%CC%81", "%C2%B4", "%C2%A8"] {
            let found = program.get(format!("{list}?q={accent}")).await.assert_ok().json();
            assert_eq!(found["data"], json!([]), "{list} {accent}");
        }
    }
}
