//! Cookies of other applications, and of other instances on the same host: they sign no user out.

use reqwest::header::{COOKIE, HeaderValue};

use crate::support::app::email;
use crate::support::database::Database;
use crate::support::people::PASSWORD;
use crate::support::{Answer, Person, TestApp};

/// Returns the name and value of each cookie in a response.
fn pairs(answer: &Answer) -> Vec<String> {
    let lines = answer.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap());
    lines.map(|line| line.split(';').next().unwrap().to_owned()).collect()
}

/// Signs Ada in, and returns the cookies.
async fn signed_in(app: &TestApp) -> Vec<String> {
    app.admin("ada").await;
    let fields = [("email", email("ada")), ("password", PASSWORD.to_owned())];
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    pairs(app.stranger().submit("/sign-in", &fields).await.assert_see_other("/"))
}

/// Returns a browser that sends these cookie headers.
fn browser_with_cookies(app: &TestApp, lines: &[Vec<u8>]) -> Person {
    let mut browser = app.stranger();
    for line in lines {
        browser.headers.append(COOKIE, HeaderValue::from_bytes(line).unwrap());
    }
    browser
}

#[actix_web::test]
async fn another_application_s_unreadable_cookie_signs_no_user_out() {
    let app = TestApp::start().await;
    let own = signed_in(&app).await.join("; ").into_bytes();
    let huge = [b"big=".to_vec(), vec![b'x'; 32_000]].concat();
    for other in
        [&b"name=Andr\xe9"[..], b"\xff\xfe", b"a=%", b"a=%E9", b"a=\"b", b"=", b"==;", b"a", b"\tx=\x80", &huge]
    {
        let (before, after) = ([other, b"; ", &own].concat(), [&own, &b"; "[..], other].concat());
        for lines in [vec![before], vec![after], vec![other.to_vec(), own.clone()], vec![own.clone(), other.to_vec()]] {
            let shown = String::from_utf8_lossy(other).chars().take(20).collect::<String>();
            assert_eq!(browser_with_cookies(&app, &lines).visit("/").await.status, 200, "{shown}");
        }
    }
}

#[actix_web::test]
async fn a_form_is_accepted_beside_an_unreadable_cookie() {
    let app = TestApp::start().await;
    app.admin("ada").await;
    let mut browser = app.stranger();
    let page = browser.visit("/sign-in").await;
    let line = [b"name=Andr\xe9; ", pairs(&page).join("; ").as_bytes()].concat();
    browser = browser_with_cookies(&app, &[line]);
    let fields = [("_csrf", page.html().value("_csrf")), ("email", email("ada")), ("password", PASSWORD.to_owned())];
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    browser.submit_exactly("/sign-in", &fields).await.assert_see_other("/");
}

#[actix_web::test]
async fn two_instances_on_one_host_keep_their_own_cookies() {
    let (one, two) = (TestApp::start().await, TestApp::start().await);
    let (of_one, of_two) = (signed_in(&one).await, signed_in(&two).await);
    let name = |pair: &String| pair.split('=').next().unwrap().to_owned();
    assert!(2 <= of_one.len() && of_one.len() == of_two.len(), "{of_one:?} {of_two:?}");
    for pair in &of_one {
        assert!(!of_two.iter().any(|other| name(other) == name(pair)), "{pair}");
    }
    let both = [of_one, of_two].concat().join("; ").into_bytes();
    browser_with_cookies(&one, std::slice::from_ref(&both)).visit("/").await.assert_ok();
    browser_with_cookies(&two, &[both]).visit("/").await.assert_ok();
}

#[actix_web::test]
async fn cookies_are_valid_after_a_restart_and_at_a_replica() {
    let mut app = TestApp::start().await;
    let own = signed_in(&app).await.join("; ").into_bytes();
    let replica = TestApp::start_on(Database::elsewhere(&app.database.url), &[]).await;
    browser_with_cookies(&replica, &[own]).visit("/").await.assert_ok();
    app.stop().await;
}
