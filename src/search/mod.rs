//! Where the next probe pays: a model of which candidates are near, learned from the probes of others. Pure.
//!
//! Candidates are the leaves of a tree of prefixes, and neighbours share fate: how far is learned, level by level, and
//! not assumed. The logarithm of a latency is taken for a sum of independent steps, one for each bit of the prefix (a
//! Gaussian process on a tree); how large the steps of a level are is read off the differences between samples that
//! part there. From that follows what is to be expected of every address that was never asked, and how uncertain that
//! is. A probe goes where one drawing from those expectations promises the most improvement (Thompson sampling by
//! expected improvement): near what is known to be good, and where little is known. Prefixes that do not answer promise
//! little, however near they are.
//!
//! It knows neither sockets nor clocks, nor what a score is. Whoever probes owns it, tells it of every outcome, and asks
//! it for candidates.

mod arms;
mod draw;
mod key;
mod levels;
mod model;
mod normal;
mod space;
mod tree;

pub use model::{Leaf, Model, NODES};
pub use space::{MOST_PARTS, Part, Space};
