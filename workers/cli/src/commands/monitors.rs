//! Monitors and incidents.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use tidemill_spec::units::format_duration;

use super::{Session, watch::wait_for};
use crate::{
    args::{Alerts, Global, Monitors},
    client::segment,
    failure::{Done, Failure},
    files,
    output::{self, count, facts, figure, instant, plain, text},
};

const MONITORS: &[output::Column] = &[
    text("MONITOR", "/name"),
    text("TARGET", "/target").by(target),
    text("LAST WINDOW", "/last_scan/from").by(instant),
    text("STATUS", "/last_scan/status"),
    text("INCIDENT", "/incident"),
];

const SCANS: &[output::Column] = &[
    text("FROM", "/from").by(instant),
    text("TO", "/to").by(instant),
    text("STATUS", "/status"),
    text("ROWS", "/body/rows").by(count),
    text("VERSION", "/body/version"),
    text("MEAN PREDICTION", "/body/mean_prediction").by(figure),
    text("LABEL RATE", "/body/label_rate").by(figure),
    text("AUC", "/body/auc").by(figure),
    text("REPORT", "/body/report"),
];

const RESULTS: &[output::Column] = &[
    text("CHECK", "/check"),
    text("COLUMN", "/column"),
    text("VALUE", "").by(|result| judged(result, "value")),
    text("WARN", "").by(|result| judged(result, "warn")),
    text("LIMIT", "").by(|result| judged(result, "limit")),
    text("STATUS", "/status"),
    text("NOTE", "/note"),
];

const INCIDENTS: &[output::Column] = &[
    text("INCIDENT", "/id"),
    text("SUBJECT", "").by(subject),
    text("STATE", "/state"),
    text("OPENED", "/opened_at").by(instant),
    text("FROM", "/from").by(instant),
    text("TO", "/to").by(instant),
    text("DELIVERED TO", "/notified").by(told),
    text("WHAT", "/summary"),
];

/// `tidemill monitors …`
pub(crate) async fn monitors(global: &Global, command: Monitors) -> Done {
    // Comparing files needs no server.
    if let Monitors::Compare { reference, current, columns, html, force } = command {
        let page = html.map(|file| Page { file, force }).map(Page::checked).transpose()?;
        return compare(global.output, &reference, &current, &columns, page).await;
    }
    let session = Session::open(global)?;
    match command {
        Monitors::Compare { .. } => Ok(()),
        Monitors::List => {
            let rows = session.client.list("/v1/monitors", &[]).await?;
            Ok(output::list(session.format, &rows, "/name", MONITORS)?)
        }
        Monitors::Show { monitor, html, window, force } => {
            if let Some(page) = html.map(|file| Page { file, force }).map(Page::checked).transpose()? {
                save_page(&session, &monitor, window, &page).await?;
            }
            let page = session.client.get(&format!("/v1/monitors/{}", segment(&monitor))).await?;
            Ok(output::object(session.format, &page, "/monitor/name", show)?)
        }
        Monitors::Run { monitor, window, no_wait, html, force, write } => {
            let saved = html.map(|file| Page { file, force }).map(Page::checked).transpose()?;
            let path = format!("/v1/monitors/{}/run", segment(&monitor));
            let started = session.writing(&write).client.post(&path, &json!({ "window": window })).await?;
            if no_wait {
                return Ok(output::object(session.format, &started, "/run_id", |run| plain(&run["run_id"]))?);
            }
            let page = wait_for(&session, &plain(&started["run_id"])).await?;
            if let Some(saved) = saved {
                save_page(&session, &monitor, Some(window), &saved).await?;
            }
            let scan = &page["step_list"][0]["outputs"];
            Ok(output::object(session.format, scan, "/report", show_scan)?)
        }
    }
}

/// `tidemill alerts …`
pub(crate) async fn alerts(session: &Session, command: Alerts) -> Done {
    match command {
        Alerts::List => {
            let rows = session.client.list("/v1/alerts", &[]).await?;
            Ok(output::list(session.format, &rows, "/id", INCIDENTS)?)
        }
    }
}

/// A page that is asked for with `--html`.
struct Page {
    file: PathBuf,
    force: bool,
}

impl Page {
    /// Refuses what can't be written before any work is done for it.
    fn checked(self) -> Result<Self, Failure> {
        files::ending(&self.file, &["html"])?;
        files::free(&self.file, self.force)?;
        Ok(self)
    }
}

/// Writes the page of a scanned window to a file.
async fn save_page(session: &Session, monitor: &str, window: Option<String>, page: &Page) -> Done {
    let path = format!("/v1/monitors/{}/report", segment(monitor));
    files::write(&page.file, &session.client.page(&path, &[("window", window)]).await?, page.force)?;
    session.say(format!("wrote {}", page.file.display()));
    Ok(())
}

/// `ops`, or `ops (waiting)` while its receiver hasn't taken the incident.
fn told(notified: &Value) -> String {
    let one = |told: &Value| {
        let waiting = if told["delivered_at"].is_null() { " (waiting)" } else { "" };
        format!("{}{waiting}", plain(&told["notifier"]))
    };
    notified.as_array().into_iter().flatten().map(one).collect::<Vec<_>>().join(", ")
}

/// A monitor with its windows, what the newest one found, and its incidents.
fn show(page: &Value) -> String {
    let declared = &page["monitor"];
    let scans = page["scans"].as_array().map(Vec::as_slice).unwrap_or_default();
    let newest = scans.first().map(|scan| scan["body"]["results"].clone()).unwrap_or_default();
    facts(&[
        ("monitor", plain(&declared["name"])),
        ("about", plain(&declared["description"])),
        ("owner", plain(&declared["owner"])),
        ("target", target(&declared["target"])),
        ("every", every(&declared["every"])),
        ("notifies", plain(&declared["notify"])),
    ]) + &output::section("windows", &page["scans"], SCANS)
        + &output::section("checks of the newest window", &newest, RESULTS)
        + &output::section("incidents", &page["incidents"], INCIDENTS)
}

/// What an incident is about: the monitor that found it, or `model late_flight`.
pub(crate) fn subject(incident: &Value) -> String {
    match &incident["model"] {
        Value::Null => plain(&incident["monitor"]),
        model => format!("model {}", plain(model)),
    }
}

/// `model late_flight`
fn target(target: &Value) -> String {
    let one = target.as_object().and_then(|target| target.iter().next());
    one.map_or_else(|| plain(target), |(kind, name)| format!("{kind} {}", plain(name)))
}

fn every(every: &Value) -> String {
    match (every["months"].as_u64(), every.pointer("/duration/secs").and_then(Value::as_u64)) {
        (Some(1), _) => "month".to_owned(),
        (Some(months), _) => format!("{months} months"),
        (_, Some(seconds)) => format_duration(Duration::from_secs(seconds)),
        _ => plain(every),
    }
}

/// A figure of a check in the check's own unit.
fn judged(result: &Value, field: &str) -> String {
    match (result["check"].as_str(), result[field].as_f64()) {
        (Some(check), Some(value)) => tidemill_monitor::shown(check, value),
        _ => plain(&result[field]),
    }
}

fn show_scan(scan: &Value) -> String {
    let rows = scan["results"].as_array().cloned().unwrap_or_default();
    let table = output::table(&rows, &RESULTS.iter().collect::<Vec<_>>());
    let partly = match (&scan["complete"], plain(&scan["awaited"])) {
        (Value::Bool(false), awaited) if scan["awaited"].as_array().is_some_and(|list| !list.is_empty()) => {
            format!(", rows of {awaited} may still arrive: the next tick scans it again")
        }
        (Value::Bool(false), _) => ", not complete yet: the next tick scans it again".to_owned(),
        _ => String::new(),
    };
    let version = match (scan["version"].as_i64(), &scan["version_served"]) {
        (Some(version), Value::Bool(false)) => {
            format!(
                ", judged by version {version}: no version was champion in the window, so the first champion is used"
            )
        }
        (Some(version), _) => format!(", judged by version {version}, the champion in the window"),
        _ => String::new(),
    };
    format!(
        "{} rows, {}{version}{partly}\n{table}\nreport {}",
        count(&scan["rows"]),
        plain(&scan["status"]),
        plain(&scan["report"])
    )
}

/// The same figures as a monitor's, for two files.
async fn compare(
    format: output::Format,
    reference: &Path,
    current: &Path,
    columns: &[String],
    page: Option<Page>,
) -> Done {
    let report =
        tidemill_monitor::compare_files(reference, current, columns).await.map_err(Failure::of_job)?;
    if let Some(Page { file, force }) = page {
        files::write(&file, report.to_html().as_bytes(), force)?;
    }
    let rows: Vec<Value> = report.columns.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
    let defects = |defects: &Value| {
        let told: Vec<tidemill_monitor::Defect> = serde_json::from_value(defects.clone()).unwrap_or_default();
        told.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    let shown = [
        text("COLUMN", "/column"),
        text("KIND", "/kind"),
        text("PSI", "/psi").by(figure),
        text("JS", "/js").by(figure),
        text("KS", "/ks_exact").by(figure),
        text("HELLINGER", "/hellinger").by(figure),
        text("LINF", "/linf").by(figure).wide(),
        text("TVD", "/tvd").by(figure).wide(),
        text("PSI EXPECTED", "/psi_expected").by(figure).wide(),
        text("NULLS BEFORE", "/null_rate_reference").by(figure),
        text("NULLS NOW", "/null_rate_current").by(figure),
        text("UNSEEN", "/unseen_rate").by(figure),
        text("ROWS BEFORE", "/rows_reference").by(count),
        text("ROWS NOW", "/rows_current").by(count),
        text("DEFECTS", "/defects").by(defects),
    ];
    Ok(output::list(format, &rows, "/column", &shown)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_monitor_says_what_it_watches_and_what_it_found() {
        let results = json!([
            { "check": "psi", "column": "prediction", "value": 0.36, "warn": 0.12, "limit": 0.2, "status": "fail" },
            { "check": "auc", "column": "late", "value": null, "limit": 0.045, "status": "insufficient",
              "note": "no label has matured" },
            { "check": "freshness", "column": "weather", "value": 7_200.0, "limit": 10_800.0, "status": "ok" },
        ]);
        let page = json!({
            "monitor": { "name": "drift", "target": { "model": "late_flight" }, "every": { "months": 1 }, "notify": ["ops"] },
            "scans": [{ "from": "2013-09-01T04:00:00Z", "to": "2013-10-01T04:00:00Z", "status": "fail", "body": {
                "rows": 27_574, "version": 1, "mean_prediction": 0.18, "label_rate": 0.132, "auc": null,
                "report": "reports/drift.html", "results": results,
            } }],
            "incidents": [{
                "id": "inc_1", "monitor": "drift", "state": "open", "opened_at": "2026-01-01T00:00:00Z",
                "from": "2013-09-01T04:00:00Z", "to": "2013-10-01T04:00:00Z", "notified": [{ "notifier": "ops", "delivered_at": "2026-01-01T00:00:01Z" }],
                "summary": "psi prediction 0.36 (limit 0.2)",
            }],
        });
        insta::assert_snapshot!(show(&page));
    }
}
