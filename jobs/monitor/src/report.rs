//! Self-contained pages: figures in a table, histograms as inline SVG. No scripts, nothing to fetch.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::{ColumnReport, counts::share};

/// Bars of one histogram; of more categories, the largest are drawn.
const BARS_MAX: usize = 20;
/// Size of a histogram, in CSS pixels.
const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 160.0;

const STYLE: &str = "\
:root{color-scheme:light dark;font:15px/1.5 system-ui,sans-serif}body{max-width:60rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse;width:100%}td,th{padding:.25rem .6rem;border-bottom:1px solid #8884;text-align:right}\
td:first-child,th:first-child{text-align:left}svg{width:100%;height:auto}text{font-size:9px;fill:currentColor}\
.reference{fill:#8a94a6}.current{fill:#2f7ed8}.ok{color:#2a8a4a}.warn{color:#b07400}.fail{color:#c4302b;font-weight:600}\
.insufficient{color:#777}";

/// A page of columns side by side.
pub(crate) fn comparison(columns: &[ColumnReport]) -> String {
    page("Comparison", &html! { (figures(columns)) (histograms(columns)) })
}

/// A page with a heading.
pub(crate) fn page(title: &str, content: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · Tidemill" }
                style { (PreEscaped(STYLE)) }
            }
            body { h1 { (title) } (content) }
        }
    }
    .into_string()
}

/// The figures of each column.
pub(crate) fn figures(columns: &[ColumnReport]) -> Markup {
    html! {
        table {
            thead { tr {
                th { "column" } th { "PSI" } th { "JS" } th { "KS" } th { "Hellinger" }
                th { "nulls before" } th { "nulls now" } th { "unseen" } th { "rows before" } th { "rows now" }
            } }
            tbody {
                @for column in columns { tr {
                    td { (column.column) }
                    @for figure in [column.psi, column.js, column.ks, column.hellinger,
                        column.null_rate_reference, column.null_rate_current, column.unseen_rate] {
                        td { (number(figure)) }
                    }
                    td { (column.rows_reference) } td { (column.rows_current) }
                } }
            }
        }
    }
}

/// The histograms of each column.
pub(crate) fn histograms(columns: &[ColumnReport]) -> Markup {
    html! { @for column in columns { h2 { (column.column) } (histogram(column)) } }
}

/// Four digits, or a dash where there is none.
pub(crate) fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"))
}

fn histogram(column: &ColumnReport) -> Markup {
    let total = |side: fn(&crate::Bin) -> u64| column.bins.iter().map(side).sum::<u64>();
    let (before, now) = (total(|bin| bin.reference), total(|bin| bin.current));
    let mut bins: Vec<(&str, f64, f64)> = column
        .bins
        .iter()
        .map(|bin| {
            let shares = (share(bin.reference, before), share(bin.current, now));
            (bin.label.as_str(), shares.0.unwrap_or(0.0), shares.1.unwrap_or(0.0))
        })
        .collect();
    if bins.len() > BARS_MAX {
        bins.sort_by(|a, b| (b.1 + b.2).total_cmp(&(a.1 + a.2)));
        bins.truncate(BARS_MAX);
    }
    let highest = bins.iter().map(|bin| bin.1.max(bin.2)).fold(f64::MIN_POSITIVE, f64::max);
    let steps = std::iter::successors(Some(0.0), |x| Some(x + 1.0));
    #[expect(clippy::cast_precision_loss, reason = "a few bars")]
    let slot = WIDTH / bins.len() as f64;
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {}", HEIGHT + 18.0)) role="img"
            aria-label=(format!("shares of {} by bin, reference and window", column.column)) {
            @for (step, (label, reference, current)) in steps.zip(&bins) {
                g {
                    title { (label) ": " (number(Some(*reference))) " before, " (number(Some(*current))) " now" }
                    (bar("reference", step * slot + slot * 0.08, slot * 0.4, reference / highest))
                    (bar("current", step * slot + slot * 0.52, slot * 0.4, current / highest))
                    text x=(format!("{:.1}", step * slot + slot / 2.0)) y=(HEIGHT + 12.0) text-anchor="middle" {
                        (label.chars().take(12).collect::<String>())
                    }
                }
            }
        }
    }
}

fn bar(class: &str, x: f64, width: f64, part: f64) -> Markup {
    let height = part * HEIGHT;
    html! {
        rect class=(class) x=(format!("{x:.1}")) y=(format!("{:.1}", HEIGHT - height))
            width=(format!("{width:.1}")) height=(format!("{height:.1}")) {}
    }
}
