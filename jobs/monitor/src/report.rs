//! Self-contained pages: what was judged, figures in a table, histograms as inline SVG. No scripts, nothing to fetch.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use tidemill_core::Time;
use tidemill_spec::{Monitor, MonitorTarget, Reference};

use crate::{
    CheckResult, ColumnReport, Defect, Scan, Side, Verdict,
    histogram::{histogram, spreads},
    judge::shown,
    window::local,
};

/// Histograms of one page: the most drifted. Keeps a page below 300 KB.
const HISTOGRAMS_MAX: usize = 36;
/// Rows of the table of figures, for the same reason.
const FIGURES_MAX: usize = 200;
/// Width of a check's meter, in CSS pixels.
const METER: f64 = 120.0;

const STYLE: &str = include_str!("report.css");

/// A page of columns side by side.
pub(crate) fn comparison(columns: &[ColumnReport]) -> String {
    page(
        "Comparison",
        &html! {
            h1 { "Comparison" }
            p class="lead" { (columns.len()) " columns, each with the bins of the reference" }
            (of_columns(columns))
        },
    )
}

/// The page of a scan.
pub(crate) fn page_of(scan: &Scan, monitor: &Monitor, columns: &[ColumnReport]) -> String {
    let (kind, target) = match &monitor.target {
        MonitorTarget::Model(name) => ("model", name),
        MonitorTarget::Source(name) => ("source", name),
        MonitorTarget::View(name) => ("view", name),
    };
    let version = scan.version.map(|version| format!(" version {version}")).unwrap_or_default();
    let reference = match &monitor.reference {
        Reference::Training => "what it was trained on".to_owned(),
        Reference::Range { from, to } => span(monitor, from, to),
    };
    page(
        &format!("{} {}", scan.monitor, local(monitor, scan.from)),
        &html! {
            h1 { (scan.monitor) " " (badge(scan.status)) }
            p class="lead" {
                (kind) " " (target) (version) " · "
                (span(monitor, &scan.from, &scan.to))
                " · compared with " (reference)
            }
            dl class="facts" {
                (fact("rows of the window", &scan.rows.to_string()))
                (fact("rows of the reference", &scan.rows_reference.to_string()))
                @if scan.version.is_some() {
                    (fact("label rate", &number(scan.label_rate)))
                    (fact("mean prediction", &number(scan.mean_prediction)))
                    (fact("AUC", &number(scan.auc)))
                }
            }
            @if !scan.complete {
                p class="foot" {
                    "This window is not complete yet"
                    @if !scan.awaited.is_empty() { ": rows of " (scan.awaited.join(", ")) " may still arrive" }
                    ". The next tick scans it again."
                }
            }
            @if !scan.version_served {
                p class="foot" { "No version was champion in this window, so the first champion is used." }
            }
            h2 { "Checks" }
            (checks(&scan.results))
            (of_columns(columns))
        },
    )
}

fn page(title: &str, content: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · Tidemill" }
                style { (PreEscaped(STYLE)) }
            }
            body { (content) }
        }
    }
    .into_string()
}

/// Two instants in the monitor's time zone.
fn span(monitor: &Monitor, from: &Time, to: &Time) -> String {
    format!("{} to {} {}", local(monitor, *from), local(monitor, *to), monitor.timezone)
}

fn badge(verdict: Verdict) -> Markup {
    html! { span class=(format!("badge {}", verdict.as_str())) { (verdict.as_str()) } }
}

fn fact(name: &str, value: &str) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

fn checks(results: &[CheckResult]) -> Markup {
    html! {
        div class="scroll" { table {
            thead { tr {
                th class="text" { "verdict" } th class="text" { "check" } th class="text" { "column" } th { "value" }
                th class="meter" { "" } th { "warn above" } th { "fail above" } th class="text" { "" }
            } }
            tbody { @for result in results { tr {
                td class=(format!("text {}", result.status.as_str())) { (result.status.as_str()) }
                td class="text" { (result.check) }
                td class="text" { (result.column) }
                td { (result.value.map_or_else(dash, |value| shown(&result.check, value))) }
                td class="meter" { (meter(result)) }
                td { (result.warn.map_or_else(String::new, |warn| shown(&result.check, warn))) }
                td { @if result.check == "volume" { "below " } (shown(&result.check, result.limit)) }
                td class="note" { (result.note.as_deref().unwrap_or_default()) }
            } } }
        } }
    }
}

/// The value against its limit, which is the line at two thirds.
fn meter(result: &CheckResult) -> Markup {
    let limit = METER / 1.5;
    let value = result.value.filter(|_| result.limit > 0.0 && result.check != "volume");
    html! { @if let Some(value) = value {
        svg viewBox=(format!("0 0 {METER} 12")) aria-hidden="true" {
            rect class="track" width=(METER) height="12" rx="2" {}
            rect class=(result.status.as_str()) width=(format!("{:.1}", (value / result.limit * limit).clamp(0.0, METER))) height="12" rx="2" {}
            line x1=(limit) x2=(limit) y1="0" y2="12" stroke="currentColor" {}
        }
    } }
}

fn of_columns(columns: &[ColumnReport]) -> Markup {
    let mut drifted: Vec<&ColumnReport> = columns.iter().collect();
    drifted.sort_by(|a, b| b.psi.unwrap_or(0.0).total_cmp(&a.psi.unwrap_or(0.0)));
    html! {
        @if !columns.is_empty() {
            h2 { "Columns" }
            (figures(&drifted))
            (defects(columns))
            @if drifted.len() > HISTOGRAMS_MAX {
                p class="foot" { "Of " (drifted.len()) " columns the " (HISTOGRAMS_MAX) " that drifted most are drawn." }
            }
            h2 { "Distributions" }
            p class="foot" { span class="key reference" {} "reference" span class="key current" {} "window" }
            div class="cards" { @for column in drifted.iter().filter(|column| !column.bins.is_empty()).take(HISTOGRAMS_MAX) { div class="card" {
                h3 { (column.column) }
                p class="figures" {
                    "PSI " (number(column.psi)) " · JS " (number(column.js))
                    @if column.ks_exact.is_some() { " · KS " (number(column.ks_exact)) }
                    @if let Some(unseen) = column.unseen_rate { " · unseen " (number(Some(unseen))) }
                    " · nulls " (number(column.null_rate_reference)) " → " (number(column.null_rate_current))
                }
                (spreads(column))
                (histogram(column))
            } } }
            p class="foot" {
                "Bins are the reference's deciles, or its categories; KS is of the values themselves. PSI adds half a count to each bin and has a bin for \
                 nulls where there are any; the other distances are of known values. JS is the square root of the \
                 divergence to base 2. “No drift” is the PSI to expect of two samples of one distribution."
            }
        }
    }
}

/// What isn't as it should be in the columns, which figures leave out.
fn defects(columns: &[ColumnReport]) -> Markup {
    let found: Vec<(&str, &Defect)> = columns
        .iter()
        .flat_map(|column| column.defects.iter().map(|defect| (column.column.as_str(), defect)))
        .collect();
    html! {
        @if !found.is_empty() {
            h2 { "Defects" }
            div class="scroll" { table {
                thead { tr { th class="text" { "column" } th class="text" { "side" } th { "rows" } th class="text" { "" } } }
                tbody { @for (column, defect) in found.iter().take(FIGURES_MAX) { tr {
                    td class="text" { (column) }
                    td class="text" { (if defect.side == Side::Reference { "reference" } else { "window" }) }
                    td { (defect.rows) }
                    td class="text" { (defect) }
                } } }
            } }
        }
    }
}

/// The figures of each column.
fn figures(columns: &[&ColumnReport]) -> Markup {
    html! {
        div class="scroll" { table {
            thead { tr {
                th class="text" { "column" } th { "PSI" } th { "no drift" } th { "JS" } th { "KS" } th { "Hellinger" }
                th { "L∞" } th { "TVD" } th { "nulls before" } th { "now" } th { "unseen" }
                th { "rows before" } th { "now" }
            } }
            tbody {
                @for column in columns.iter().take(FIGURES_MAX) { tr {
                    td class="text" { (column.column) }
                    @for figure in [column.psi, column.psi_expected, column.js, column.ks_exact, column.hellinger,
                        column.linf, column.tvd, column.null_rate_reference, column.null_rate_current,
                        column.unseen_rate] {
                        td { (number(figure)) }
                    }
                    td { (column.rows_reference) } td { (column.rows_current) }
                } }
            }
        } }
    }
}

/// Four digits after the point, or as many as a large number needs; a dash where there is none.
pub(crate) fn number(value: Option<f64>) -> String {
    value.map_or_else(dash, |value| match value.abs() {
        size if size >= 1e7 => format!("{value:.3e}"),
        size if size >= 100.0 => format!("{value:.1}"),
        _ => format!("{value:.4}"),
    })
}

fn dash() -> String {
    "–".to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, RecordBatch};

    use crate::compare;

    #[test]
    fn a_page_of_many_columns_is_small_fetches_nothing_and_quotes_what_it_shows() {
        let column = |index: i32| -> ArrayRef {
            Arc::new(Float64Array::from_iter_values((0..500).map(|row| f64::from(row * index % 977))))
        };
        let mut columns: Vec<(String, ArrayRef)> =
            (1..300).map(|index| (format!("a_rather_long_name_of_column_{index}"), column(index))).collect();
        columns.push(("<script>alert(1)</script>".to_owned(), column(3)));
        let table = RecordBatch::try_from_iter(columns).unwrap();
        let page = compare(&table, &table.slice(100, 300), &[]).unwrap().to_html();
        assert!(page.len() < 300_000, "{} bytes", page.len());
        assert!(!page.contains("<script") && !page.contains("http") && page.contains("<svg"));
        assert!(page.contains("prefers-color-scheme:dark"));
    }
}
