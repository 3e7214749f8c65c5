//! Whether serving could answer with a version: asked before an alias may name it.

use tidemill_catalog::Catalog;

use crate::Error;

/// Fails if there is no such version, or serving could not answer with it.
pub(crate) async fn servable(catalog: &Catalog, model: &str, version: i32) -> Result<(), Error> {
    let Some(registered) = catalog.model_version(model, version).await? else {
        return Err(Error::UnknownVersion { model: model.to_owned(), version });
    };
    if let Err(reason) = tidemill_live::servable(catalog, registered).await? {
        return Err(Error::NotServable { model: model.to_owned(), version, reason });
    }
    Ok(())
}
