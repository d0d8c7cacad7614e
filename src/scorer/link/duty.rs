//! What the scorer thread does about our own link: tells the log and whoever listens.

use std::sync::Arc;
use std::time::Instant;

use log::{info, warn};

use super::view::{LinkView, News, Phase};
use super::watch::LinkWatch;
use crate::base::published::Published;
use crate::base::told::Told;
use crate::service::events::{Events, What};

/// The judge, and what its verdicts are published as.
#[derive(Debug)]
pub struct LinkDuty {
    /// The judge.
    pub watch: LinkWatch,
    view: Arc<Published<LinkView>>,
    events: Arc<Events>,
    /// Phase, recoveries and sweeps, as published last.
    published: (Phase, u64, u64),
    /// How often everybody was to be looked at anew.
    sweeps: u64,
    told: Told,
}

impl LinkDuty {
    /// A duty that publishes to `view`, which nobody else does, and tells of it.
    #[must_use]
    pub fn new(watch: LinkWatch, view: Arc<Published<LinkView>>, events: Arc<Events>) -> Self {
        Self {
            watch,
            view,
            events,
            published: (Phase::Up, 0, 0),
            sweeps: 0,
            told: Told::default(),
        }
    }

    /// When the judge wants to be asked again, whatever comes.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.watch.deadline()
    }

    /// Everybody is to be looked at anew, for this time; told with what else has changed.
    pub fn sweep(&mut self, sweeps: u64) {
        self.sweeps = sweeps;
    }

    /// Tells everybody what has changed.
    pub fn publish(&mut self, now: Instant) {
        let present = (self.watch.phase(), self.watch.recoveries(), self.sweeps);
        if present == self.published {
            return;
        }
        self.published = present;
        for news in self.watch.take_news() {
            let is_down = match news {
                News::Down { .. } => true,
                News::Back { .. } => false,
            };
            if self.told.is_due(is_down, now) {
                tell(news);
                self.events.tell(None, event(news));
            }
        }
        let view = LinkView {
            sweeps: self.sweeps,
            ..self.watch.view(now)
        };
        self.view.publish(Arc::new(view));
    }
}

fn event(news: News) -> What {
    match news {
        News::Down { failed, .. } => What::LinkDown { failed },
        News::Back { after, .. } => What::LinkBack { after },
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
