//! Main job in a real Chromium: set up, create a key, copy its secret, add a webhook, publish, and see the delivery.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use gatepost::services::accounts;
use serde_json::{Value, json};
use thirtyfour::prelude::*;

use crate::support::people::PASSWORD;
use crate::support::{Answer, Receiver, TestApp};

/// Chromium with its own profile and its own chromedriver.
struct Browser {
    driver: WebDriver,
    process: Child,
    /// Kept open, so that chromedriver can write to it.
    _output: BufReader<ChildStdout>,
    _profile: tempfile::TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns the port that chromedriver chose: the last one that it prints before it is ready.
fn port_of(output: &mut impl BufRead) -> u16 {
    let (mut port, mut said) = (None, String::new());
    for line in output.lines().map(Result::unwrap) {
        let named = line.rsplit_once("on port ").map(|(_, rest)| rest.trim_end_matches('.').parse());
        port = named.and_then(Result::ok).or(port);
        said.push_str(&line);
        if line.contains("started successfully") {
            break;
        }
    }
    port.unwrap_or_else(|| panic!("chromedriver names no port: {said}"))
}

impl Browser {
    async fn open() -> Self {
        Self::open_with(json!({})).await
    }

    async fn of_a_phone() -> Self {
        let screen = json!({"width": 390, "height": 844, "pixelRatio": 1.0});
        Self::open_with(json!({"mobileEmulation": {"deviceMetrics": screen}})).await
    }

    async fn without_scripts() -> Self {
        Self::open_with(json!({"prefs": {"profile.managed_default_content_settings.javascript": 2}})).await
    }

    /// Opens a browser with these Chromium options.
    async fn open_with(options: Value) -> Self {
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is installed: `make test` sees to it");
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let port = port_of(&mut output);
        let profile = tempfile::tempdir().unwrap();
        let mut caps = DesiredCapabilities::chrome();
        for argument in [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "--window-size=1280,900",
        ] {
            caps.add_arg(argument).unwrap();
        }
        caps.add_arg(&format!("--user-data-dir={}", profile.path().display())).unwrap();
        for (name, value) in options.as_object().unwrap() {
            caps.add_experimental_option(name, value).unwrap();
        }
        let server = format!("http://127.0.0.1:{port}");
        let mut tries = 0;
        let driver = loop {
            match WebDriver::new(&server, caps.clone()).await {
                Ok(driver) => break driver,
                Err(error) if 300 < tries => panic!("no browser: {error}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
            tries += 1;
        };
        Self { driver, process, _output: output, _profile: profile }
    }

    async fn fill(&self, name: &str, value: &str) {
        let field = self.find(&format!("[name='{name}']")).await;
        field.clear().await.unwrap();
        field.send_keys(value).await.unwrap();
    }

    async fn find(&self, css: &str) -> WebElement {
        self.driver.query(By::Css(css)).first().await.unwrap_or_else(|error| panic!("{css}: {error}"))
    }

    /// Clicks the button or link with these words.
    async fn press(&self, words: &str) {
        let path = format!("//main//*[self::button or self::a][contains(normalize-space(.), '{words}')]");
        let button = self.driver.query(By::XPath(path)).first().await;
        button.unwrap_or_else(|error| panic!("{words}: {error}")).click().await.unwrap();
    }

    async fn sees(&self, words: &str) {
        let path = format!("//main[contains(normalize-space(.), '{words}')]");
        let found = self.driver.query(By::XPath(path)).first().await;
        if found.is_err() {
            let main = self.find("main").await.text().await.unwrap();
            panic!("{words:?} is not on the page: {main}");
        }
    }

    /// Saves a screenshot in `test-output`.
    async fn picture(&self, name: &str) {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("test-output");
        std::fs::create_dir_all(&folder).unwrap();
        self.driver.screenshot(Path::new(&folder.join(format!("{name}.png")))).await.unwrap();
    }
}

#[actix_web::test]
async fn a_new_operator_gets_from_the_setup_link_to_the_first_delivery() {
    let app = TestApp::start_bare(&[]).await;
    let token = app.tx(accounts::offer_setup).unwrap().unwrap();
    let receiver = Receiver::start().await;
    let browser = Browser::open().await;

    browser.driver.goto(format!("{}/setup?token={token}", app.base)).await.unwrap();
    for (name, value) in [("name", "Ada"), ("email", "ada@example.com"), ("password", PASSWORD), ("tenant", "Acme")] {
        browser.fill(name, value).await;
    }
    browser.picture("1-setup").await;
    browser.press("Create operator and tenant").await;
    browser.sees("Welcome to Gatepost").await;
    browser.picture("2-overview-empty").await;

    let secret = mint_a_key(&browser, &app).await;
    // The page of the key is open, and shows a call as it comes in.
    browser.sees("No calls yet. Calls appear here").await;
    browser.press("Live").await;
    let answer = app.key(&secret).get("/protected/").await;
    assert_eq!(answer.assert_ok().json()["apiKey"]["name"], "Billing worker");
    browser.sees("/protected/").await;
    browser.picture("3-live").await;

    subscribe(&browser, &app, &receiver.url).await;
    publish(&browser, &app).await;
    let request = receiver.wait_for(1).await.remove(0);
    assert_eq!(request.header("x-webhook-event"), "order.created");
    assert!(request.header("webhook-signature").starts_with("v1,"), "{request:?}");

    wait_until_delivered(&app, &browser).await;
    browser.driver.goto(format!("{}/deliveries", app.base)).await.unwrap();
    browser.sees("order.created").await;
    browser.press("order.created").await;
    browser.sees("Delivered").await;
    browser.picture("6-delivery").await;
    browser.driver.goto(&app.base).await.unwrap();
    browser.picture("7-overview").await;
    browser.driver.clone().quit().await.unwrap();
}

#[actix_web::test]
async fn the_main_job_works_without_scripts() {
    let app = TestApp::start_bare(&[]).await;
    let token = app.tx(accounts::offer_setup).unwrap().unwrap();
    let receiver = Receiver::start().await;
    let browser = Browser::without_scripts().await;
    browser.driver.goto(format!("{}/setup?token={token}", app.base)).await.unwrap();
    for (name, value) in [("name", "Ada"), ("email", "ada@example.com"), ("password", PASSWORD), ("tenant", "Acme")] {
        browser.fill(name, value).await;
    }
    browser.press("Create operator and tenant").await;
    browser.sees("Welcome to Gatepost").await;

    browser.driver.goto(format!("{}/keys/new", app.base)).await.unwrap();
    browser.fill("name", "Billing worker").await;
    browser.press("Create key").await;
    browser.sees("Save your API key").await;
    let secret = browser.find("#key-secret").await.prop("value").await.unwrap().unwrap();
    app.key(&secret).get("/protected/").await.assert_ok();
    browser.picture("8-reveal-without-scripts").await;
    browser.press("Done").await;
    browser.sees("Latest calls").await;
    let live = browser.driver.find_all(By::Css("button.live")).await.unwrap();
    assert!(live.is_empty(), "scripts do run");
    browser.picture("9-key-without-scripts").await;

    subscribe(&browser, &app, &receiver.url).await;
    publish(&browser, &app).await;
    assert_eq!(receiver.wait_for(1).await[0].header("x-webhook-event"), "order.created");
    browser.driver.clone().quit().await.unwrap();
}

#[actix_web::test]
async fn proof_of_identity_works_without_scripts_and_returns_to_the_page() {
    let app = TestApp::start().await;
    app.make_user("ada", true);
    let browser = Browser::without_scripts().await;
    browser.driver.goto(format!("{}/sign-in", app.base)).await.unwrap();
    browser.fill("email", "ada@example.com").await;
    browser.fill("password", PASSWORD).await;
    browser.press("Sign in").await;
    browser.sees("Overview").await;
    app.advance(chrono::TimeDelta::minutes(10));
    browser.driver.goto(format!("{}/tokens/new", app.base)).await.unwrap();
    browser.sees("Confirm your identity").await;
    browser.picture("10-proof-without-scripts").await;
    browser.fill("current_password", PASSWORD).await;
    browser.press("Confirm identity").await;
    browser.sees("New access token").await;
    browser.driver.clone().quit().await.unwrap();
}

#[actix_web::test]
async fn no_page_is_wider_than_a_phone_even_with_details_open() {
    let app = TestApp::start().await;
    let ada = app.make_user("ada", false);
    app.make_member(app.tenant, ada, gatepost::domain::Role::Owner);
    let minted = app.program().await.post_json("/api/keys", json!({"name": "ci"})).await.assert_status(201).json();
    app.key(minted["secret"].as_str().unwrap()).get("/protected/").await.assert_ok();
    let browser = Browser::of_a_phone().await;
    let wider = |path: &'static str| {
        let (browser, base) = (&browser, &app.base);
        async move {
            browser.driver.goto(format!("{base}{path}")).await.unwrap();
            let unfold = "document.querySelectorAll('details').forEach(it => { it.open = true; });
                return document.documentElement.scrollWidth;";
            let width = browser.driver.execute(unfold, Vec::new()).await.unwrap().json().as_i64().unwrap();
            (width != 390).then_some((path, width))
        }
    };

    assert_eq!(wider("/sign-in").await, None);
    browser.fill("email", "ada@example.com").await;
    browser.fill("password", PASSWORD).await;
    browser.press("Sign in").await;
    browser.sees("Overview").await;
    for path in
        ["/", "/keys", "/keys/1", "/keys/new", "/webhooks", "/events", "/deliveries", "/usage", "/usage/records"]
    {
        assert_eq!(wider(path).await, None);
    }
    for path in ["/audit", "/members", "/tokens", "/settings", "/account", "/account/second-factor", "/sign-in/proof"] {
        assert_eq!(wider(path).await, None);
    }
    browser.driver.clone().quit().await.unwrap();
}

/// Creates a key with the form, copies the secret with the button, and returns it.
async fn mint_a_key(browser: &Browser, app: &TestApp) -> String {
    browser.driver.goto(format!("{}/keys/new", app.base)).await.unwrap();
    browser.fill("name", "Billing worker").await;
    browser.press("Create key").await;
    browser.sees("Save your API key").await;
    let shown = browser.find("#key-secret").await.prop("value").await.unwrap().unwrap();
    browser.find("button[data-copy-from='key-secret']").await.click().await.unwrap();
    browser.picture("3-reveal").await;
    browser.find("[data-reveal-saved]").await.click().await.unwrap();
    browser.press("Done").await;
    browser.sees("Billing worker").await;
    let source = browser.driver.source().await.unwrap();
    assert!(!source.contains(&shown), "the secret is shown twice");
    shown
}

async fn subscribe(browser: &Browser, app: &TestApp, url: &str) {
    browser.driver.goto(format!("{}/webhooks/new", app.base)).await.unwrap();
    browser.fill("url", url).await;
    browser.fill("events", "order.*").await;
    browser.press("Create webhook").await;
    browser.sees("order.*").await;
    browser.picture("4-webhook").await;
}

async fn publish(browser: &Browser, app: &TestApp) {
    browser.driver.goto(format!("{}/events/new", app.base)).await.unwrap();
    browser.fill("type", "order.created").await;
    browser.fill("data", r#"{"order": 1042}"#).await;
    browser.press("Publish event").await;
    browser.sees("order.created").await;
    browser.picture("5-event").await;
}

/// Waits until the delivery is recorded, a moment after the receiver gets the request.
async fn wait_until_delivered(app: &TestApp, browser: &Browser) {
    let cookies = browser.driver.get_all_cookies().await.unwrap();
    let cookie =
        cookies.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect::<Vec<_>>().join("; ");
    let ada = app.stranger().with("cookie", &cookie);
    for _ in 0..100 {
        let page: Answer = ada.visit("/deliveries?state=delivered").await;
        if page.html().all_text().contains("order.created") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the delivery does not end");
}
