//! Browsers and addresses that have signed in before: they go first during a flood of sign-ins, and their cookie gives
//! no access.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;

use crate::support::app::email;
use crate::support::people::PASSWORD;
use crate::support::{Answer, Person, TestApp};

const WRONG: &str = "wrong wrong wrong wrong";
/// Concurrent sign-ins of a flood: more than two threads can hash within the second that each sign-in waits.
const FLOOD: usize = 200;

async fn start() -> TestApp {
    TestApp::start_with(&[("GATEPOST_TRUSTED_PROXIES", "127.0.0.1")]).await
}

/// Returns the address with this number.
fn address(number: usize) -> String {
    format!("203.{}.{}.{}", number / 65_536 % 256, number / 256 % 256, number % 256)
}

fn from(person: &Person, address: &str) -> Person {
    person.with("x-forwarded-for", address)
}

async fn sign_in(browser: &Person, name: &str, password: &str) -> Answer {
    browser.submit("/sign-in", &[("email", &email(name)), ("password", password)]).await
}

async fn login(program: &Person, name: &str, password: &str) -> Answer {
    program.post_json("/api/auth/login", json!({"email": email(name), "password": password})).await
}

/// Returns a browser at this address that has signed in as this user and out again.
async fn known_browser(app: &TestApp, name: &str, address: &str) -> Person {
    app.make_user(name, false);
    let browser = from(&app.stranger(), address);
    sign_in(&browser, name, PASSWORD).await.assert_status(303);
    browser.submit("/sign-out", &[]).await.assert_status(303);
    browser
}

fn device_cookie(answer: &Answer) -> String {
    let lines = answer.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap().to_owned());
    lines.filter(|line| line.contains("gatepost-device-")).collect::<Vec<_>>().join("\n")
}

/// Flood of sign-ins to unknown accounts, each from a different address.
struct Flood {
    is_over: Arc<AtomicBool>,
    refused: Arc<AtomicUsize>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Flood {
    /// Starts the flood, and waits until a sign-in is refused for lack of hashing time. A very fast machine may refuse
    /// none.
    async fn start(app: &TestApp) -> Self {
        let (is_over, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let next = Arc::new(AtomicUsize::new(0));
        let tasks = (0..FLOOD).map(|_| {
            let (is_over, refused, next, stranger) =
                (Arc::clone(&is_over), Arc::clone(&refused), Arc::clone(&next), app.stranger());
            tokio::spawn(async move {
                while !is_over.load(Ordering::Acquire) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let answer = login(&from(&stranger, &address(number)), &format!("user{number}"), WRONG).await;
                    refused.fetch_add(usize::from(answer.status == 503), Ordering::AcqRel);
                }
            })
        });
        let tasks = tasks.collect();
        let flood = Self { is_over, refused, tasks };
        while flood.refused.load(Ordering::Acquire) == 0 && next.load(Ordering::Relaxed) < 10 * FLOOD {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        flood
    }

    async fn end(self) {
        self.is_over.store(true, Ordering::Release);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

#[actix_web::test]
async fn browsers_that_signed_in_before_succeed_during_a_flood_from_any_address() {
    let app = start().await;
    let mut browsers = Vec::new();
    for number in 0..15 {
        let name = format!("ada{number}");
        let browser = known_browser(&app, &name, &format!("198.51.100.{number}")).await;
        browsers.push((from(&browser, &format!("192.0.2.{number}")), name));
    }
    let flood = Flood::start(&app).await;

    for (browser, name) in &browsers {
        sign_in(browser, name, PASSWORD).await.assert_status(303);
    }

    flood.end().await;
}

#[actix_web::test]
async fn programs_at_addresses_that_signed_in_before_succeed_during_a_flood() {
    let app = start().await;
    let mut programs = Vec::new();
    for number in 0..15 {
        let name = format!("ada{number}");
        let user = app.make_user(&name, false);
        app.make_member(app.tenant, user, gatepost::domain::Role::Viewer);
        let program = from(&app.stranger(), &format!("198.51.100.{number}"));
        login(&program, &name, PASSWORD).await.assert_status(201);
        programs.push((program, name));
    }
    let flood = Flood::start(&app).await;

    for (program, name) in &programs {
        login(program, name, PASSWORD).await.assert_status(201);
    }

    flood.end().await;
}

/// Sends wrong passwords from many addresses until the account is rate-limited.
async fn guess_from_everywhere(app: &TestApp, name: &str) {
    for number in 0..50 {
        login(&from(&app.stranger(), &address(number)), name, WRONG).await.assert_status(401);
    }
}

#[actix_web::test]
async fn a_known_browser_signs_in_while_guesses_from_many_addresses_slow_others_down() {
    let app = start().await;
    let browser = known_browser(&app, "ada", "198.51.100.1").await;
    guess_from_everywhere(&app, "ada").await;
    let elsewhere = "192.0.2.1";
    sign_in(&from(&app.stranger(), elsewhere), "ada", PASSWORD).await.assert_status(429);

    sign_in(&from(&browser, elsewhere), "ada", PASSWORD).await.assert_status(303);
}

#[actix_web::test]
async fn a_browser_known_for_one_account_is_unknown_for_another() {
    let app = start().await;
    let browser = known_browser(&app, "dan", "198.51.100.1").await;
    app.make_user("ada", false);
    guess_from_everywhere(&app, "ada").await;

    sign_in(&from(&browser, "192.0.2.1"), "ada", PASSWORD).await.assert_status(429);
}

#[actix_web::test]
async fn a_stolen_device_cookie_allows_no_more_guesses_than_one_address() {
    let app = start().await;
    let browser = known_browser(&app, "ada", "198.51.100.1").await;
    for number in 0..5 {
        sign_in(&from(&browser, &address(number)), "ada", WRONG).await.assert_status(422);
    }

    sign_in(&from(&browser, &address(5)), "ada", WRONG).await.assert_status(429);
}

#[actix_web::test]
async fn a_browser_stays_known_for_several_accounts() {
    let app = start().await;
    let browser = known_browser(&app, "ada", "198.51.100.1").await;
    app.make_user("dan", false);
    sign_in(&browser, "dan", PASSWORD).await.assert_status(303);
    browser.submit("/sign-out", &[]).await.assert_status(303);
    guess_from_everywhere(&app, "ada").await;

    sign_in(&from(&browser, "192.0.2.1"), "ada", PASSWORD).await.assert_status(303);
}

#[actix_web::test]
async fn the_device_cookie_gives_no_access_and_names_no_account() {
    let app = start().await;
    app.make_user("ada", true);
    let answer = sign_in(&app.stranger(), "ada", PASSWORD).await;
    let cookie = device_cookie(&answer);
    let pair = cookie.split(';').next().unwrap().to_owned();
    assert!(!cookie.contains("ada") && !cookie.contains(PASSWORD), "{cookie}");

    let thief = app.stranger().with("cookie", &pair);

    for page in ["/", "/account", "/keys", "/operator/tenants"] {
        let answer = thief.visit(page).await;
        answer.assert_status(303);
        assert!(answer.header("location").starts_with("/sign-in"), "{page}");
    }
    thief.get("/api/keys").await.assert_problem(401, "unauthenticated");
}

#[actix_web::test]
async fn scripts_and_other_sites_get_no_device_cookie() {
    for (url, secure) in [("http://127.0.0.1:8000", false), ("https://keys.example.com", true)] {
        let app = TestApp::start_with(&[("GATEPOST_PUBLIC_URL", url)]).await;
        app.make_user("ada", false);
        let page = app.stranger().visit("/sign-in").await;
        // The client keeps no Secure cookie over http, so the test passes the cookies on.
        let pair = page.header("set-cookie").split(';').next().unwrap().to_owned();
        let fields =
            [("_csrf", page.html().value("_csrf")), ("email", email("ada")), ("password", PASSWORD.to_owned())];
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = app.stranger().with("cookie", &pair).submit_exactly("/sign-in", &fields).await;

        let cookie = device_cookie(answer.assert_status(303));

        assert!(
            cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && cookie.contains("Path=/"),
            "{cookie}"
        );
        assert_eq!((cookie.contains("Secure"), cookie.starts_with("__Host-")), (secure, secure), "{url}: {cookie}");
    }
}
