//! Laws of windows, against oracles that know no tiles.

use std::time::Duration;

use proptest::prelude::*;
use tidemill_spec::{Aggregate, Feature, Operand, Rule, Type, Value};
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
        window.fold(rows.map(|(valid_us, row)| (*valid_us, row.clone().map_or(Value::Null, &value))))
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
    let merged = window.merge(tiles.iter().map(|(tile, partial)| (*tile, partial)), at_us);
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
                Aggregate::Max => near(inside.iter().copied().fold(f64::NEG_INFINITY, f64::max), 0.0),
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
    fn least_and_greatest_are_those_of_any_type_that_has_an_order(rows in rows("[a-c]{0,2}"), at_us in instant()) {
        for aggregate in [Aggregate::Min, Aggregate::Max] {
            let [folded, merged] = both(&window(aggregate, Type::String), &rows, at_us, Value::String);
            prop_assert_eq!(&folded, &merged);
            let inside = inside(&rows, at_us).into_iter();
            let wanted = if aggregate == Aggregate::Min { inside.min() } else { inside.max() };
            prop_assert_eq!(folded, wanted.map_or(Value::Null, Value::String));
        }
    }
}
