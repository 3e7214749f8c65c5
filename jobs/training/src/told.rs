//! What the report of a training set says of the rows that it was made of.

use std::collections::BTreeSet;

use tidemill_offline::{Lake, Version};
use tidemill_spec::Objects;

use crate::{Error, inputs::Inputs};

/// A sentence for each way in which rows are stored otherwise than their source is declared: of the label's source, and
/// of those that the views read.
pub(crate) async fn stored_otherwise(
    lake: &Lake,
    objects: &Objects,
    inputs: &Inputs,
    label_source: Option<&String>,
    version: Version,
) -> Result<Vec<String>, Error> {
    let read = inputs.waits_for.iter().filter_map(|view| objects.source_of_view(view));
    let names: BTreeSet<String> = read.chain(label_source.cloned()).collect();
    let mut told = Vec::new();
    for source in names.iter().filter_map(|name| objects.sources.get(name)) {
        told.extend(lake.stored_otherwise(source, version).await?.told(source));
    }
    Ok(told)
}
