//! Clients' connections as they stand.
//!
//! Each reactor is asked by a letter, by somebody who may wait; here is what is made of the answers.

use std::net::SocketAddr;

use serde::Serialize;

use super::shapes::seconds;
use crate::access_log::Via;
use crate::admin::page::Page;
use crate::reactor::{Listed, Row};

/// The most connections that anybody gets at once: what each reactor may have to copy within a turn.
pub(super) const MOST: usize = 1_000;
/// How many are told of where nobody says.
pub(super) const USUAL: usize = 100;

#[derive(Debug, Serialize)]
struct Told<'a> {
    connections: Vec<Written<'a>>,
    total: usize,
    is_complete: bool,
}

/// A connection, as it is written.
#[derive(Debug, Serialize)]
struct Written<'a> {
    service: &'a str,
    client: SocketAddr,
    listener: Option<SocketAddr>,
    backend: Option<SocketAddr>,
    backend_name: Option<String>,
    via: Option<&'static str>,
    stage: &'static str,
    age_seconds: f64,
    idle_seconds: f64,
    bytes_to_backend: u64,
    bytes_to_client: u64,
}

/// The page of at most so many connections, the oldest first, of what these of so many reactors have told.
#[must_use]
pub fn page(told: &[Listed], reactors: usize, limit: usize) -> Page {
    let mut rows: Vec<&Row> = told.iter().flat_map(|one| &one.rows).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.age));
    rows.truncate(limit);
    Page::json(
        200,
        &Told {
            connections: rows.into_iter().map(Written::of).collect(),
            total: told.iter().map(|one| one.clients).sum(),
            is_complete: told.len() == reactors,
        },
    )
}

impl<'a> Written<'a> {
    fn of(row: &'a Row) -> Self {
        let name = row.backend.and_then(|backend| {
            let list = row.service.live.candidates.load();
            list.name_of(&backend).map(str::to_owned)
        });
        Self {
            service: row.service.name.as_str(),
            client: row.client,
            listener: row.listener,
            backend: row.backend,
            backend_name: name,
            via: row.via.map(Via::word),
            stage: row.stage.label(),
            age_seconds: seconds(row.age),
            idle_seconds: seconds(row.idle),
            bytes_to_backend: row.bytes_to_backend,
            bytes_to_client: row.bytes_to_client,
        }
    }
}
