//! Tells the user of the demonstration what to try, and every few seconds how the backends stand.
//!
//! Reads active sets and score boards as everybody else does. After a while it asks for a reload, as a user would, and
//! tells what became of it.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::server::{Presence, Role};
use crate::app::{Errand, Handle, Lists};
use crate::base::clock;
use crate::base::doorbell::Doorbell;
use crate::config::Config;
use crate::service::reloads::Outcome;
use crate::service::{Directory, Hub};

/// Between two lines of the table.
const INTERVAL: Duration = Duration::from_secs(3);

/// When the reload is asked for.
const RELOAD_AFTER: Duration = Duration::from_secs(15);

/// Marks of those whom the services use, in the order of the services' names.
const MARKS: [char; 2] = ['+', '*'];

/// Knows the cast and where to write.
pub struct Narrator {
    cast: Vec<(Role, SocketAddr)>,
    /// What is to be in force after the reload; none once it was asked for.
    next: Option<(Config, Lists)>,
    /// Whether the end of the reload has been told.
    has_told: bool,
    out: Box<dyn Write + Send>,
}

impl std::fmt::Debug for Narrator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Narrator")
            .field("cast", &self.cast)
            .finish_non_exhaustive()
    }
}

/// Ends a narration.
#[derive(Debug, Default)]
struct End {
    is_near: AtomicBool,
    bell: Doorbell,
}

/// A narration under way; it ends when this is dropped.
#[derive(Debug)]
pub struct Narration {
    end: Arc<End>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Narration {
    fn drop(&mut self) {
        self.end.is_near.store(true, Ordering::Release);
        self.end.bell.ring();
        if let Some(thread) = self.thread.take() {
            // A narration that failed has nothing more to tell.
            drop(thread.join());
        }
    }
}

impl Narrator {
    pub(super) fn new(
        cast: Vec<(Role, SocketAddr)>,
        next: (Config, Lists),
        out: Box<dyn Write + Send>,
    ) -> Self {
        Self {
            cast,
            next: Some(next),
            has_told: false,
            out,
        }
    }

    /// Writes what there is and what to try, then a line of the table every few seconds, until the returned
    /// value is dropped. A reader who has gone away ends the telling, not the demonstration.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn begin(mut self, forwarder: Handle, metrics: Option<SocketAddr>) -> io::Result<Narration> {
        let end = Arc::new(End::default());
        let its_end = Arc::clone(&end);
        let thread = std::thread::Builder::new()
            .name("demo-narrator".to_owned())
            .spawn(move || {
                // Nobody is left to be told of a failure to tell.
                drop(self.narrate(&forwarder, metrics, &its_end));
            })?;
        Ok(Narration {
            end,
            thread: Some(thread),
        })
    }

    fn narrate(&mut self, forwarder: &Handle, metrics: Option<SocketAddr>, end: &End) -> io::Result<()> {
        let begun = clock::now();
        let hub = forwarder.hub();
        let introduction = self.introduction(&hub.directory.load(), metrics);
        self.out.write_all(introduction.as_bytes())?;
        self.out.flush()?;
        let mut next_at = begun + INTERVAL;
        while !end.is_near.load(Ordering::Acquire) {
            if end.bell.wait(Some(next_at)) {
                continue;
            }
            next_at += INTERVAL;
            let line = self.line(forwarder, begun);
            self.out.write_all(line.as_bytes())?;
            self.out.flush()?;
        }
        Ok(())
    }

    /// What is to be told now: of the reload, and how the backends stand.
    fn line(&mut self, forwarder: &Handle, begun: Instant) -> String {
        let age = clock::now().saturating_duration_since(begun);
        let hub = forwarder.hub();
        let mut line = String::new();
        if age >= RELOAD_AFTER
            && let Some(next) = self.next.take()
        {
            line.push_str("         reload: connections go on, solo is to keep two backends\n");
            forwarder.ask(Errand::Apply(Box::new(next)));
        } else if !self.has_told
            && let Some((_, Outcome::Applied(changes))) = &hub.reloads.load().last
        {
            self.has_told = true;
            line.extend(["         reloaded: ", &changes.join("; "), "\n"]);
        }
        line.push_str(&self.standings(hub, age));
        line
    }

    fn introduction(&self, directory: &Directory, metrics: Option<SocketAddr>) -> String {
        let mut lines = vec![
            "tcp-forwarder demo: backends in this process, shared by two services".to_owned(),
            String::new(),
        ];
        lines.extend(self.cast.iter().map(|(role, addr)| format_role(role, *addr)));
        lines.push(String::new());
        for (service, mark) in directory.services.iter().zip(MARKS) {
            let size = service.spec.remotes.selector.active_set_size;
            let of_it = |one: &&crate::service::Listening| one.service.live.id == service.live.id;
            for one in directory.listening.iter().filter(of_it) {
                let (name, bound) = (&service.name, one.bound);
                lines.push(format!("{name:<11} {bound}  the best {size} ({mark})"));
            }
        }
        lines.extend(metrics.map(|metrics| format!("metrics     http://{metrics}/metrics")));
        lines.push("\nTry:".to_owned());
        if let Some(one) = directory
            .listening
            .iter()
            .find(|one| one.service.name.as_str() == "web")
        {
            let listen = one.bound;
            lines.push(format!("  curl http://{listen}/"));
            lines.push(format!(
                "  for i in 1 2 3 4 5 6; do curl -s http://{listen}/; done"
            ));
        }
        let scores = |metrics| format!("  curl -s http://{metrics}/metrics | grep server_score");
        lines.extend(metrics.map(scores));
        lines.extend(metrics.map(|metrics| format!("  open http://{metrics}/ in a browser")));
        lines.push(format!(
            "After {} s the configuration is reloaded. Ctrl+C stops.\n\nScores:\n",
            RELOAD_AFTER.as_secs()
        ));
        lines.join("\n")
    }

    fn standings(&self, hub: &Hub, age: Duration) -> String {
        let directory = hub.directory.load();
        let standing = |(role, addr): &(Role, SocketAddr)| {
            let marks: String = directory
                .services
                .iter()
                .zip(MARKS)
                .filter(|(service, _)| service.live.active.load().contains(addr))
                .map(|(_, mark)| mark)
                .collect();
            let web = directory.services.last();
            let score = web.and_then(|service| {
                let board = service.live.board.read().unwrap_or_else(PoisonError::into_inner);
                board.score(addr)
            });
            match score {
                Some(score) => format!("{marks:>2}{} {:3.0}", role.name, score.total),
                None => format!("{marks:>2}{}   -", role.name),
            }
        };
        let standings: Vec<_> = self.cast.iter().map(standing).collect();
        format!("{:>5}s   {}\n", age.as_secs(), standings.join("  "))
    }
}

fn format_role(role: &Role, addr: SocketAddr) -> String {
    let answer = match role.delay.as_millis() {
        0 => "answers at once".to_owned(),
        delay => format!("answers after {delay} ms"),
    };
    let habit = match role.presence {
        Presence::Always => answer,
        Presence::Turns { up, down } => {
            format!(
                "{answer}; {} s up, {} s down by turns",
                up.as_secs(),
                down.as_secs()
            )
        }
        Presence::Never => "refuses every connection".to_owned(),
    };
    format!("  {:<6} {addr:<21} {habit}", role.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Launch;
    use crate::demo::{CAST, config};
    use std::sync::Mutex;

    /// A writer whose text can be read while it is written.
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("sound").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_introduction_tells_addresses_and_what_to_try() {
        let addrs = (2..).map(|host| SocketAddr::from(([127, 0, 0, host], 4000)));
        let cast: Vec<_> = CAST.into_iter().zip(addrs).collect();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let paper = Paper::default();
        let next = (config((any, any), any, 2), Lists::new());
        let narrator = Narrator::new(cast, next, Box::new(paper.clone()));
        let launch = Launch::new(1);
        let metrics = "127.0.0.1:9099".parse().expect("address");
        let narration = narrator.begin(launch.handle(), Some(metrics)).expect("a thread");
        let text = || String::from_utf8(paper.0.lock().expect("sound").clone()).expect("text");
        let give_up = clock::now() + Duration::from_secs(10);
        while !text().contains("Scores") {
            assert!(clock::now() < give_up, "never told: {}", text());
            std::thread::yield_now();
        }
        drop(narration);
        for part in [
            "quick  127.0.0.2:4000",
            "9 s up, 3 s down",
            "After 15 s the configuration is reloaded",
            "curl -s http://127.0.0.1:9099/metrics",
        ] {
            assert!(text().contains(part), "no {part} in {}", text());
        }
    }
}
