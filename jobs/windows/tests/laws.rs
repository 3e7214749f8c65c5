//! Laws of windows, against oracles that know no tiles.

use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;
use tidemill_spec::{Aggregate, Decimal, Feature, Operand, Rule, Type, Value};
use tidemill_windows::{Partial, Window};

const LENGTH_US: i64 = 3_600_000_000;
const HOP_US: i64 = 300_000_000;

fn window(aggregate: Aggregate, ty: Type) -> Window {
    let micros = |us: i64| Duration::from_micros(us.try_into().unwrap());
    let (window, hop) = (micros(LENGTH_US), micros(HOP_US));
    let of = Some(Operand::Column("x".to_owned()));
    let rule = Rule::Window { aggregate, of, condition: None, window, hop };
    Window::of(&Feature { ty, rule, default: None }).unwrap()
}

/// Instants around a few tiles, before 1970 too; the ends of tiles are met often.
fn instant() -> impl Strategy<Value = i64> {
    ((-30_i64..30), prop_oneof![Just(-1_i64), Just(0), Just(1), 0..HOP_US])
        .prop_map(|(tile, beside)| tile * HOP_US + beside)
}

/// Rows in their order.
fn rows<V: std::fmt::Debug + Clone>(
    value: impl Strategy<Value = V>,
) -> impl Strategy<Value = Vec<(i64, Option<V>)>> {
    prop::collection::vec((instant(), prop::option::weighted(0.8, value)), 0..40).prop_map(|mut rows| {
        rows.sort_by_key(|(valid_us, _)| *valid_us);
        rows
    })
}

/// Floats of very different sizes: the order in which they are added up shows.
fn float() -> impl Strategy<Value = f64> {
    prop_oneof![-1.0..1.0_f64, -1e12..1e12_f64, Just(0.0), Just(-0.0)]
}

fn inside<V: Clone>(rows: &[(i64, Option<V>)], at_us: i64) -> Vec<V> {
    let tail = (at_us - LENGTH_US).div_euclid(HOP_US) * HOP_US;
    let counted = rows.iter().filter(|(valid_us, _)| tail < *valid_us && *valid_us <= at_us);
    counted.filter_map(|(_, value)| value.clone()).collect()
}

/// What writers keep: the partial of each tile, of rows up to a moment.
fn tiles<V: Clone>(
    window: &Window,
    rows: &[(i64, Option<V>)],
    upto_us: i64,
    value: impl Fn(V) -> Value,
) -> Vec<(i64, Partial)> {
    let mut tiles: Vec<i64> = rows.iter().map(|(valid_us, _)| window.tile(*valid_us)).collect();
    tiles.dedup();
    let of_tile = |tile| {
        let rows =
            rows.iter().filter(move |(valid_us, _)| window.tile(*valid_us) == tile && *valid_us <= upto_us);
        let rows = rows.map(|(valid_us, row)| (*valid_us, row.clone().map_or(Value::Null, &value)));
        window.partial(window.fold(rows))
    };
    tiles.into_iter().map(|tile| (tile, of_tile(tile))).collect()
}

/// The window's value at a moment: from the rows themselves, and from their tiles.
fn both<V: Clone>(
    window: &Window,
    rows: &[(i64, Option<V>)],
    at_us: i64,
    value: impl Fn(V) -> Value,
) -> [Value; 2] {
    let counted = rows.iter().filter(|(valid_us, _)| window.tail_us(at_us) < *valid_us && *valid_us <= at_us);
    let folded =
        window.fold(counted.map(|(valid_us, row)| (*valid_us, row.clone().map_or(Value::Null, &value))));
    let tiles = tiles(window, rows, at_us, value);
    let merged = window.merge(tiles.iter().map(|(tile, partial)| (*tile, partial)), at_us).unwrap();
    [window.value(folded), merged]
}

proptest! {
    #[test]
    fn every_instant_lies_in_one_tile(valid_us in instant()) {
        let tile = window(Aggregate::Count, Type::Int).tile(valid_us);
        prop_assert!(tile * HOP_US < valid_us && valid_us <= (tile + 1) * HOP_US);
    }

    #[test]
    fn the_tiles_of_a_window_are_those_of_its_rows(valid_us in instant(), at_us in instant()) {
        let window = window(Aggregate::Count, Type::Int);
        let counts = window.tail_us(at_us) < valid_us && valid_us <= at_us;
        prop_assert!(!counts || window.tiles(at_us).contains(&window.tile(valid_us)));
        // The newest tile holds no row past the moment, because writers leave those out.
        prop_assert!(counts || valid_us > at_us || !window.tiles(at_us).contains(&window.tile(valid_us)));
        prop_assert!((at_us - window.tail_us(at_us) - LENGTH_US) < HOP_US);
    }

    #[test]
    fn floats_from_tiles_are_those_from_rows_to_the_bit(rows in rows(float()), at_us in instant()) {
        for aggregate in [Aggregate::Count, Aggregate::Sum, Aggregate::Mean, Aggregate::Min, Aggregate::Max] {
            let ty = if aggregate == Aggregate::Count { Type::Int } else { Type::Float };
            let [folded, merged] = both(&window(aggregate, ty), &rows, at_us, Value::Float);
            prop_assert_eq!(&folded, &merged, "{:?}", aggregate);
            let inside = inside(&rows, at_us);
            let near = |wanted: f64, scale: f64| match folded {
                Value::Float(found) => (found - wanted).abs() <= 1e-12 * scale,
                _ => false,
            };
            let (sum, scale) = (inside.iter().sum::<f64>(), inside.iter().map(|x| x.abs()).sum::<f64>());
            prop_assert!(match aggregate {
                Aggregate::Count => folded == Value::Int(inside.len() as i64),
                _ if inside.is_empty() => folded == Value::Null,
                Aggregate::Sum => near(sum, scale),
                Aggregate::Mean => near(sum / inside.len() as f64, scale),
                Aggregate::Min => near(inside.iter().copied().fold(f64::INFINITY, f64::min), 0.0),
                _ => near(inside.iter().copied().fold(f64::NEG_INFINITY, f64::max), 0.0),
            }, "{:?} of {:?} is {:?}", aggregate, inside, folded);
        }
    }

    #[test]
    fn a_sum_of_ints_is_exact_or_null(rows in rows(prop_oneof![any::<i64>(), -9..9_i64]), at_us in instant()) {
        let [folded, merged] = both(&window(Aggregate::Sum, Type::Int), &rows, at_us, Value::Int);
        prop_assert_eq!(&folded, &merged);
        let inside = inside(&rows, at_us);
        let sum: i128 = inside.iter().map(|n| i128::from(*n)).sum();
        match folded {
            Value::Int(found) => prop_assert_eq!(i128::from(found), sum),
            // Some part of it left the range, if not the whole.
            _ => prop_assert!(inside.is_empty() || inside.iter().map(|n| i128::from(*n).abs()).sum::<i128>() > i128::from(i64::MAX)),
        }
    }

    #[test]
    fn a_sum_of_decimals_is_exact_or_null(
        rows in rows(prop_oneof![-(10_i128.pow(38) - 1)..10_i128.pow(38), -999..999_i128]), at_us in instant(),
    ) {
        let sum_of = window(Aggregate::Sum, "decimal(38,2)".parse().unwrap());
        let [folded, merged] = both(&sum_of, &rows, at_us, |cents| Value::Decimal(Decimal::new(cents, 2)));
        prop_assert_eq!(&folded, &merged);
        let inside = inside(&rows, at_us);
        // Halves, for the sum of many leaves 128 bits.
        let (halves, odd) = inside.iter().fold((0_i128, 0_i128), |(halves, odd), cents| (halves + cents / 64, odd + cents % 64));
        match folded {
            Value::Decimal(found) => {
                prop_assert_eq!((found.scale(), found.unscaled()), (2, halves * 64 + odd));
            }
            // Some part of it left the range, if not the whole.
            _ => prop_assert!(
                inside.is_empty() || inside.iter().map(|cents| cents.abs() / 64 + 1).sum::<i128>() > 10_i128.pow(38) / 64
            ),
        }
    }

    #[test]
    fn values_of_any_type_are_ordered_counted_and_told_apart(rows in rows("[a-c]{0,2}"), at_us in instant()) {
        for (aggregate, ty) in [
            (Aggregate::Min, Type::String),
            (Aggregate::Max, Type::String),
            (Aggregate::First, Type::String),
            (Aggregate::Last, Type::String),
            (Aggregate::Mode, Type::String),
            (Aggregate::Distinct, Type::Int),
        ] {
            let [folded, merged] = both(&window(aggregate, ty), &rows, at_us, Value::String);
            prop_assert_eq!(&folded, &merged);
            let inside = inside(&rows, at_us);
            let different: BTreeSet<&String> = inside.iter().collect();
            let often = |value: &&&String| inside.iter().filter(|other| other == *value).count();
            let wanted = match aggregate {
                Aggregate::Min => inside.iter().min(),
                Aggregate::Max => inside.iter().max(),
                Aggregate::First => inside.first(),
                Aggregate::Last => inside.last(),
                // The last of equally common ones is taken: the least, from the greatest on.
                Aggregate::Mode => different.iter().rev().max_by_key(often).copied(),
                _ => {
                    prop_assert_eq!(folded, Value::Int(different.len() as i64));
                    continue;
                }
            };
            prop_assert_eq!(folded, wanted.map_or(Value::Null, |text| Value::String(text.clone())), "{:?}", aggregate);
        }
    }

    #[test]
    fn lists_are_the_newest_and_the_commonest_values(
        rows in rows("[a-c]{0,2}"), at_us in instant(), n in 1_u32..12,
    ) {
        let texts = "string[]".parse().unwrap();
        let listed = |values: Vec<&String>| {
            let values: Vec<Value> = values.into_iter().map(|text| Value::String(text.clone())).collect();
            if values.is_empty() { Value::Null } else { Value::List(values) }
        };
        let inside = inside(&rows, at_us);

        let [folded, merged] = both(&window(Aggregate::LastN { n }, texts), &rows, at_us, Value::String);
        prop_assert_eq!(&folded, &merged);
        prop_assert_eq!(folded, listed(inside.iter().rev().take(n as usize).collect()));

        let [folded, merged] = both(&window(Aggregate::Top { n }, texts), &rows, at_us, Value::String);
        prop_assert_eq!(&folded, &merged);
        let different: BTreeSet<&String> = inside.iter().collect();
        let mut left: Vec<&String> = different.into_iter().collect();
        let mut commonest = Vec::new();
        while commonest.len() < n as usize && !left.is_empty() {
            let often = |value: &String| inside.iter().filter(|other| *other == value).count();
            let most = left.iter().map(|value| often(value)).max().unwrap();
            let place = left.iter().position(|value| often(value) == most).unwrap();
            commonest.push(left.remove(place));
        }
        prop_assert_eq!(folded, listed(commonest));
    }

    /// However the tiles of a window are grouped, they join to the same.
    #[test]
    fn joining_tiles_is_associative(rows in rows(-3..3_i64), at_us in instant(), n in 1_u32..5, cut in 0..13_usize) {
        for aggregate in [Aggregate::LastN { n }, Aggregate::Top { n }] {
            let window = window(aggregate, "int[]".parse().unwrap());
            let tiles = tiles(&window, &rows, at_us, Value::Int);
            let reached: Vec<_> = tiles.into_iter().filter(|(tile, _)| window.tiles(at_us).contains(tile)).collect();
            let whole = window.merge(reached.iter().map(|(tile, partial)| (*tile, partial)), at_us).unwrap();
            let (first, second) = reached.split_at(cut.min(reached.len()));
            let joined = [first, second].map(|part| {
                let counted = |(tile, _): &(i64, Option<i64>)| part.iter().any(|(of, _)| *of == window.tile(*tile));
                let rows = rows.iter().filter(|row| row.0 <= at_us && counted(row));
                window.partial(window.fold(rows.map(|(at, row)| (*at, row.map_or(Value::Null, Value::Int)))))
            });
            let place = *window.tiles(at_us).start();
            let again = window.merge(joined.iter().map(|partial| (place, partial)), at_us).unwrap();
            prop_assert_eq!(whole, again, "{:?}", aggregate);
        }
    }

    #[test]
    fn a_deviation_is_that_of_two_passes(rows in rows(-1e6..1e6_f64), at_us in instant()) {
        let [folded, merged] = both(&window(Aggregate::Stddev, Type::Float), &rows, at_us, Value::Float);
        prop_assert_eq!(&folded, &merged);
        let inside = inside(&rows, at_us);
        let count = inside.len() as f64;
        let mean = inside.iter().sum::<f64>() / count;
        let wanted = (inside.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt();
        match folded {
            Value::Float(found) => prop_assert!((found - wanted).abs() <= 1e-9 * wanted, "{} {}", found, wanted),
            _ => prop_assert!(inside.len() < 2),
        }
    }

    #[test]
    fn a_percentile_is_within_one_per_cent_of_the_value_of_its_rank(
        rows in rows(prop_oneof![-1e9..1e9_f64, -1.0..1.0_f64, Just(0.0)]),
        at_us in instant(),
        p in prop_oneof![0.0..=1.0_f64, Just(0.5)],
    ) {
        let [folded, merged] = both(&window(Aggregate::Percentile { p }, Type::Float), &rows, at_us, Value::Float);
        prop_assert_eq!(&folded, &merged);
        let mut inside = inside(&rows, at_us);
        inside.sort_by(f64::total_cmp);
        match folded {
            Value::Float(found) => {
                let wanted = inside[(p * (inside.len() - 1) as f64).floor() as usize];
                prop_assert!((found - wanted).abs() <= 0.010_000_001 * wanted.abs() + 1e-12, "{} {}", found, wanted);
            }
            _ => prop_assert!(inside.is_empty()),
        }
    }

    #[test]
    fn a_damaged_partial_is_read_or_refused(text in "[A-Za-z0-9+/]{0,40}", version in any::<bool>()) {
        let text = if version { format!("AQ{text}") } else { text };
        for (aggregate, ty) in [
            (Aggregate::Stddev, Type::Float),
            (Aggregate::Distinct, Type::Int),
            (Aggregate::Mode, Type::Date),
            (Aggregate::Percentile { p: 0.5 }, Type::Float),
            (Aggregate::Top { n: 3 }, "decimal(5,2)[]".parse().unwrap()),
        ] {
            let partial = Partial { rows: 1, value: Value::String(text.clone()) };
            let _ = window(aggregate, ty).merge([(0, &partial), (1, &partial)], HOP_US);
        }
    }
}

/// Rows of many values in a few tiles.
fn many(values: i64) -> Vec<(i64, Option<String>)> {
    (0..values)
        .map(|value| (value % 7 * HOP_US + 1, Some(format!("user {value}"))))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

#[test]
fn values_are_told_apart_exactly_up_to_a_bound_and_then_within_a_few_per_cent() {
    let window = window(Aggregate::Distinct, Type::Int);
    for (values, error) in
        [(1_000, 0.0), (1_024, 0.0), (1_025, 0.05), (3_000, 0.05), (20_000, 0.05), (300_000, 0.05)]
    {
        let [folded, merged] = both(&window, &many(values), 10 * HOP_US, Value::String);
        assert_eq!(folded, merged, "{values}");
        let Value::Int(found) = folded else { panic!("{folded:?}") };
        let off = (found - values).abs() as f64 / values as f64;
        assert!(off <= error, "{found} of {values}");
    }
}

#[test]
fn too_many_values_have_no_mode_however_they_are_cut() {
    let mode_of = window(Aggregate::Mode, Type::String);
    let mode = |values| both(&mode_of, &many(values), 10 * HOP_US, Value::String);
    assert_eq!(mode(1_024), [(); 2].map(|()| Value::String("user 0".to_owned())));
    assert_eq!(mode(1_025), [Value::Null, Value::Null]);
    assert_eq!(mode(9_000), [Value::Null, Value::Null]);
    let top = window(Aggregate::Top { n: 2 }, "string[]".parse().unwrap());
    let top = |values| both(&top, &many(values), 10 * HOP_US, Value::String);
    let two = Value::List(["user 0", "user 1"].map(|text| Value::String(text.to_owned())).into());
    assert_eq!(top(1_024), [two.clone(), two]);
    assert_eq!(top(1_025), [Value::Null, Value::Null]);
}

#[test]
fn partials_of_every_type_of_value_read_back() {
    let values = [
        Value::String("a,b \"é\"\n".to_owned()),
        Value::Int(i64::MIN),
        Value::Float(0.1),
        Value::Bool(true),
        Value::parse("0001-01-01", Type::Date).unwrap(),
        Value::parse("9999-12-31T23:59:59.999999Z", Type::Timestamp).unwrap(),
        Value::Decimal(Decimal::new(-12_345, 2)),
    ];
    let types = Type::PLAIN.into_iter().chain(["decimal(5,2)".parse().unwrap()]);
    for (value, ty) in values.into_iter().zip(types) {
        let rows = [(1, Some(value.clone())), (2, None)];
        let window = window(Aggregate::Mode, ty);
        assert_eq!(both(&window, &rows, HOP_US, |value| value), [value.clone(), value]);
    }
}
