//! Figures of columns against those of another implementation, through the public door.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use serde::Deserialize;
use serde_json::Value;
use tidemill_monitor::{ColumnReport, compare};

#[derive(Deserialize)]
struct Cases {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    reference: Value,
    current: Value,
    expected: BTreeMap<String, f64>,
}

#[test]
fn figures_agree_with_another_implementation() {
    let Cases { cases } = serde_json::from_str(include_str!("figures.json")).unwrap();
    assert_eq!(cases.len(), 6);
    for Case { name, reference, current, expected } in cases {
        let table = |recipe: &Value| RecordBatch::try_from_iter([("x", column(recipe))]).unwrap();
        let report = compare(&table(&reference), &table(&current), &[]).unwrap().columns.remove(0);
        for (figure, expected) in expected {
            let found = figure_of(&report, &figure).unwrap_or_else(|| panic!("{name}: no {figure}"));
            // The expected figures have ten digits.
            assert!(
                (found - expected).abs() <= 1e-9 * expected.max(0.1),
                "{name}: {figure} is {found}, not {expected}"
            );
        }
        assert_eq!(report.psi, report.known.psi, "{name} has no nulls");
    }
}

/// Down as well as up, and from a value that nine rows of ten share.
#[test]
fn all_mass_that_moved_is_seen_by_every_figure() {
    let numbers = |values: Vec<f64>| -> RecordBatch {
        RecordBatch::try_from_iter([("x", Arc::new(Float64Array::from(values)) as ArrayRef)]).unwrap()
    };
    let zeros = [vec![0.0; 900], (1..=100).map(f64::from).collect()].concat();
    let around = [vec![-3.0; 50], vec![0.0; 900], vec![3.0; 50]].concat();
    for reference in [vec![5.0; 1000], zeros, around] {
        for value in [3.5, 7.5, -999.0, 999.0] {
            let report = compare(&numbers(reference.clone()), &numbers(vec![value; 500]), &[]).unwrap();
            let [x] = &report.columns[..] else { panic!("one column") };
            let told = format!("{:?} against {value}: {x:?}", &reference[60..62]);
            assert!(x.psi.unwrap() > 2.0 && x.tvd.unwrap() > 0.85 && x.js.unwrap() > 0.8, "{told}");
            assert!(x.ks_exact.unwrap() >= 0.9 && x.hellinger.unwrap() > 0.8, "{told}");
        }
    }
}

#[test]
fn nulls_and_infinities_have_their_place() {
    let column = |values: Vec<Option<f64>>| -> ArrayRef { Arc::new(Float64Array::from(values)) };
    let reference = (1..=100).map(|i| Some(f64::from(i)));
    let current = (1..=90).map(|i| Some(f64::from(i)));
    let broken = [None, None, Some(f64::NAN), Some(f64::INFINITY), Some(f64::NEG_INFINITY)];
    let table = |values| RecordBatch::try_from_iter([("x", column(values))]).unwrap();
    let (reference, clean) = (table(reference.collect()), table(current.clone().collect()));
    let clean = compare(&reference, &clean, &[]).unwrap().columns.remove(0);
    let dirty = table(current.chain(broken).collect());
    let dirty = compare(&reference, &dirty, &[]).unwrap().columns.remove(0);
    assert_eq!(dirty.known, clean.known);
    assert_eq!((clean.psi, dirty.psi), (clean.known.psi, dirty.with_null.psi));
    assert!(dirty.psi > clean.psi);
    assert_eq!((dirty.rows_current, dirty.infinite_current), (95, 2));
    assert_eq!(dirty.null_rate_current, Some(3.0 / 95.0));
    assert_eq!(dirty.bins.last().map(|bin| (bin.label.as_str(), bin.current)), Some(("null", 3)));
    assert_eq!(dirty.spread_current.unwrap().max, 90.0);
}

#[test]
fn a_column_of_very_many_categories_keeps_its_figures_and_a_short_histogram() {
    let names = |from: u32, to: u32| -> ArrayRef {
        Arc::new(StringArray::from_iter_values((from..to).map(|i| format!("tail {i}"))))
    };
    let table = |from, to| RecordBatch::try_from_iter([("x", names(from, to))]).unwrap();
    let report = compare(&table(0, 2000), &table(1000, 3000), &[]).unwrap().columns.remove(0);
    assert_eq!((report.unseen_rate, report.linf, report.bins.len()), (Some(0.5), Some(0.5), 502));
    let rows = |side: fn(&tidemill_monitor::Bin) -> u64| report.bins.iter().map(side).sum::<u64>();
    assert_eq!((rows(|bin| bin.reference), rows(|bin| bin.current)), (2000, 2000));
}

fn figure_of(report: &ColumnReport, name: &str) -> Option<f64> {
    match name {
        // One label a bin, and the unseen one counts.
        "bins" => Some(f64::from(u32::try_from(report.bins.len()).unwrap())),
        "psi_jeffreys" => report.psi,
        "js_base2" => report.js,
        "hellinger" => report.hellinger,
        "linf" => report.linf,
        "tvd" => report.tvd,
        "ks_binned" => report.ks,
        "ks_exact" => report.ks_exact,
        "psi_null_mean" => report.psi_expected,
        _ => None,
    }
}

/// Rows by value, or a recipe for numbers.
fn column(recipe: &Value) -> ArrayRef {
    let numbers: Vec<f64> = match recipe.as_str() {
        None => {
            let counts: BTreeMap<String, usize> = serde_json::from_value(recipe.clone()).unwrap();
            let values = counts.iter().flat_map(|(value, rows)| std::iter::repeat_n(value, *rows));
            return Arc::new(values.map(Some).collect::<StringArray>());
        }
        Some("np.full(2000,7.0)") => vec![7.0; 2000],
        Some("sm(42,4000)") => splitmix(42, 4000).collect(),
        Some("sm(43,4000)**1.1") => splitmix(43, 4000).map(|x| x.powf(1.1)).collect(),
        Some(recipe) => panic!("{recipe} is not known"),
    };
    Arc::new(Float64Array::from(numbers))
}

fn splitmix(seed: u64, count: u64) -> impl Iterator<Item = f64> {
    (1..=count).map(move |i| {
        let mut z = seed.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        // 53 bits fit an f64 exactly.
        #[expect(clippy::cast_precision_loss, reason = "53 bits")]
        let value = ((z ^ (z >> 31)) >> 11) as f64;
        value * 2.0_f64.powi(-53)
    })
}
