//! In a build without TLS: what cannot be.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::handshake::News;
use super::{Handshake, Shown};
use crate::config::{ClientTls, ServerTls};
use crate::relay::readiness::Readiness;
use crate::relay::wire::Wire;

/// There is none.
#[derive(Debug)]
pub enum Session {}

impl Session {
    /// Never made.
    ///
    /// # Errors
    /// Never.
    pub fn accept(termination: &Termination, _read: Vec<u8>) -> io::Result<Self> {
        match *termination {}
    }

    /// Never made.
    ///
    /// # Errors
    /// Never.
    pub fn connect(origination: &Origination, _addr: SocketAddr) -> io::Result<Self> {
        match *origination {}
    }

    /// Never made.
    ///
    /// # Errors
    /// Never.
    pub fn connect_by_name(origination: &Origination, _addr: SocketAddr, _name: &str) -> io::Result<Self> {
        match *origination {}
    }

    /// Never asked.
    #[must_use]
    pub fn is_of(&self, _origination: &Origination) -> bool {
        match *self {}
    }

    /// Never asked.
    #[must_use]
    pub fn protocol(&self) -> Option<&[u8]> {
        match *self {}
    }

    /// Never asked.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        match *self {}
    }

    /// Never asked.
    #[must_use]
    pub fn version(&self) -> Option<&'static str> {
        match *self {}
    }

    /// Never asked.
    #[must_use]
    pub fn has_certificate_of_peer(&self) -> bool {
        match *self {}
    }

    /// Never asked.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        match *self {}
    }

    pub(super) fn handshake<W: Wire>(&mut self, _wire: &mut W) -> io::Result<Handshake> {
        match *self {}
    }

    pub(super) fn begin<W: Wire>(&mut self, _wire: &W, _ready: Readiness) {
        match *self {}
    }

    pub(super) fn read<W: Wire>(&mut self, _wire: &mut W, _room: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(super) fn write<W: Wire>(&mut self, _wire: &mut W, _bytes: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(super) fn absorb<W: Wire>(&mut self, _wire: &mut W) -> News {
        match *self {}
    }

    pub(super) fn news(&self) -> News {
        match *self {}
    }

    pub(super) fn before_words(&self) -> Option<u64> {
        match *self {}
    }

    pub(super) fn has_finished(&self) -> bool {
        match *self {}
    }

    pub(super) fn finish<W: Wire>(&mut self, _wire: &mut W) -> io::Result<()> {
        match *self {}
    }
}

/// There is none.
#[derive(Debug)]
pub enum Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl std::error::Error for Fault {}

impl Fault {
    /// Never asked.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        match *self {}
    }
}

/// There is none.
#[derive(Debug)]
pub enum Termination {}

impl Termination {
    /// None: the configuration has none in such a build.
    ///
    /// # Errors
    /// Never.
    pub fn load(_tls: &ServerTls, _before: Option<&Arc<Self>>) -> Result<Option<Arc<Self>>, Vec<Fault>> {
        Ok(None)
    }

    /// Never asked.
    #[must_use]
    pub fn shown(&self) -> &[Shown] {
        match *self {}
    }
}

/// There is none.
#[derive(Debug, PartialEq, Eq)]
pub enum Origination {}

/// Of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// Whatever it says.
    Yes,
    /// The same.
    No,
}

impl Origination {
    /// None: the configuration wants none in such a build.
    ///
    /// # Errors
    /// Never.
    pub fn load(
        _tls: Option<&ClientTls>,
        _resume: Resume,
        _before: Option<&Arc<Self>>,
    ) -> Result<Option<Arc<Self>>, Fault> {
        Ok(None)
    }
}

/// No file.
pub(super) fn followed(_tls: &ClientTls) -> Option<PathBuf> {
    None
}
