//! Lines of the access log: whose client has one, and what is handed in when it ends.

use std::net::SocketAddr;

use super::client::{Client, Stage, Wait};
use super::core::Reactor;
use super::story::Story;
use crate::access_log::{End, Phase, Record, Standing};
use crate::base::clock;
use crate::base::slots::Key;
use crate::net;
use crate::relay::close::{Ending, Side};
use crate::service::Service;

impl Reactor {
    /// A client goes on as another service's, which may want a line of it, or not.
    pub(super) fn hand_on_story(&mut self, key: Key, to: Key) {
        let journal = self
            .tenants
            .get(to)
            .and_then(|tenant| tenant.service.journal.as_ref());
        let is_wanted = journal.is_some_and(|journal| journal.samples(&mut self.rng));
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let before = client.search.as_mut().and_then(|search| search.story.take());
        if is_wanted {
            let story = before.unwrap_or_else(|| Box::new(late_story(client)));
            client.search().story = Some(story);
        }
    }

    /// Hands in the line of a client that has ended, if it has one.
    pub(super) fn write_line(
        &mut self,
        client: &Client,
        service: &Service,
        backend: Option<SocketAddr>,
        ending: Ending,
    ) {
        let Some(journal) = &service.journal else {
            return;
        };
        let Some(search) = &client.search else { return };
        let Some(story) = &search.story else { return };
        let session = client.relay.client.stream.session();
        let facts = client.opening.as_deref().map(|opening| &opening.facts);
        let backend = backend.or(search.failed.last().copied());
        let list = journal.names_backends().then(|| service.live.candidates.load());
        let record = Record {
            ended_at: clock::wall(),
            service: service.name.as_str(),
            client: client.relay.client_addr,
            listener: story.listener,
            proxy: story.proxy,
            backend,
            via: story.via,
            tries: search.failed.len(),
            is_rescued: search.is_rescued,
            is_raced: story.is_raced,
            wait: story.wait,
            connect: story.connect,
            first_byte: story.first_byte,
            total: self.now.saturating_duration_since(client.relay.accepted_at),
            bytes_up: client.relay.bytes_to_backend,
            bytes_down: client.relay.bytes_to_client,
            end: End::of(ending, standing(client, story)),
            tls: session
                .and_then(|session| session.version().map(str::as_bytes))
                .or_else(|| Some(&*facts?.tls.as_ref()?.version)),
            sni: session
                .and_then(|session| session.server_name().map(str::as_bytes))
                .or_else(|| facts?.authority.as_deref()),
            alpn: session
                .and_then(|session| session.protocol())
                .or_else(|| facts?.alpn.as_deref()),
            backend_name: list
                .as_ref()
                .zip(backend)
                .and_then(|(list, backend)| list.name_of(&backend)),
        };
        journal.write(&record, &mut self.line);
    }
}

/// What can be told of a client whose beginning was not noted.
fn late_story(client: &Client) -> Story {
    let wire = client.relay.client.stream.wire();
    let is_named = client
        .opening
        .as_ref()
        .is_some_and(|opening| opening.destination.is_some());
    let proxy = || wire.peer_addr().ok().map(net::canonical);
    Story::new(
        wire.local_addr().ok().map(net::canonical),
        is_named.then(proxy).flatten(),
    )
}

/// How a client stands at its end.
fn standing(client: &Client, story: &Story) -> Standing {
    let relay = &client.relay;
    let has_client_finished = relay.client.ready.has_finished();
    let phase = match client.stage {
        Stage::Opening(_) => Phase::Preface,
        Stage::Seeking(Wait::Socket | Wait::Set | Wait::Place) => Phase::Queue,
        Stage::Seeking(Wait::Dial { .. } | Wait::Nothing) => Phase::Connect,
        Stage::Relaying(_) | Stage::Leaving(..) if relay.bytes_to_client == 0 => Phase::FirstByte,
        Stage::Relaying(_) | Stage::Leaving(..) if has_client_finished || relay.has_backend_finished() => {
            Phase::Last
        }
        Stage::Relaying(_) | Stage::Leaving(..) => Phase::Data,
    };
    let waits_for_backend = match phase {
        Phase::Preface | Phase::Queue | Phase::Connect => false,
        Phase::FirstByte => relay.bytes_to_backend > 0 || has_client_finished,
        Phase::Last => has_client_finished,
        Phase::Data => relay.awaits_backend()[0],
    };
    Standing {
        phase,
        awaited: if waits_for_backend {
            Side::Backend
        } else {
            Side::Client
        },
        dial: story.dial,
        has_left: story.has_left,
    }
}
