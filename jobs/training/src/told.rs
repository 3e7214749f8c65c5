//! What the report of a training set says of the rows that it was made of.

use std::collections::BTreeMap;

use tidemill_catalog::ViewVersion;
use tidemill_offline::{Lake, Version};
use tidemill_spec::Source;

use crate::Error;

/// A sentence for each way in which rows are stored otherwise than their source is declared: of those that the views read,
/// and of the label's.
pub(crate) async fn stored_otherwise<'a>(
    lake: &Lake,
    views: &'a [ViewVersion],
    of_label: impl Iterator<Item = &'a Source>,
    version: Version,
) -> Result<Vec<String>, Error> {
    // Of the views' sources what their versions say of them, which the project may have changed since.
    let read = views.iter().filter_map(|version| version.plan.source.as_ref());
    let sources: BTreeMap<&String, &Source> =
        read.chain(of_label).map(|source| (&source.name, source)).collect();
    let mut told = Vec::new();
    for source in sources.into_values() {
        told.extend(lake.stored_otherwise(source, version).await?.told(source));
    }
    Ok(told)
}
