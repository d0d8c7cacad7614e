//! What one level of the file says: the top level, or a service.

use std::collections::{BTreeMap, BTreeSet};

use super::configuration::in_service;
use super::draft::Draft;
use super::providers::ProviderDraft;
use super::tree::Address;

/// The keys of one level, by their path at the top level, and what they come to.
#[derive(Debug)]
pub(super) struct Layer {
    /// Its own path: empty, or `services.NAME`.
    prefix: String,
    /// Defaults, where the level says nothing.
    pub(super) draft: Draft,
    /// Keys that the level gives, and where.
    given: BTreeMap<&'static str, Address>,
    /// Keys whose value was refused: rules between keys say nothing about them.
    refused: BTreeSet<&'static str>,
    /// Keys whose value comes from variables and may be anything: errors do not show it.
    veiled: BTreeSet<&'static str>,
    /// The providers, where they are a list: a level each, which has nothing else of its own.
    pub(super) providers: Vec<Item>,
}

/// One provider of a list.
#[derive(Debug)]
pub(super) struct Item {
    /// As errors show it.
    pub(super) path: String,
    pub(super) address: Address,
    pub(super) layer: Layer,
}

impl Layer {
    /// The top level, with nothing said.
    pub(super) fn top(defaults: Draft) -> Self {
        Self::of(String::new(), defaults)
    }

    /// A service, with nothing said; `top` is what it begins with.
    pub(super) fn service(path: &str, top: &Self) -> Self {
        Self::of(path.to_owned(), top.draft.clone())
    }

    /// One provider of a list, with nothing said.
    pub(super) fn provider(&self) -> Self {
        let mut draft = self.draft.clone();
        draft.provider = ProviderDraft::default();
        Self::of(self.prefix.clone(), draft)
    }

    fn of(prefix: String, draft: Draft) -> Self {
        Self {
            prefix,
            draft,
            given: BTreeMap::new(),
            refused: BTreeSet::new(),
            veiled: BTreeSet::new(),
            providers: Vec::new(),
        }
    }

    /// Its own path.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// A key as it is written in this level.
    pub(super) fn key(&self, path: &str) -> String {
        if self.prefix.is_empty() {
            path.to_owned()
        } else {
            in_service(&self.prefix, path)
        }
    }

    pub(super) fn give(&mut self, path: &'static str, address: Address) {
        self.given.insert(path, address);
    }

    pub(super) fn refuse(&mut self, path: &'static str) {
        debug_assert!(self.given.contains_key(path), "{path} was not given");
        self.refused.insert(path);
    }

    pub(super) fn veil(&mut self, path: &'static str) {
        debug_assert!(self.given.contains_key(path), "{path} was not given");
        self.veiled.insert(path);
    }

    /// Where a key is given.
    pub(super) fn given(&self, path: &str) -> Option<&Address> {
        self.given.get(path)
    }

    /// The first of some keys that is given, and where.
    pub(super) fn first_given(&self, paths: &[&'static str]) -> Option<(&'static str, &Address)> {
        paths.iter().find_map(|path| Some((*path, self.given.get(path)?)))
    }

    /// Works out the maximum scores that follow from weights, as if what the level below gives stood here.
    pub(super) fn apply_weights(&mut self, below: Option<&Self>) {
        let Self { draft, given, .. } = self;
        draft.apply_weights(|key| {
            given.contains_key(key) || below.is_some_and(|below| below.given.contains_key(key))
        });
    }

    /// Whether the value that counts was refused: this level's, or that of the one below it.
    pub(super) fn is_refused(&self, path: &str, below: Option<&Self>) -> bool {
        self.decides(path, below).refused.contains(path)
    }

    /// Whether errors do not show the value that counts.
    pub(super) fn is_veiled(&self, path: &str, below: Option<&Self>) -> bool {
        self.decides(path, below).veiled.contains(path)
    }

    /// The level whose value counts.
    fn decides<'l>(&'l self, path: &str, below: Option<&'l Self>) -> &'l Self {
        if self.given.contains_key(path) {
            self
        } else {
            below.unwrap_or(self)
        }
    }

    /// The keys that the level gives, in the order of the text.
    #[cfg(test)]
    pub(super) fn keys_given(&self) -> Vec<&'static str> {
        let mut given: Vec<_> = self.given.iter().collect();
        given.sort_by_key(|(_, address)| *address);
        given.into_iter().map(|(path, _)| *path).collect()
    }
}
