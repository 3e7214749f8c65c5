//! Monitors and incidents.

use std::path::Path;

use serde_json::{Value, json};

use super::{Session, watch::wait_for};
use crate::{
    args::{Alerts, Global, Monitors},
    failure::Done,
    output::{self, count, figure, instant, plain, text},
};

const SCANS: &[output::Column] = &[
    text("MONITOR", "/monitor"),
    text("FROM", "/from").by(instant),
    text("TO", "/to").by(instant),
    text("STATUS", "/status"),
    text("ROWS", "/rows").by(count),
    text("FINDINGS", "/findings"),
    text("REPORT", "/report").wide(),
];

/// `tidemill monitors …`
pub(crate) async fn monitors(global: &Global, command: Monitors) -> Done {
    // Comparing files needs no server.
    if let Monitors::Compare { reference, current, columns, html } = command {
        return compare(global.output, &reference, &current, &columns, html.as_deref()).await;
    }
    let session = Session::open(global)?;
    match command {
        Monitors::Compare { .. } => Ok(()),
        Monitors::List => {
            let rows = session.client.list("/v1/monitors", &[]).await?;
            let columns = [
                text("MONITOR", "/name"),
                text("TARGET", "/target"),
                text("LAST WINDOW", "/last_scan/from").by(instant),
                text("STATUS", "/last_scan/status"),
                text("OPEN INCIDENTS", "/open_incidents").by(count),
            ];
            Ok(output::list(session.format, &rows, "/name", &columns)?)
        }
        Monitors::Show { monitor } => {
            let page = session.client.get(&format!("/v1/monitors/{monitor}")).await?;
            Ok(output::object(session.format, &page, "/name", |page| {
                let scans = page["scans"].as_array().cloned().unwrap_or_default();
                output::table(&scans, &SCANS.iter().collect::<Vec<_>>())
            })?)
        }
        Monitors::Run { monitor, window, no_wait } => {
            let body = json!({ "window": window });
            let started = session.client.post(&format!("/v1/monitors/{monitor}/run"), &body).await?;
            if no_wait {
                return Ok(output::object(session.format, &started, "/run_id", |run| plain(&run["run_id"]))?);
            }
            let page = wait_for(&session, &plain(&started["run_id"])).await?;
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
            let columns = [
                text("INCIDENT", "/id"),
                text("MONITOR", "/monitor"),
                text("STATE", "/state"),
                text("OPENED", "/opened_at").by(instant),
                text("WINDOW", "/from").by(instant),
                text("WHAT", "/summary"),
                text("DELIVERED", "/delivered"),
            ];
            Ok(output::list(session.format, &rows, "/id", &columns)?)
        }
    }
}

fn show_scan(scan: &Value) -> String {
    let columns = [
        text("CHECK", "/check"),
        text("COLUMN", "/column"),
        text("VALUE", "/value").by(figure),
        text("LIMIT", "/limit").by(figure),
        text("STATUS", "/status"),
    ];
    let rows = scan["results"].as_array().cloned().unwrap_or_default();
    let table = output::table(&rows, &columns.iter().collect::<Vec<_>>());
    format!(
        "{} rows, {}\n{table}\nreport {}",
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
    html: Option<&Path>,
) -> Done {
    let report = tidemill_monitor::compare_files(reference, current, columns).await?;
    if let Some(path) = html {
        std::fs::write(path, report.to_html())?;
    }
    let rows: Vec<Value> = report.columns.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
    let shown = [
        text("COLUMN", "/column"),
        text("KIND", "/kind"),
        text("PSI", "/psi").by(figure),
        text("JS", "/js").by(figure),
        text("KS", "/ks").by(figure),
        text("HELLINGER", "/hellinger").by(figure),
        text("NULLS BEFORE", "/null_rate_reference").by(figure),
        text("NULLS NOW", "/null_rate_current").by(figure),
        text("UNSEEN", "/unseen_rate").by(figure),
    ];
    Ok(output::list(format, &rows, "/column", &shown)?)
}
