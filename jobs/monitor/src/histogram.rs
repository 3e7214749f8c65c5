//! Two histograms over one set of bins as inline SVG. Pure.

use maud::{Markup, html};

use crate::{
    Bin, ColumnReport,
    counts::{Scale, share, value},
};

/// Bars of one histogram; of more categories, the largest are drawn.
const BARS_MAX: usize = 20;
/// Size of the plot, in CSS pixels, and what its labels take beside and below.
const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 150.0;
const LEFT: f64 = 34.0;
const BELOW: f64 = 46.0;
/// Letters of a label.
const LABEL_MAX: usize = 14;

/// Shares of both sides, bin by bin.
pub(crate) fn histogram(column: &ColumnReport) -> Markup {
    let bars = bars(column);
    let highest = bars.iter().map(|bar| bar.reference.max(bar.current)).fold(0.01, f64::max);
    let slot = WIDTH / count(bars.len().max(1));
    html! {
        svg viewBox=(format!("0 0 {} {}", LEFT + WIDTH + 4.0, HEIGHT + BELOW + 6.0)) role="img"
            aria-label=(format!("shares of {} by bin, reference and window", column.column)) {
            @for part in [0.0, 0.5, 1.0] {
                line class="grid" x1=(LEFT) x2=(LEFT + WIDTH) y1=(y(part)) y2=(y(part)) {}
                text class="axis" x=(LEFT - 4.0) y=(format!("{:.1}", 6.0 + HEIGHT * (1.0 - part) + 3.0))
                    text-anchor="end" { (percent(part * highest)) }
            }
            @for (step, bar) in bars.iter().enumerate() {
                (one(bar, LEFT + count(step) * slot, slot, highest))
            }
        }
    }
}

struct Bar<'a> {
    label: &'a str,
    reference: f64,
    current: f64,
}

/// In the bins' order; of too many, the largest, the largest first.
fn bars(column: &ColumnReport) -> Vec<Bar<'_>> {
    let total = |side: fn(&Bin) -> u64| column.bins.iter().map(side).sum::<u64>();
    let (before, now) = (total(|bin| bin.reference), total(|bin| bin.current));
    let bar =
        |bin: &'_ Bin| (share(bin.reference, before).unwrap_or(0.0), share(bin.current, now).unwrap_or(0.0));
    let mut bars: Vec<Bar<'_>> = column
        .bins
        .iter()
        .map(|bin| (bin, bar(bin)))
        .map(|(bin, (reference, current))| Bar { label: &bin.label, reference, current })
        .collect();
    if bars.len() > BARS_MAX {
        bars.sort_by(|a, b| (b.reference + b.current).total_cmp(&(a.reference + a.current)));
        bars.truncate(BARS_MAX);
    }
    bars
}

fn one(bar: &Bar<'_>, x: f64, slot: f64, highest: f64) -> Markup {
    let middle = x + slot / 2.0;
    html! {
        g {
            title { (bar.label) ": " (percent(bar.reference)) " of the reference, " (percent(bar.current)) " of the window" }
            (rect("reference", x + slot * 0.12, slot * 0.37, bar.reference / highest))
            (rect("current", x + slot * 0.51, slot * 0.37, bar.current / highest))
            text class="axis" text-anchor="end" transform=(format!("translate({middle:.1} {}) rotate(-32)", HEIGHT + 17.0)) {
                (shortened(bar.label))
            }
        }
    }
}

fn rect(class: &str, x: f64, width: f64, part: f64) -> Markup {
    html! {
        rect class=(class) x=(format!("{x:.1}")) y=(y(part))
            width=(format!("{width:.1}")) height=(format!("{:.1}", part * HEIGHT)) {}
    }
}

/// Where a part of the height lies.
fn y(part: f64) -> String {
    format!("{:.1}", 6.0 + HEIGHT * (1.0 - part))
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent != 0.0 && percent < 10.0 { format!("{percent:.1} %") } else { format!("{percent:.0} %") }
}

fn shortened(label: &str) -> String {
    if label.chars().count() <= LABEL_MAX {
        return label.to_owned();
    }
    label.chars().take(LABEL_MAX - 1).chain(['…']).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a few bars")]
fn count(bars: usize) -> f64 {
    bars as f64
}

fn short(number: f64) -> String {
    value(Scale::Number, number)
}

/// What the two sides' values are, in words.
pub(crate) fn spreads(column: &ColumnReport) -> Markup {
    html! {
        @if let (Some(before), Some(now)) = (column.spread_reference, column.spread_current) {
            p class="spread" {
                "mean " (short(before.mean)) " → " (short(now.mean)) " · std " (short(before.std)) " → " (short(now.std))
                " · min " (short(before.min)) " → " (short(now.min)) " · max " (short(before.max)) " → " (short(now.max))
            }
        }
        @if column.infinite_reference + column.infinite_current > 0 {
            p class="spread" { (column.infinite_reference) " → " (column.infinite_current) " infinite values, in no bin" }
        }
    }
}
