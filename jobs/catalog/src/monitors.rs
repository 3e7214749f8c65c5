//! What monitors found: scanned windows, incidents, and who was told; and live models that don't answer.
//!
//! Written by `monitor`, all three in one transaction. A monitor has at most one open incident, and so has a model; a
//! window scanned again is never told twice.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use tidemill_core::{IncidentId, Time};
use tidemill_store::Tx;
use uuid::Uuid;

use crate::{Catalog, Error};

/// Clean windows after the last failing one that close an incident: one alone may be luck.
const CLEAN_WINDOWS: i64 = 2;

/// A scanned window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScanRow {
    /// The monitor.
    pub monitor: String,
    /// First instant of the window.
    pub from: Time,
    /// First instant after it.
    pub to: Time,
    /// `ok`, `insufficient`, `warn` or `fail`.
    pub status: String,
    /// Figures and verdicts.
    pub body: Json,
    /// When, real time.
    pub scanned_at: Time,
}

/// Something that needs someone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Its id; receivers tell repeated deliveries by it.
    pub id: IncidentId,
    /// What it is about: the field `monitor` or the field `model`.
    #[serde(flatten)]
    pub subject: IncidentSubject,
    /// `open` or `closed`.
    pub state: String,
    /// First instant of a monitor's first failing window.
    pub from: Option<Time>,
    /// First instant after the last one.
    pub to: Option<Time>,
    /// The failing checks of the last one; or which versions of the model fail, where and why.
    pub summary: String,
    /// When, real time.
    pub opened_at: Time,
    /// When it was closed, real time.
    pub closed_at: Option<Time>,
    /// Who was told of it, or still has to be.
    #[serde(default)]
    pub notified: Vec<Notified>,
}

/// What an incident is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentSubject {
    /// What this monitor found.
    Monitor(String),
    /// This live model doesn't answer.
    Model(String),
}

/// `drift`, or `model late_flight`.
impl fmt::Display for IncidentSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Monitor(monitor) => f.write_str(monitor),
            Self::Model(model) => write!(f, "model {model}"),
        }
    }
}

/// A notifier of an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notified {
    /// Its name.
    pub notifier: String,
    /// When its receiver took it, real time.
    pub delivered_at: Option<Time>,
}

type ScanColumns = (String, Time, Time, String, sqlx::types::Json<Json>, Time);
type IncidentColumns = (
    Uuid,
    Option<String>,
    Option<String>,
    String,
    Option<Time>,
    Option<Time>,
    String,
    Time,
    Option<Time>,
    sqlx::types::Json<Vec<Notified>>,
);

impl Catalog {
    /// Keeps what was said of a window. Safe to repeat: the last scan of it counts.
    pub async fn put_scan(
        &self,
        tx: &mut Tx,
        monitor: &str,
        (from, to): (Time, Time),
        status: &str,
        body: &Json,
    ) -> Result<(), Error> {
        sqlx::query(include_str!("../queries/monitor/put_scan.sql"))
            .bind(monitor)
            .bind(from)
            .bind(to)
            .bind(status)
            .bind(body.to_string())
            .execute(tx.conn())
            .await?;
        Ok(())
    }

    /// The incident of a failing window, and whether it is new.
    pub async fn open_incident(
        &self,
        tx: &mut Tx,
        monitor: &str,
        (from, to): (Time, Time),
        summary: &str,
    ) -> Result<(IncidentId, bool), Error> {
        let fresh = IncidentId::generate();
        let (id,): (Uuid,) = sqlx::query_as(include_str!("../queries/monitor/open_incident.sql"))
            .bind(fresh.as_uuid())
            .bind(monitor)
            .bind(from)
            .bind(to)
            .bind(summary)
            .bind(CLEAN_WINDOWS)
            .fetch_one(tx.conn())
            .await?;
        Ok((id.into(), id == fresh.as_uuid()))
    }

    /// Closes the monitor's incident if this clean window, kept before, is the last that it took.
    pub async fn close_incident(
        &self,
        tx: &mut Tx,
        monitor: &str,
        (from, to): (Time, Time),
    ) -> Result<bool, Error> {
        let closed = sqlx::query(include_str!("../queries/monitor/close_incident.sql"))
            .bind(monitor)
            .bind(from)
            .bind(to)
            .bind(CLEAN_WINDOWS)
            .execute(tx.conn())
            .await?;
        Ok(closed.rows_affected() > 0)
    }

    /// The incident of a live model that doesn't answer, and whether it is new. Safe to repeat: the last summary counts.
    pub async fn open_model_incident(
        &self,
        tx: &mut Tx,
        model: &str,
        summary: &str,
    ) -> Result<(IncidentId, bool), Error> {
        let fresh = IncidentId::generate();
        let (id,): (Uuid,) = sqlx::query_as(include_str!("../queries/monitor/open_model_incident.sql"))
            .bind(fresh.as_uuid())
            .bind(model)
            .bind(summary)
            .fetch_one(tx.conn())
            .await?;
        Ok((id.into(), id == fresh.as_uuid()))
    }

    /// Closes the model's incident, if one is open.
    pub async fn close_model_incident(&self, tx: &mut Tx, model: &str) -> Result<bool, Error> {
        let close = "UPDATE catalog.incident SET state = 'closed', closed_at = now()
                     WHERE model = $1 AND state = 'open' AND rollout IS NULL";
        let closed = sqlx::query(close).bind(model).execute(tx.conn()).await?;
        Ok(closed.rows_affected() > 0)
    }

    /// Closes the open incidents of monitors that are declared no more, whom nothing else would close.
    pub async fn close_incidents_of_removed(&self, tx: &mut Tx, declared: &[String]) -> Result<(), Error> {
        let close = "UPDATE catalog.incident
                     SET state = 'closed', closed_at = now(), summary = summary || ' (the monitor was removed)'
                     WHERE state = 'open' AND monitor <> ALL($1)";
        sqlx::query(close).bind(declared).execute(tx.conn()).await?;
        Ok(())
    }

    /// What the open incidents of models say, by model.
    pub async fn open_model_incidents(&self) -> Result<BTreeMap<String, String>, Error> {
        let select = "SELECT model, summary FROM catalog.incident
                      WHERE state = 'open' AND model IS NOT NULL AND rollout IS NULL";
        let rows: Vec<(String, String)> = sqlx::query_as(select).fetch_all(self.pool()).await?;
        Ok(rows.into_iter().collect())
    }

    /// Writes down that somebody has to be told of an incident.
    pub async fn put_notification(
        &self,
        tx: &mut Tx,
        incident: IncidentId,
        notifier: &str,
    ) -> Result<(), Error> {
        let put =
            "INSERT INTO catalog.notification (incident, notifier) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        sqlx::query(put).bind(incident.as_uuid()).bind(notifier).execute(tx.conn()).await?;
        Ok(())
    }

    /// Whether somebody was told already.
    pub async fn notified(&self, incident: IncidentId, notifier: &str) -> Result<bool, Error> {
        let told =
            "SELECT delivered_at IS NOT NULL FROM catalog.notification WHERE incident = $1 AND notifier = $2";
        let row: Option<(bool,)> =
            sqlx::query_as(told).bind(incident.as_uuid()).bind(notifier).fetch_optional(self.pool()).await?;
        Ok(row.is_some_and(|(told,)| told))
    }

    /// Writes down that somebody was told.
    pub async fn set_notified(&self, tx: &mut Tx, incident: IncidentId, notifier: &str) -> Result<(), Error> {
        let set =
            "UPDATE catalog.notification SET delivered_at = now() WHERE incident = $1 AND notifier = $2";
        sqlx::query(set).bind(incident.as_uuid()).bind(notifier).execute(tx.conn()).await?;
        Ok(())
    }

    /// Scanned windows of a monitor, the newest window first; at most so many.
    pub async fn scans(&self, monitor: &str, limit: Option<i64>) -> Result<Vec<ScanRow>, Error> {
        let select =
            "SELECT monitor, window_from, window_to, status, body, scanned_at FROM catalog.monitor_scan
                      WHERE monitor = $1 ORDER BY window_to DESC, window_from DESC LIMIT $2";
        let rows: Vec<ScanColumns> =
            sqlx::query_as(select).bind(monitor).bind(limit).fetch_all(self.pool()).await?;
        Ok(rows.into_iter().map(scan).collect())
    }

    /// The newest scanned window that an incident tells of.
    pub async fn scan_of_incident(&self, incident: IncidentId) -> Result<Option<ScanRow>, Error> {
        let select =
            "SELECT monitor, window_from, window_to, status, body, scanned_at FROM catalog.monitor_scan
                      WHERE body ->> 'incident' = $1 ORDER BY window_to DESC LIMIT 1";
        let row: Option<ScanColumns> =
            sqlx::query_as(select).bind(incident.to_string()).fetch_optional(self.pool()).await?;
        Ok(row.map(scan))
    }

    /// The newest windows of a monitor, at most so many, that were scanned before all of them was known, the oldest
    /// first; read by `tx`.
    pub async fn windows_incomplete_in(
        &self,
        tx: &mut Tx,
        monitor: &str,
        limit: i64,
    ) -> Result<Vec<(Time, Time)>, Error> {
        let select = "SELECT window_from, window_to FROM catalog.monitor_scan
                      WHERE monitor = $1 AND body ->> 'complete' = 'false'
                      ORDER BY window_from DESC, window_to DESC LIMIT $2";
        let mut windows: Vec<(Time, Time)> =
            sqlx::query_as(select).bind(monitor).bind(limit).fetch_all(tx.conn()).await?;
        windows.reverse();
        Ok(windows)
    }

    /// Incidents of one monitor, or all, those of models too; newest first.
    pub async fn incidents(&self, monitor: Option<&str>) -> Result<Vec<Incident>, Error> {
        let rows: Vec<IncidentColumns> = sqlx::query_as(include_str!("../queries/monitor/incidents.sql"))
            .bind(monitor)
            .fetch_all(self.pool())
            .await?;
        rows.into_iter().map(incident).collect()
    }

    /// One incident.
    pub async fn incident(&self, id: IncidentId) -> Result<Option<Incident>, Error> {
        Ok(self.incidents(None).await?.into_iter().find(|incident| incident.id == id))
    }
}

fn scan((monitor, from, to, status, sqlx::types::Json(body), scanned_at): ScanColumns) -> ScanRow {
    ScanRow { monitor, from, to, status, body, scanned_at }
}

fn incident(columns: IncidentColumns) -> Result<Incident, Error> {
    let (id, monitor, model, state, from, to, summary, opened_at, closed_at, notified) = columns;
    let subject = match (monitor, model) {
        (Some(monitor), None) => IncidentSubject::Monitor(monitor),
        (None, Some(model)) => IncidentSubject::Model(model),
        _ => return Err(Error::inconsistent(format!("incident {id}: neither a monitor's nor a model's"))),
    };
    let (id, notified) = (id.into(), notified.0);
    Ok(Incident { id, subject, state, from, to, summary, opened_at, closed_at, notified })
}
