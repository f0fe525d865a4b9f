//! Headless Chromium, driven over WebDriver (W3C, and what `chromedriver` adds to it).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Patience with a machine that does other work too.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one window; it ends with the value.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    home: tempfile::TempDir,
}

/// `None` where there is no `chromedriver` and none is required.
#[allow(clippy::print_stdout, reason = "says why a test was skipped")]
pub fn browser() -> Option<Browser> {
    let driver =
        Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    match driver {
        Ok(driver) => Some(Browser::with(driver)),
        Err(error) => {
            let required = std::env::var_os("FENCHEL_REQUIRE_BROWSER").is_some();
            assert!(!required, "FENCHEL_REQUIRE_BROWSER is set and chromedriver does not start: {error}");
            println!("skipped: no chromedriver ({error})");
            None
        }
    }
}

impl Browser {
    fn with(mut driver: Child) -> Self {
        let said = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port =
            |line: String| line.split("successfully on port ").nth(1)?.trim_end_matches('.').parse().ok();
        let port = said.filter_map(port).next().expect("chromedriver says its port");
        let home = tempfile::tempdir().unwrap();
        let mut browser = Self { driver, port, session: String::new(), home };
        let switches = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-sync",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-dev-shm-usage",
            "--force-device-scale-factor=1",
            "--window-size=1280,900",
        ];
        let mut switches: Vec<String> = switches.map(str::to_owned).to_vec();
        switches.push(format!("--user-data-dir={}", browser.home.path().join("profile").display()));
        let wanted = json!({
            "goog:chromeOptions": { "args": switches, "prefs": { "download.default_directory": browser.downloads() } },
            "goog:loggingPrefs": { "browser": "ALL" },
            "timeouts": { "script": 60_000, "pageLoad": 120_000 },
        });
        let opened = browser.ask("POST", "/session", json!({ "capabilities": { "alwaysMatch": wanted } }));
        browser.session = format!("/session/{}", opened["sessionId"].as_str().unwrap());
        browser
    }

    /// Where downloads go.
    pub fn downloads(&self) -> std::path::PathBuf {
        self.home.path().join("downloads")
    }

    /// One request of the protocol, and the value that is answered.
    fn ask(&self, method: &str, path: &str, body: Value) -> Value {
        self.try_ask(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    fn try_ask(&self, method: &str, path: &str, body: Value) -> Result<Value, String> {
        let failed = |error: std::io::Error| error.to_string();
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).map_err(failed)?;
        stream.set_read_timeout(Some(3 * PATIENCE)).map_err(failed)?;
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n", self.port);
        write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).map_err(failed)?;
        let mut lines = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            lines.read_line(&mut line).map_err(failed)?;
            if line.trim().is_empty() {
                break;
            }
            if let Some((_, value)) =
                line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            {
                length = value.trim().parse().map_err(|_| line.clone())?;
            }
        }
        let mut answer = vec![0; length];
        lines.read_exact(&mut answer).map_err(failed)?;
        let answer: Value = serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
        let value = answer["value"].clone();
        if value.get("error").is_some() { Err(value["message"].to_string()) } else { Ok(value) }
    }

    fn command(&self, path: &str, body: Value) -> Value {
        self.ask("POST", &format!("{}{path}", self.session), body)
    }

    /// A command of the browser itself (Chrome DevTools Protocol).
    pub fn tell(&self, command: &str, parameters: Value) {
        self.command("/goog/cdp/execute", json!({ "cmd": command, "params": parameters }));
    }

    /// Loads a page of this machine.
    pub fn open(&self, page: &Path) {
        self.command("/url", json!({ "url": format!("file://{}", page.display()) }));
    }

    /// What a function body returns in the page; a promise is waited for.
    pub fn run(&self, script: &str, arguments: &[Value]) -> Value {
        self.command("/execute/sync", json!({ "script": script, "args": arguments }))
    }

    /// Until an expression holds in the page.
    pub fn until(&self, condition: &str) {
        let start = Instant::now();
        while self.run(&format!("return Boolean({condition})"), &[]) != true {
            assert!(start.elapsed() < PATIENCE, "never: {condition}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A click of the mouse on the element that a function body returns.
    pub fn click(&self, script: &str, arguments: &[Value]) {
        self.command(&format!("/element/{}/click", id(&self.run(script, arguments))), json!({}));
    }

    /// Presses keys one after the other, wherever the focus is; the shift key is held for those after it.
    pub fn keys(&self, keys: &[char]) {
        let shift = '\u{e008}';
        let mut actions = vec![];
        for key in keys {
            actions.push(json!({ "type": "keyDown", "value": key }));
            if *key != shift {
                actions.push(json!({ "type": "keyUp", "value": key }));
            }
        }
        if keys.contains(&shift) {
            actions.push(json!({ "type": "keyUp", "value": shift }));
        }
        self.act(json!([{ "type": "key", "id": "keys", "actions": actions }]));
    }

    /// The mouse along places of the window, with its button down where there are several.
    pub fn mouse(&self, places: &[[f64; 2]]) {
        let to = |[x, y]: &[f64; 2]| json!({ "type": "pointerMove", "x": x.round() as i64, "y": y.round() as i64, "duration": 0 });
        let mut actions = vec![to(&places[0])];
        if places.len() > 1 {
            actions.push(json!({ "type": "pointerDown", "button": 0 }));
            actions.extend(places[1..].iter().map(to));
            actions.push(json!({ "type": "pointerUp", "button": 0 }));
        }
        self.act(json!([{ "type": "pointer", "id": "mouse", "actions": actions }]));
    }

    /// Turns the wheel at a place.
    pub fn wheel(&self, [x, y]: [f64; 2], by: i32) {
        let turn = json!({ "type": "scroll", "x": x.round() as i64, "y": y.round() as i64, "deltaX": 0, "deltaY": by });
        self.act(json!([{ "type": "wheel", "id": "wheel", "actions": [turn] }]));
    }

    fn act(&self, actions: Value) {
        self.command("/actions", json!({ "actions": actions }));
    }

    /// The window's size, and whether its user likes it dark.
    pub fn screen(&self, width: usize, height: usize, dark: bool) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.tell("Emulation.setDeviceMetricsOverride", size);
        self.medium("", dark);
    }

    /// `print`, or nothing for the screen.
    pub fn medium(&self, medium: &str, dark: bool) {
        let scheme = json!({ "name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" } });
        // What scrolls smoothly is not yet where it will be.
        let still = json!({ "name": "prefers-reduced-motion", "value": "reduce" });
        self.tell("Emulation.setEmulatedMedia", json!({ "media": medium, "features": [scheme, still] }));
    }

    /// The page on paper, a PDF in base64.
    pub fn print(&self) -> String {
        self.command("/print", json!({ "background": true })).as_str().unwrap().to_owned()
    }

    /// What assistive tools call an element: its accessible name.
    pub fn name_of(&self, element: &Value) -> String {
        let path = format!("{}/element/{}/computedlabel", self.session, id(element));
        self.ask("GET", &path, Value::Null).as_str().unwrap().to_owned()
    }

    /// What the console has said since it was last asked.
    pub fn console(&self) -> Vec<String> {
        let said = self.command("/se/log", json!({ "type": "browser" }));
        said.as_array().unwrap().iter().map(Value::to_string).collect()
    }
}

/// What the protocol calls an element.
fn id(element: &Value) -> &str {
    element.as_object().and_then(|parts| parts.values().next()).and_then(Value::as_str).expect("an element")
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser ends with its session, the driver by itself does not.
        let _ = self.try_ask("DELETE", &self.session, Value::Null);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
