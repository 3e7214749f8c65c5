//! What the report of a training set says of the rows that it was made of.

use std::collections::BTreeMap;

use tidemill_offline::{Lake, Version};
use tidemill_spec::{Objects, Source};

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
    // Of the views' sources what their versions say of them, which the project may have changed since.
    let read = inputs.waits_for.iter().filter_map(|version| version.plan.source.as_ref());
    let of_label = label_source.and_then(|name| objects.sources.get(name));
    let sources: BTreeMap<&String, &Source> =
        read.chain(of_label).map(|source| (&source.name, source)).collect();
    let mut told = Vec::new();
    for source in sources.into_values() {
        told.extend(lake.stored_otherwise(source, version).await?.told(source));
    }
    Ok(told)
}
