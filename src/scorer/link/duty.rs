//! What the scorer thread does about our own link: tells the log and whoever listens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{info, warn};

use super::view::{LinkView, News, Phase};
use super::watch::LinkWatch;
use crate::base::published::Published;

/// Least time between two lines that say that the link is down: one that flaps is told of once.
const QUIET: Duration = Duration::from_secs(10);

/// The judge, and what its verdicts are published as.
#[derive(Debug)]
pub struct LinkDuty {
    /// The judge.
    pub watch: LinkWatch,
    view: Arc<Published<LinkView>>,
    /// Phase and recoveries, as published last.
    published: (Phase, u64),
    told: Told,
}

/// What the log said last.
#[derive(Debug, Default)]
struct Told {
    down_at: Option<Instant>,
    is_down: bool,
}

impl Told {
    /// Whether the log is to hear of it: an end is told if its beginning was.
    fn is_due(&mut self, news: News, now: Instant) -> bool {
        match news {
            News::Down { .. } => {
                let since = self.down_at.map(|at| now.saturating_duration_since(at));
                self.is_down = since.is_none_or(|since| since >= QUIET);
                if self.is_down {
                    self.down_at = Some(now);
                }
                self.is_down
            }
            News::Back { .. } => std::mem::take(&mut self.is_down),
        }
    }
}

impl LinkDuty {
    /// A duty that publishes to `view`; nobody else does.
    #[must_use]
    pub fn new(watch: LinkWatch, view: Arc<Published<LinkView>>) -> Self {
        Self {
            watch,
            view,
            published: (Phase::Up, 0),
            told: Told::default(),
        }
    }

    /// When the judge wants to be asked again, whatever comes.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.watch.deadline()
    }

    /// Tells everybody what has changed.
    pub fn publish(&mut self, now: Instant) {
        let present = (self.watch.phase(), self.watch.recoveries());
        if present == self.published {
            return;
        }
        self.published = present;
        for news in self.watch.take_news() {
            if self.told.is_due(news, now) {
                tell(news);
            }
        }
        self.view.publish(Arc::new(self.watch.view(now)));
    }
}

fn tell(news: News) {
    match news {
        News::Down { failed, witnesses } => warn!(
            target: "tcp_forwarder::scorer",
            failed, witnesses;
            "our own link seems to be down: {failed} of the {witnesses} candidates that used to answer were asked, \
             and all failed; scores and the active set stay as they are"
        ),
        News::Back { after, forgotten } => info!(
            target: "tcp_forwarder::scorer",
            seconds = after.as_secs_f64(), forgotten;
            "our own link is back after {:.1} s; {forgotten} failures are held against nobody",
            after.as_secs_f64()
        ),
    }
}
