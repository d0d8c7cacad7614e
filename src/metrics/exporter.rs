//! One scrape: everything that is read, as one text.

use prometheus::core::Desc;

use super::family;
use super::format::Format;
use super::output::Output;
use super::process::Process;
use super::reading;
use super::sources::Sources;

/// Writes the text of a scrape.
#[derive(Debug)]
pub struct Exporter {
    sources: Sources,
    process: Process,
}

impl Exporter {
    /// An exporter of every family in [`family::ALL`].
    ///
    /// # Errors
    /// When a family's name or label is no valid one, which tests rule out.
    pub fn new(sources: Sources) -> prometheus::Result<Self> {
        for family in family::ALL {
            Desc::new(
                family.name.to_owned(),
                family.help.to_owned(),
                family.labels.iter().map(|label| (*label).to_owned()).collect(),
                std::collections::HashMap::new(),
            )?;
        }
        let process = Process::new();
        Ok(Self { sources, process })
    }

    /// The text of one scrape: parts that follow one another, for all of a large one in one piece would be a copy of it.
    #[must_use]
    pub fn text(&self, format: Format) -> Vec<String> {
        let mut output = Output::of(format);
        reading::collect(&self.sources, crate::base::clock::now(), &mut output);
        self.process.collect(&mut output);
        output.into_parts()
    }
}
