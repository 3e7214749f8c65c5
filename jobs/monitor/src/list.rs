//! What people ask: which monitors there are, how they fare, what each window said.

use serde::Serialize;
use tidemill_catalog::{Catalog, Incident, IncidentSubject, ScanRow};
use tidemill_core::IncidentId;
use tidemill_spec::Monitor;

use crate::{Error, scan::declared};

/// A monitor in a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MonitorRow {
    /// As declared.
    #[serde(flatten)]
    pub monitor: Monitor,
    /// Its newest window, if any was scanned.
    pub last_scan: Option<ScanRow>,
    /// Its open incident.
    pub incident: Option<IncidentId>,
}

/// A monitor with all that was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MonitorHistory {
    /// As declared.
    pub monitor: Monitor,
    /// Its windows, the newest first; each body is a [`Scan`](crate::Scan) with its columns.
    pub scans: Vec<ScanRow>,
    /// Its incidents, newest first.
    pub incidents: Vec<Incident>,
}

/// All monitors, in declared order.
pub async fn monitors(catalog: &Catalog) -> Result<Vec<MonitorRow>, Error> {
    let incidents = catalog.incidents(None).await?;
    let mut rows = Vec::new();
    for (name, monitor) in catalog.objects().await?.monitors {
        let own = IncidentSubject::Monitor(name.clone());
        let open = |incident: &&Incident| incident.subject == own && incident.state == "open";
        let incident = incidents.iter().find(open).map(|incident| incident.id);
        let last_scan = catalog.scans(&name, Some(1)).await?.into_iter().next();
        rows.push(MonitorRow { monitor, last_scan, incident });
    }
    Ok(rows)
}

/// One monitor.
///
/// # Errors
/// It is not declared, or the database can't be reached.
pub async fn monitor(catalog: &Catalog, name: &str) -> Result<MonitorHistory, Error> {
    let monitor = declared(&catalog.objects().await?, name)?.clone();
    let (scans, incidents) = (catalog.scans(name, None).await?, catalog.incidents(Some(name)).await?);
    Ok(MonitorHistory { monitor, scans, incidents })
}
