//! The loop: asks once a second, shows what came, takes keys.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::answers::{Details, Services, Snapshot};
use super::keys::keys;
use super::view::{Line, Scene, Style, Then, View};
use crate::ask::{Client, Failure};
use crate::base::clock;
use crate::terminal::{Screen, Size, Typed, give_back, letters, size};

/// Between two questions.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a stop, or another size of the terminal, may go unnoticed.
const NOTICE: Duration = Duration::from_millis(100);

/// Shows the process until a key ends it or `is_over`; where standard output is no terminal that can be drawn on, how it
/// stands now, once.
///
/// # Errors
/// When there is no answer at the beginning, or the terminal is gone.
pub fn run(client: &Client, service: Option<String>, is_over: &AtomicBool) -> Result<(), Failure> {
    let mut view = View::of(service);
    view.letters = letters();
    // Before the terminal is taken, so that what is wrong can be read.
    let now = fetch(client, &view)?;
    if let Some(name) = &view.service
        && now.services.iter().all(|one| one.name != *name)
    {
        return Err(Failure::Misuse(format!("there is no service {name:?}")));
    }
    let can_be_drawn_on = std::env::var_os("TERM").is_some_and(|kind| !kind.is_empty() && kind != "dumb");
    give_back_on_panic();
    match can_be_drawn_on.then(Screen::take) {
        Some(Ok(screen)) => {
            let top = Top {
                client,
                screen,
                view,
                now,
                before: None,
                problem: None,
                has_styles: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            };
            top.run(is_over).map_err(Failure::Terminal)
        }
        Some(Err(_)) | None => print(&view, &now).map_err(Failure::Terminal),
    }
}

/// What is shown, and where.
struct Top<'a> {
    client: &'a Client,
    screen: Screen,
    view: View,
    now: Snapshot,
    before: Option<Snapshot>,
    /// Why the last question has no answer, if it has none.
    problem: Option<String>,
    has_styles: bool,
}

impl Top<'_> {
    fn run(mut self, is_over: &AtomicBool) -> io::Result<()> {
        let mut shown_at = self.show()?;
        let mut next_at = clock::now() + INTERVAL;
        while !is_over.load(Ordering::Relaxed) {
            let now = clock::now();
            if now >= next_at {
                self.ask();
                next_at = clock::now() + INTERVAL;
                shown_at = self.show()?;
            }
            let left = next_at.saturating_duration_since(clock::now());
            match self.screen.typed(left.min(NOTICE))? {
                Typed::Gone => return Ok(()),
                Typed::Nothing if size() == shown_at => {}
                Typed::Nothing => shown_at = self.show()?,
                Typed::Bytes(bytes) => {
                    for key in keys(&bytes) {
                        match self.view.on_key(key, &self.now.services) {
                            Then::End => return Ok(()),
                            Then::Ask => self.ask(),
                            Then::Show => {}
                        }
                    }
                    shown_at = self.show()?;
                }
            }
        }
        Ok(())
    }

    fn ask(&mut self) {
        match fetch(self.client, &self.view) {
            Ok(next) => {
                self.before = Some(std::mem::replace(&mut self.now, next));
                self.problem = None;
            }
            Err(failure) => self.problem = Some(failure.to_string()),
        }
    }

    /// Draws; for which size.
    fn show(&self) -> io::Result<Option<Size>> {
        let size = size();
        let scene = Scene {
            now: &self.now,
            before: self.before.as_ref(),
            problem: self.problem.as_deref(),
        };
        let lines = self.view.lines(&scene, size.unwrap_or(Size::USUAL));
        let drawn: Vec<String> = lines.into_iter().map(|line| self.styled(line)).collect();
        self.screen.draw(&drawn)?;
        Ok(size)
    }

    fn styled(&self, line: Line) -> String {
        let begin = match line.style {
            Style::Title => "\x1b[1m",
            Style::Chosen => "\x1b[7m",
            Style::Plain => return line.text,
        };
        if self.has_styles {
            format!("{begin}{}\x1b[0m", line.text)
        } else {
            line.text
        }
    }
}

fn fetch(client: &Client, view: &View) -> Result<Snapshot, Failure> {
    let services: Services = read(&client.look("services")?)?;
    let services = services.services;
    // The first one stands in for one that has left.
    let name = services.get(view.place(&services)).map(|one| one.name.as_str());
    let chosen = match name {
        Some(name) => Some(read::<Details>(&client.look(&format!("services/{name}"))?)?),
        None => None,
    };
    Ok(Snapshot {
        at: clock::now(),
        services,
        chosen,
    })
}

fn read<T: DeserializeOwned>(body: &str) -> Result<T, Failure> {
    serde_json::from_str(body)
        .map_err(|error| Failure::Misunderstood(format!("the answer is not understood: {error}")))
}

/// All of it, once.
fn print(view: &View, now: &Snapshot) -> io::Result<()> {
    let scene = Scene {
        now,
        before: None,
        problem: Some(""),
    };
    let size = Size {
        columns: usize::MAX,
        rows: usize::MAX,
    };
    let mut text = String::new();
    for line in view.lines(&scene, size) {
        text.push_str(&line.text);
        text.push('\n');
    }
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever closed it does not want to know.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

/// A panic ends the process without dropping anything.
fn give_back_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        give_back();
        report(panic);
    }));
}
