//! The parts of the live set that features own: the data clock and the online views.

use std::sync::Arc;

use tidemill_offline::View;
use tidemill_online::{LiveView, LiveViews};

use crate::{
    Deps, Error,
    subject::{maintained_versions, online_view},
};

/// Publishes the data clock and the online views to Redis. Call it after what changed them has committed: after
/// `apply`, a moved clock, a switched view, and when Redis came back empty.
pub async fn publish_live(deps: &Deps) -> Result<(), Error> {
    // Drawn before reading: of two publishers the one with the later order has read everything.
    let order = deps.catalog.next_live_order().await?;
    let clock = deps.catalog.store().data_clock().await?;
    let objects = deps.catalog.objects().await?;
    let mut views = LiveViews::new();
    for version in maintained_versions(&deps.catalog, None).await? {
        let view = View::new(&objects, &version.definition, version.version);
        let Some(online) = view.as_ref().and_then(online_view) else { continue };
        let current = version.state == tidemill_catalog::ViewState::Current;
        let entry = views
            .entry(version.view)
            .or_insert_with(|| LiveView { current: online.version(), versions: indexmap::IndexMap::new() });
        if current {
            entry.current = online.version();
        }
        entry.versions.insert(online.version(), Arc::new(online));
    }
    deps.online.publish_clock(order, &clock).await?;
    deps.online.publish_views(order, &views).await?;
    Ok(())
}
