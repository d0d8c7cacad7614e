//! Chromium without a window, driven by its protocol for developers over a pipe: messages in JSON, each with a zero byte behind it.

#![allow(dead_code, reason = "each test binary uses its part of it")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::comes_true;

/// Longest wait for an answer of the browser, and for a condition on a page.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one page; killed when dropped.
pub struct Browser {
    child: Child,
    orders: ChildStdin,
    answers: Receiver<Value>,
    session: Option<String>,
    sent: u64,
    complaints: Vec<String>,
    _home: TempDir,
}

impl Browser {
    /// Starts it; pages see this language.
    pub fn start(program: &Path, language: &str) -> Self {
        let home = TempDir::new().unwrap();
        // It reads from descriptor 3 and writes to 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 >/dev/null 2>/dev/null", "sh"])
            .arg(program)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--remote-debugging-pipe",
            ])
            .args(["--disable-background-networking", "--no-proxy-server"])
            .arg(format!("--lang={language}"))
            .arg(format!("--user-data-dir={}", home.path().display()))
            .env("HOME", home.path())
            .env("LANGUAGE", language)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let (told, answers) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(stdout).split(0).map_while(Result::ok) {
                if told.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            orders: child.stdin.take().unwrap(),
            child,
            answers,
            session: None,
            sent: 0,
            complaints: Vec::new(),
            _home: home,
        };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let asked = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", &asked);
        browser.session = Some(session["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser.call("Emulation.setFocusEmulationEnabled", &json!({ "enabled": true }));
        browser.call("Emulation.setLocaleOverride", &json!({ "locale": language }));
        let agent = json!({ "userAgent": "test", "acceptLanguage": language });
        browser.call("Emulation.setUserAgentOverride", &agent);
        browser
    }

    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.sent += 1;
        let mut order = json!({ "id": self.sent, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            order["sessionId"] = session.as_str().into();
        }
        let mut bytes = serde_json::to_vec(&order).unwrap();
        bytes.push(0);
        self.orders.write_all(&bytes).unwrap();
        loop {
            let mut answer = self
                .answers
                .recv_timeout(PATIENCE)
                .expect("an answer of the browser");
            if answer["id"] == self.sent {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].take();
            }
            let kinds = [
                "Runtime.exceptionThrown",
                "Log.entryAdded",
                "Runtime.consoleAPICalled",
            ];
            if kinds.iter().any(|kind| answer["method"] == *kind) {
                self.complaints.push(answer["params"].to_string());
            }
        }
    }

    /// Opens a page.
    pub fn open(&mut self, url: &str) {
        // From another page, so that all of it is loaded anew.
        self.call("Page.navigate", &json!({ "url": "about:blank" }));
        self.call("Page.navigate", &json!({ "url": url }));
    }

    /// Runs a script in the page, and waits for what it promises.
    pub fn run(&mut self, script: &str) -> Value {
        let asked = json!({ "expression": script, "awaitPromise": true, "returnByValue": true });
        let mut answer = self.call("Runtime.evaluate", &asked);
        assert!(answer["exceptionDetails"].is_null(), "{script}: {answer}");
        answer["result"]["value"].take()
    }

    /// Waits until a condition holds on the page, which may be loading.
    pub fn wait_for(&mut self, condition: &str) {
        let script =
            format!("(() => {{ try {{ return Boolean({condition}) }} catch {{ return false }} }})()");
        let holds = comes_true(PATIENCE, || self.run(&script) == true);
        let seen = self.run("document.body.innerText.slice(0, 2000)");
        assert!(
            holds,
            "{condition}: not within {PATIENCE:?}; {seen} {:#?}",
            self.complaints
        );
    }

    /// Gives the page a width and a theme.
    pub fn resize(&mut self, width: u32, theme: &str) {
        let size = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.call("Emulation.setDeviceMetricsOverride", &size);
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": theme }] });
        self.call("Emulation.setEmulatedMedia", &media);
        // What hangs on the width is drawn a moment later.
        self.run("new Promise(done => setTimeout(done, 300))");
    }

    /// Presses a key.
    pub fn key(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            self.call(
                "Input.dispatchKeyEvent",
                &json!({ "type": kind, "key": key, "code": key }),
            );
        }
    }

    /// Takes a picture of the whole page.
    pub fn picture(&mut self, file: &Path) {
        let asked = json!({ "format": "png", "captureBeyondViewport": true });
        let picture = self.call("Page.captureScreenshot", &asked);
        std::fs::write(file, decoded(picture["data"].as_str().unwrap())).unwrap();
    }

    /// Errors and words of scripts, refusals of the policy among them.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Base64 undone.
fn decoded(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text
        .bytes()
        .filter_map(|byte| DIGITS.iter().position(|digit| *digit == byte));
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0_usize);
    for digit in digits {
        held = (held << 6 | digit) & 0xffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).unwrap());
        }
    }
    bytes
}
