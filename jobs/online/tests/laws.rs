//! Laws of the pure half: what is written reads back, orders compare as their bytes, and windows merged from
//! tiles equal windows counted row by row.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use indexmap::IndexMap;
use proptest::prelude::*;
use tidemill_core::Time;
use tidemill_online::{Body, Layout, OnlineView, Order, Series, Status, Stored, Tile, TileOrder, values};
use tidemill_spec::{
    Aggregate, Decimal, Digits, Element, Feature, FeatureView, Freshness, Meta, OnlineFeatures, Operand,
    Rule, Type, Value, ViewInput,
};
use tidemill_windows::Window;

const HOP: Duration = Duration::from_secs(300);
const WINDOW: Duration = Duration::from_secs(3600);

fn at(micros: i64) -> Time {
    Time::from_timestamp_micros(micros).unwrap()
}

fn view(features: &[(&str, Type, Rule, Option<Value>)]) -> FeatureView {
    FeatureView {
        name: "load".into(),
        meta: Meta::default(),
        entity: "airport".into(),
        input: ViewInput::Source("departures".into()),
        ttl: None,
        features: features
            .iter()
            .map(|(name, ty, rule, default)| {
                ((*name).to_owned(), Feature { ty: *ty, rule: rule.clone(), default: default.clone() })
            })
            .collect(),
        python: None,
        batch: false,
        timeout: None,
        online: OnlineFeatures::All,
        freshness: None,
        leak_allowed: false,
    }
}

fn online(view: FeatureView) -> OnlineView {
    OnlineView::new(view, 1, IndexMap::from([("origin".to_owned(), Type::String)]), false)
}

fn value_of(ty: Type) -> BoxedStrategy<Value> {
    let present = match ty {
        Type::String => ".{0,8}".prop_map(Value::String).boxed(),
        Type::Int => any::<i64>().prop_map(Value::Int).boxed(),
        Type::Float => any::<f64>().prop_map(Value::Float).boxed(),
        Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Type::Date => (0..100_000_i32)
            .prop_map(|day| Value::Date(chrono::NaiveDate::from_num_days_from_ce_opt(day + 700_000).unwrap()))
            .boxed(),
        Type::Timestamp => (-1_i64 << 50..1 << 50).prop_map(|micros| Value::Timestamp(at(micros))).boxed(),
        Type::Decimal(digits) => any::<i64>()
            .prop_map(move |unscaled| Value::Decimal(Decimal::new(unscaled.into(), digits.scale())))
            .boxed(),
        Type::List { of, length } => {
            let item = value_of(of.into()).prop_filter("nothing is missing", |item| !item.is_null());
            let lengths = length.map_or(0..=4, |length| length as usize..=length as usize);
            prop::collection::vec(item, lengths).prop_map(Value::List).boxed()
        }
    };
    prop_oneof![1 => Just(Value::Null), 4 => present].boxed()
}

const PRICE: Type = Type::Decimal(Digits::new(20, 2).unwrap());
const INTS: Type = Type::List { of: Element::Int, length: None };
const TYPES: [Type; 9] = [
    Type::String,
    Type::Int,
    Type::Float,
    Type::Bool,
    Type::Date,
    Type::Timestamp,
    PRICE,
    Type::List { of: Element::Float, length: Some(3) },
    Type::List { of: Element::String, length: None },
];

fn columns_and_row() -> impl Strategy<Value = (Vec<Type>, Vec<Value>)> {
    prop::collection::vec(prop::sample::select(&TYPES[..]), 1..20).prop_flat_map(|types| {
        let row: Vec<_> = types.iter().map(|ty| value_of(*ty)).collect();
        (Just(types), row)
    })
}

proptest! {
    #[test]
    fn a_row_reads_back_as_written((types, row) in columns_and_row(), first in any::<i64>(), third in any::<i64>()) {
        let names: Vec<String> = (0..types.len()).map(|index| format!("f{index}")).collect();
        let features: Vec<_> = names.iter().zip(&types)
            .map(|(name, ty)| (name.as_str(), *ty, Rule::Last(name.clone()), None)).collect();
        let view = online(view(&features));
        let stored = Stored { order: Order { first, second: 7, third }, body: Body::Row(row) };
        let bytes = stored.encode(&view).unwrap();
        prop_assert_eq!(Stored::decode(&view, &bytes).unwrap(), stored);
        for cut in 0..bytes.len() {
            prop_assert!(Stored::decode(&view, &bytes[..cut]).is_err());
        }
    }

    #[test]
    fn orders_compare_as_their_bytes(a in any::<[i64; 3]>(), b in any::<[i64; 3]>()) {
        let order = |[first, second, third]: [i64; 3]| Order { first, second, third };
        prop_assert_eq!(order(a).cmp(&order(b)), order(a).to_bytes().cmp(&order(b).to_bytes()));
    }

    /// The brute force knows no tiles: it takes the rows whose `valid_at` lies in `(tail, t]`.
    #[test]
    fn windows_from_tiles_equal_windows_from_rows(
        rows in prop::collection::vec((0_i64..40_000, prop::option::of(-50_i64..50)), 0..60),
        now in 0_i64..50_000,
    ) {
        let mut rows: Vec<(Time, Option<i64>)> = rows.into_iter()
            .map(|(seconds, value)| (at(seconds * 1_000_000 + i64::from(seconds % 7 != 0)), value)).collect();
        rows.sort_by_key(|(valid_at, _)| *valid_at);
        let now = at(now * 1_000_000);
        let seen: Vec<_> = rows.iter().filter(|(valid_at, _)| *valid_at <= now).copied().collect();
        let tail_micros = (now.timestamp_micros() - 3_600_000_000).div_euclid(300_000_000) * 300_000_000;
        let inside: Vec<i64> = seen.iter().filter(|(valid_at, _)| valid_at.timestamp_micros() > tail_micros)
            .filter_map(|(_, value)| *value).collect();
        let view = windows();
        let stored = Stored { order: Order::TILES, body: Body::Tiles(vec![tiles(&view, &seen)]) };
        prop_assert_eq!(&Stored::decode(&view, &stored.encode(&view).unwrap()).unwrap(), &stored);
        let found = values(&view, Some(&stored.encode(&view).unwrap()), now).unwrap();
        for (name, value) in found.values {
            let different: BTreeSet<i64> = inside.iter().copied().collect();
            let often = |value: &&i64| inside.iter().filter(|other| other == value).count();
            let wanted = match name.as_str() {
                "count" => Value::Int(inside.len() as i64),
                "distinct" => Value::Int(different.len() as i64),
                _ if inside.is_empty() => Value::Null,
                "first" => Value::Int(inside[0]),
                "last" => Value::Int(inside[inside.len() - 1]),
                "mode" => Value::Int(*different.iter().rev().max_by_key(often).unwrap()),
                "stddev" if inside.len() == 1 => Value::Null,
                "stddev" | "p90" => {
                    let Value::Float(found) = value else { panic!("{value:?}") };
                    let (wanted, error) = if name == "p90" { (p90(&inside), 0.010_001) } else { (deviation(&inside), 1e-9) };
                    prop_assert!((found - wanted).abs() <= error * wanted.abs(), "{} {} {}", name, found, wanted);
                    continue;
                }
                "last_three" => Value::List(inside.iter().rev().take(3).map(|n| Value::Int(*n)).collect()),
                "top_three" => {
                    let mut values: Vec<i64> = different.iter().copied().collect();
                    values.sort_by_key(|value| (std::cmp::Reverse(often(&value)), *value));
                    Value::List(values.into_iter().take(3).map(Value::Int).collect())
                }
                "sum" => Value::Int(inside.iter().sum()),
                "mean" => Value::Float(inside.iter().sum::<i64>() as f64 / inside.len() as f64),
                "min" => Value::Int(*inside.iter().min().unwrap()),
                _ => Value::Int(*inside.iter().max().unwrap()),
            };
            prop_assert_eq!(value, wanted, "{}", name);
        }
    }
}

fn p90(values: &[i64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable();
    values[(0.9 * (values.len() - 1) as f64) as usize] as f64
}

fn deviation(values: &[i64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<i64>() as f64 / count;
    (values.iter().map(|value| (*value as f64 - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt()
}

fn window(aggregate: Aggregate) -> Rule {
    let of = Some(Operand::Column("delay".to_owned()));
    Rule::Window { aggregate, of, condition: None, window: WINDOW, hop: HOP }
}

/// Every aggregate of one column.
fn windows() -> OnlineView {
    online(view(&[
        ("count", Type::Int, window(Aggregate::Count), None),
        ("sum", Type::Int, window(Aggregate::Sum), None),
        ("mean", Type::Float, window(Aggregate::Mean), None),
        ("min", Type::Int, window(Aggregate::Min), None),
        ("max", Type::Int, window(Aggregate::Max), None),
        ("first", Type::Int, window(Aggregate::First), None),
        ("last", Type::Int, window(Aggregate::Last), None),
        ("distinct", Type::Int, window(Aggregate::Distinct), None),
        ("mode", Type::Int, window(Aggregate::Mode), None),
        ("stddev", Type::Float, window(Aggregate::Stddev), None),
        ("p90", Type::Float, window(Aggregate::Percentile { p: 0.9 }), None),
        ("last_three", INTS, window(Aggregate::LastN { n: 3 }), None),
        ("top_three", INTS, window(Aggregate::Top { n: 3 }), None),
    ]))
}

/// What the lake computes: absolute partial aggregates of the rows of each tile.
fn tiles(view: &OnlineView, rows: &[(Time, Option<i64>)]) -> Series {
    let mut tiles: BTreeMap<i64, Vec<(Time, Option<i64>)>> = BTreeMap::new();
    for row in rows {
        tiles.entry((row.0.timestamp_micros() - 1).div_euclid(300_000_000)).or_default().push(*row);
    }
    let tile = |(index, rows): (i64, Vec<(Time, Option<i64>)>)| {
        let partial = |feature: &Feature| {
            let window = Window::of(feature).unwrap();
            let value = |value: i64| match window.row_type() {
                Some(Type::Float) => Value::Float(value as f64),
                Some(Type::String) => Value::String(value.to_string()),
                _ => Value::Int(value),
            };
            let rows = rows.iter().map(|(at, row)| (at.timestamp_micros(), row.map_or(Value::Null, value)));
            window.partial(window.fold(rows))
        };
        let newest = rows.iter().map(|(valid_at, _)| *valid_at).max();
        let order = TileOrder { lake_version: index, clock: at(index) };
        Tile {
            index,
            order,
            newest,
            partials: view.features().map(|(_, feature)| partial(feature)).collect(),
        }
    };
    Series { tiles: tiles.into_iter().map(tile).collect() }
}

fn row_view(ttl: Option<Duration>, fail: Option<Duration>) -> OnlineView {
    let mut declared = view(&[
        ("delay", Type::Float, Rule::Last("delay".into()), Some(Value::Float(-1.0))),
        ("age", Type::Float, Rule::Age, None),
    ]);
    declared.ttl = ttl;
    declared.freshness = fail.map(|fail| Freshness { warn: None, fail: Some(fail) });
    online(declared)
}

fn delay_row(view: &OnlineView, valid_at: i64, body: Body) -> Vec<u8> {
    Stored { order: Order::row(at(valid_at), at(0), 0), body }.encode(view).unwrap()
}

#[test]
fn both_ends_of_a_ttl_are_served() {
    let view = row_view(Some(Duration::from_secs(60)), None);
    let bytes = delay_row(&view, 0, Body::Row(vec![Value::Float(4.0)]));
    for (now, status, delay, age) in [
        (0, Status::Fresh, Value::Float(4.0), Value::Float(0.0)),
        (60_000_000, Status::Fresh, Value::Float(4.0), Value::Float(1.0)),
        (60_000_001, Status::Expired, Value::Float(-1.0), Value::Null),
    ] {
        let found = values(&view, Some(&bytes), at(now)).unwrap();
        assert_eq!(
            (found.status, &found.values["delay"], &found.values["age"]),
            (status, &delay, &age),
            "at {now}"
        );
    }
}

#[test]
fn a_default_stands_in_for_nothing_but_not_for_a_null() {
    let view = row_view(None, None);
    let null = delay_row(&view, 0, Body::Row(vec![Value::Null]));
    let deleted = delay_row(&view, 0, Body::Deleted);
    for (bytes, status, delay) in [
        (Some(&null), Status::Fresh, Value::Null),
        (Some(&deleted), Status::Absent, Value::Float(-1.0)),
        (None, Status::Absent, Value::Float(-1.0)),
    ] {
        let found = values(&view, bytes.map(Vec::as_slice), at(5)).unwrap();
        assert_eq!((found.status, &found.values["delay"]), (status, &delay));
        assert_eq!(found.defaulted.is_empty(), status == Status::Fresh);
    }
}

#[test]
fn a_value_past_its_freshness_is_served_as_stale() {
    let view = row_view(None, Some(Duration::from_secs(1)));
    let bytes = delay_row(&view, 0, Body::Row(vec![Value::Float(4.0)]));
    assert_eq!(values(&view, Some(&bytes), at(1_000_000)).unwrap().status, Status::Fresh);
    let stale = values(&view, Some(&bytes), at(1_000_001)).unwrap();
    assert_eq!((stale.status, &stale.values["delay"]), (Status::Stale, &Value::Float(4.0)));
}

#[test]
fn counts_of_an_unseen_entity_are_zero_and_means_null() {
    let view = windows();
    assert!(matches!(view.layout(), Layout::Tiles(series) if series.len() == 1));
    let found = values(&view, None, at(0)).unwrap();
    assert_eq!(found.values["mean"], Value::Null);
    assert_eq!(found.values["count"], Value::Int(0));
    assert_eq!(found.status, Status::Absent);
}

#[test]
fn bytes_of_another_layout_are_an_error_not_a_value() {
    let view = row_view(None, None);
    let mut bytes = delay_row(&view, 0, Body::Row(vec![Value::Null]));
    bytes[24] ^= 1;
    let error = values(&view, Some(&bytes), at(0)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "stored value of view `load` v1 is unreadable: it was written with other columns"
    );
}
