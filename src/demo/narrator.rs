//! Tells the user of the demonstration what to try, and every few seconds how the backends stand.
//!
//! Reads the active set and the score board as everybody else does; it changes nothing.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use super::server::{Presence, Role};
use crate::backend::ActiveSet;
use crate::base::clock;
use crate::scorer::ScoreBoard;
use crate::shutdown::Shutdown;
use crate::base::published::Published;

/// Between two lines of the table.
const INTERVAL: Duration = Duration::from_secs(3);

/// What is shown of the running forwarder.
#[derive(Debug)]
pub struct View {
    /// Where it accepts connections.
    pub listen: SocketAddr,
    /// Where its metrics are, if anywhere.
    pub metrics: Option<SocketAddr>,
    /// The members that connections go to.
    pub active: Arc<Published<ActiveSet>>,
    /// What is known of the candidates.
    pub board: Arc<RwLock<ScoreBoard>>,
}

/// Knows the cast and where to write.
pub struct Narrator {
    cast: Vec<(Role, SocketAddr)>,
    out: Box<dyn Write + Send>,
}

impl std::fmt::Debug for Narrator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Narrator")
            .field("cast", &self.cast)
            .finish_non_exhaustive()
    }
}

/// A narration under way; it ends when this is dropped.
#[derive(Debug)]
pub struct Narration {
    shutdown: Arc<Shutdown>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Narration {
    fn drop(&mut self) {
        self.shutdown.begin();
        if let Some(thread) = self.thread.take() {
            // A narration that failed has nothing more to tell.
            drop(thread.join());
        }
    }
}

impl Narrator {
    pub(super) fn new(cast: Vec<(Role, SocketAddr)>, out: Box<dyn Write + Send>) -> Self {
        Self { cast, out }
    }

    /// Writes what there is and what to try, then a line of the table every few seconds, until the returned
    /// value is dropped. A reader who has gone away ends the telling, not the demonstration.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn begin(mut self, view: View) -> io::Result<Narration> {
        let shutdown = Arc::new(Shutdown::default());
        let stop = Arc::clone(&shutdown);
        let thread = std::thread::Builder::new()
            .name("demo-narrator".to_owned())
            .spawn(move || {
                // Nobody is left to be told of a failure to tell.
                drop(self.narrate(&view, &stop));
            })?;
        Ok(Narration {
            shutdown,
            thread: Some(thread),
        })
    }

    fn narrate(&mut self, view: &View, shutdown: &Shutdown) -> io::Result<()> {
        let begun = clock::now();
        self.out.write_all(self.introduction(view).as_bytes())?;
        self.out.flush()?;
        while !shutdown.sleep(INTERVAL) {
            let line = self.standings(view, clock::now().saturating_duration_since(begun));
            self.out.write_all(line.as_bytes())?;
            self.out.flush()?;
        }
        Ok(())
    }

    fn introduction(&self, view: &View) -> String {
        let listen = view.listen;
        let mut lines = vec![
            "tcp-forwarder demo: backends in this process, of which the best three are used".to_owned(),
            String::new(),
        ];
        lines.extend(self.cast.iter().map(|(role, addr)| format_role(role, *addr)));
        lines.push(String::new());
        lines.push(format!("forwarding  {listen}"));
        lines.extend(
            view.metrics
                .map(|metrics| format!("metrics     http://{metrics}/metrics")),
        );
        lines.push("\nTry:".to_owned());
        lines.push(format!("  curl http://{listen}/"));
        lines.push(format!(
            "  for i in 1 2 3 4 5 6; do curl -s http://{listen}/; done"
        ));
        let scores = |metrics| format!("  curl -s http://{metrics}/metrics | grep server_score");
        lines.extend(view.metrics.map(scores));
        lines.push("Ctrl+C stops.\n\nScores (* = in use):\n".to_owned());
        lines.join("\n")
    }

    fn standings(&self, view: &View, age: Duration) -> String {
        let active = view.active.load();
        let board = view.board.read().unwrap_or_else(PoisonError::into_inner);
        let standing = |(role, addr): &(Role, SocketAddr)| {
            let mark = if active.contains(addr) { '*' } else { ' ' };
            match board.score(addr) {
                Some(score) => format!("{mark}{} {:5.1}", role.name, score.total),
                None => format!("{mark}{}     -", role.name),
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
    use crate::backend::Backend;
    use crate::config::Scoring;
    use crate::demo::CAST;
    use crate::scorer::{Outcome, Sample, Source};
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

    fn scene() -> (Narrator, View, Paper) {
        let addrs = (2..).map(|host| SocketAddr::from(([127, 0, 0, host], 4000)));
        let cast: Vec<_> = CAST.into_iter().zip(addrs).collect();
        let backend = Arc::new(Backend::new(cast[0].1, clock::now(), 1));
        let mut board = ScoreBoard::new(Scoring::default());
        for (i, outcome) in [Outcome::Success(Duration::from_millis(1)), Outcome::Failure]
            .into_iter()
            .enumerate()
        {
            board.record(&Sample {
                addr: cast[i].1,
                outcome,
                source: Source::Probe,
                began_at: clock::now(),
                at: clock::now(),
            });
        }
        let view = View {
            listen: "127.0.0.1:1234".parse().expect("address"),
            metrics: Some("127.0.0.1:9099".parse().expect("address")),
            active: Arc::new(Published::new(ActiveSet {
                backends: vec![backend],
            })),
            board: Arc::new(RwLock::new(board)),
        };
        let paper = Paper::default();
        (Narrator::new(cast, Box::new(paper.clone())), view, paper)
    }

    #[test]
    fn the_table_marks_who_is_in_use_and_fits_a_terminal() {
        let (narrator, view, _) = scene();
        let line = narrator.standings(&view, Duration::from_secs(12));
        assert!(
            line.starts_with("   12s   *quick 100.0   brisk   0.0   calm     -"),
            "{line}"
        );
        assert!(line.len() < 100, "{line}");
    }

    #[test]
    fn the_introduction_tells_addresses_and_what_to_try() {
        let (narrator, view, paper) = scene();
        let narration = narrator.begin(view).expect("a thread");
        let text = || String::from_utf8(paper.0.lock().expect("sound").clone()).expect("text");
        let give_up = clock::now() + Duration::from_secs(10);
        while !text().contains("in use") {
            assert!(clock::now() < give_up, "never told: {}", text());
            std::thread::yield_now();
        }
        drop(narration);
        for part in [
            "quick  127.0.0.2:4000",
            "9 s up, 3 s down",
            "curl http://127.0.0.1:1234/\n",
            "curl -s http://127.0.0.1:9099/metrics",
        ] {
            assert!(text().contains(part), "no {part} in {}", text());
        }
    }
}
