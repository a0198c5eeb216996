//! A real Chromium, driven as a person uses it, by Debian's chromedriver and the W3C's WebDriver protocol
//! (<https://www.w3.org/TR/webdriver2/>): a dozen POSTs, for which a client crate would bring 23 others.
//!
//! Everything is done by keyboard (the driver's `value` command is key events on the element that has the focus), so that
//! it works without scripts as well, and proves that a keyboard is enough. The one exception is the driver's: a file is
//! put into its field, since the dialog that finds it is the browser's own.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::wait_for;

/// How the browser is set.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// In CSS pixels; up to 500 it is a phone's.
    pub width: u32,
    pub is_dark: bool,
    pub has_scripts: bool,
}

impl Look {
    /// As many people have it at night.
    pub const fn dark(self) -> Self {
        Self { is_dark: true, ..self }
    }

    /// As on a phone whose owner trusts nothing.
    pub const fn without_scripts(self) -> Self {
        Self { has_scripts: false, ..self }
    }
}

/// The narrowest phone.
pub const PHONE: Look = Look { width: 360, is_dark: false, has_scripts: true };
/// A screen on a desk.
pub const DESK: Look = Look { width: 1280, is_dark: false, has_scripts: true };

/// One person's browser, with cookies of its own.
pub struct Browser {
    driver: Child,
    agent: ureq::Agent,
    session: String,
}

const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
const ENTER: &str = "\u{e007}";
const RIGHT: &str = "\u{e014}";

/// chromedriver (Debian: chromium-driver), and its port; `None` where it found none.
fn driver() -> Option<(Child, u16)> {
    let mut driver = Command::new("chromedriver");
    // The order in which a date is typed is the language's.
    driver.env("LANGUAGE", "en_US").arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null());
    let mut driver = driver.spawn().expect("chromedriver (Debian: chromium-driver)");
    let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    let port = lines
        .map_while(Result::ok)
        .find_map(|line| line.split_once("started successfully on port ")?.1.trim_end_matches('.').parse::<u16>().ok());
    if port.is_none() {
        driver.wait().unwrap();
    }
    Some((driver, port?))
}

impl Browser {
    pub fn start(look: Look) -> Self {
        // It takes the port of one family of addresses in the other too, where somebody else may have it: then it ends.
        let (driver, port) = (0..10).find_map(|_| driver()).expect("chromedriver says its port");
        let driver_url = format!("http://127.0.0.1:{port}");
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let mut options = json!({
            "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                     format!("--window-size={},1000", look.width)],
            "prefs": { "intl.accept_languages": "vi" },
        });
        if look.width <= 500 {
            options["mobileEmulation"] = json!({ "deviceMetrics": { "width": look.width, "height": 740, "pixelRatio": 2.0, "mobile": true, "touch": true } });
        }
        // A dialog that a script opens stays open, and fails whatever is asked next.
        let always = json!({ "goog:chromeOptions": options, "unhandledPromptBehavior": "ignore" });
        let capabilities = json!({ "capabilities": { "alwaysMatch": always } });
        let mut browser = Self { driver, agent, session: String::new() };
        let made = browser.ask("POST", &format!("{driver_url}/session"), Some(&capabilities));
        browser.session = format!("{driver_url}/session/{}", made["sessionId"].as_str().expect("a session"));
        browser.set_dark(look.is_dark);
        if !look.has_scripts {
            browser.devtools("Emulation.setScriptExecutionDisabled", &json!({ "value": true }));
        }
        browser
    }

    fn ask(&self, method: &str, url: &str, body: Option<&Value>) -> Value {
        self.try_ask(method, url, body).unwrap_or_else(|error| panic!("{method} {url}: {error}"))
    }

    fn try_ask(&self, method: &str, url: &str, body: Option<&Value>) -> Result<Value, String> {
        let text = body.map(Value::to_string).unwrap_or_default();
        let sent = match method {
            "GET" => self.agent.get(url).call(),
            "DELETE" => self.agent.delete(url).call(),
            _ => self.agent.post(url).header("content-type", "application/json").send(text),
        };
        let mut response = sent.map_err(|error| error.to_string())?;
        let text =
            response.body_mut().with_config().limit(64 << 20).read_to_string().map_err(|error| error.to_string())?;
        let mut answer: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        if response.status() != 200 {
            return Err(format!("{}: {}", answer["value"]["error"], answer["value"]["message"]));
        }
        Ok(answer["value"].take())
    }

    fn here(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        self.ask(method, &format!("{}{path}", self.session), body)
    }

    /// A command of the browser's own protocol.
    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.here("POST", "/goog/cdp/execute", Some(&json!({ "cmd": command, "params": parameters })))
    }

    fn set_dark(&self, is_dark: bool) {
        let value = if is_dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
        self.devtools("Emulation.setEmulatedMedia", &features);
    }

    /// Has another size, and another choice of light or dark, from now on.
    pub fn look(&self, look: Look) {
        let is_phone = look.width <= 500;
        let metrics = json!({
            "width": look.width, "height": if is_phone { 740 } else { 900 },
            "deviceScaleFactor": if is_phone { 2 } else { 1 }, "mobile": is_phone,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
        self.set_dark(look.is_dark);
    }

    /// Types an address.
    pub fn go(&self, url: &str) {
        self.here("POST", "/url", Some(&json!({ "url": url })));
    }

    pub fn address(&self) -> String {
        self.here("GET", "/url", None).as_str().unwrap().to_owned()
    }

    pub fn title(&self) -> String {
        self.here("GET", "/title", None).as_str().unwrap().to_owned()
    }

    /// The page as it was sent.
    pub fn source(&self) -> String {
        self.here("GET", "/source", None).as_str().unwrap().to_owned()
    }

    fn find(&self, selector: &str) -> Option<String> {
        let body = json!({ "using": "css selector", "value": selector });
        let found = self.try_ask("POST", &format!("{}/element", self.session), Some(&body)).ok()?;
        Some(found[ELEMENT].as_str()?.to_owned())
    }

    fn element(&self, selector: &str) -> String {
        self.find(selector).unwrap_or_else(|| panic!("no {selector} on {}:\n{}", self.address(), self.text()))
    }

    pub fn has(&self, selector: &str) -> bool {
        self.find(selector).is_some()
    }

    /// How many there are.
    pub fn count(&self, selector: &str) -> usize {
        let body = json!({ "using": "css selector", "value": selector });
        self.here("POST", "/elements", Some(&body)).as_array().unwrap().len()
    }

    /// What a person reads of an element.
    pub fn text_of(&self, selector: &str) -> String {
        let element = self.element(selector);
        self.here("GET", &format!("/element/{element}/text"), None).as_str().unwrap().to_owned()
    }

    /// What a person reads of the page.
    pub fn text(&self) -> String {
        self.find("body").map_or(String::new(), |_| self.text_of("body"))
    }

    pub fn attribute(&self, selector: &str, name: &str) -> String {
        let element = self.element(selector);
        let value = self.here("GET", &format!("/element/{element}/property/{name}"), None);
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    }

    /// Empties a field and types a text into it.
    pub fn write(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.here("POST", &format!("/element/{element}/clear"), Some(&json!({})));
        self.keys(&element, text);
    }

    /// Types a time such as `2027-04-16T09:30` into a field for one, part by part.
    pub fn write_time(&self, selector: &str, time: &str) {
        let (date, clock) = time.split_once('T').unwrap();
        let [year, month, day] = date.split('-').collect::<Vec<_>>()[..] else { panic!("{time}") };
        let (hour, minute) = clock.split_once(':').unwrap();
        let hour: u32 = hour.parse().unwrap();
        let half = if hour < 12 { "AM" } else { "PM" };
        self.type_on(selector, &format!("{month}{day}{year}{RIGHT}{:02}{minute}{half}", (hour + 11) % 12 + 1));
        assert_eq!(self.attribute(selector, "value"), time);
    }

    /// Types into a field, or chooses: ' ' ticks a box, a word chooses the option that begins so.
    pub fn type_on(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.keys(&element, text);
    }

    fn keys(&self, element: &str, text: &str) {
        self.here("POST", &format!("/element/{element}/value"), Some(&json!({ "text": text })));
    }

    /// Opens a `<details>`, or closes it, by its summary and the enter key.
    pub fn unfold(&self, summary: &str) {
        self.type_on(summary, ENTER);
    }

    /// The value of a cookie, those too that no script sees.
    pub fn cookie(&self, name: &str) -> Option<String> {
        let cookie = self.try_ask("GET", &format!("{}/cookie/{name}", self.session), None).ok()?;
        Some(cookie["value"].as_str()?.to_owned())
    }

    /// Plants a cookie for the page's host.
    pub fn plant_cookie(&self, name: &str, value: &str) {
        let cookie = json!({ "cookie": { "name": name, "value": value, "path": "/" } });
        self.here("POST", "/cookie", Some(&cookie));
    }

    /// Presses a button or follows a link, by the enter key, and waits for the page that comes.
    pub fn press(&self, selector: &str) {
        let element = self.element(selector);
        let page = self.element("html");
        self.keys(&element, ENTER);
        wait_for("the next page", || {
            let gone = self.try_ask("GET", &format!("{}/element/{page}/name", self.session), None).is_err();
            (gone && self.has("body")).then_some(())
        });
    }

    /// What a script gives; in pages where none may run, too.
    pub fn run(&self, script: &str) -> Value {
        self.here("POST", "/execute/sync", Some(&json!({ "script": script, "args": [] })))
    }

    /// What axe-core (MPL-2.0) finds wrong with the page: rule and element, a line each.
    pub fn violations(&self) -> Vec<String> {
        let folder = std::env::var_os("WAYPOST_TEST_AXE").expect("WAYPOST_TEST_AXE: tests/run");
        let axe = std::fs::read_to_string(Path::new(&folder).join("node_modules/axe-core/axe.min.js")).unwrap();
        self.run(&axe);
        let found = self.run(
            "return axe.run({ rules: { 'target-size': { enabled: true } } }).then(result => result.violations.flatMap(rule => \
             rule.nodes.map(node => rule.id + ': ' + node.html + ' ' + node.failureSummary)))",
        );
        found.as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
    }

    /// Pixels by which the page is wider than the window.
    pub fn overflow(&self) -> i64 {
        self.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth").as_i64().unwrap()
    }

    /// A picture of the whole page, PNG.
    pub fn picture(&self) -> Vec<u8> {
        let size = &self.devtools("Page.getLayoutMetrics", &json!({}))["cssContentSize"];
        let clip = json!({ "x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1 });
        let shot = self.devtools("Page.captureScreenshot", &json!({ "captureBeyondViewport": true, "clip": clip }));
        data_encoding::BASE64.decode(shot["data"].as_str().unwrap().as_bytes()).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.try_ask("DELETE", &self.session, None).ok();
        self.driver.kill().ok();
        self.driver.wait().ok();
    }
}
