//! Ten thousand values of each type come through every door of a request as they were sent, or are refused.

use chrono::NaiveDate;
use proptest::prelude::*;
use serde_json::json;
use tidemill_proto::json::{from_struct, to_struct};
use tidemill_spec::{Decimal, Digits, Element};

use super::*;

const TYPES: [(&str, Type); 9] = [
    ("s", Type::String),
    ("i", Type::Int),
    ("f", Type::Float),
    ("b", Type::Bool),
    ("d", Type::Date),
    ("t", Type::Timestamp),
    ("p", Type::Decimal(Digits::new(20, 3).unwrap())),
    ("e", Type::List { of: Element::Float, length: Some(2) }),
    ("n", Type::List { of: Element::Int, length: None }),
];

fn value(ty: Type) -> BoxedStrategy<Value> {
    match ty {
        Type::String => prop_oneof![
            "\\PC{0,8}",
            prop::sample::select(vec!["", "007", "NULL", "true", "1e5", "\"", "a\r\n,b", "🦀", "\u{feff}"])
                .prop_map(str::to_owned),
        ]
        .prop_map(Value::String)
        .boxed(),
        Type::Int => {
            prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX), -9_i64..9].prop_map(Value::Int).boxed()
        }
        Type::Float => prop_oneof![
            any::<f64>().prop_filter("finite", |float| float.is_finite()),
            any::<i32>().prop_map(|cents| f64::from(cents) / 100.0),
        ]
        .prop_map(Value::Float)
        .boxed(),
        Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Type::Date => (-700_000..2_900_000_i32)
            .prop_map(|days| Value::Date(NaiveDate::from_num_days_from_ce_opt(days.max(1)).unwrap()))
            .boxed(),
        Type::Timestamp => (-62_135_596_800_000_000..253_402_300_799_999_999_i64)
            .prop_map(|micros| Value::Timestamp(Time::from_timestamp_micros(micros).unwrap()))
            .boxed(),
        Type::Decimal(digits) => {
            let most = 10_i128.pow(u32::from(digits.precision()));
            (1 - most..most)
                .prop_map(move |unscaled| Value::Decimal(Decimal::new(unscaled, digits.scale())))
                .boxed()
        }
        Type::List { of, length } => {
            let lengths = length.map_or(0..=3, |length| length as usize..=length as usize);
            prop::collection::vec(value(of.into()), lengths).prop_map(Value::List).boxed()
        }
    }
}

fn any_row() -> impl Strategy<Value = Row> {
    let values: Vec<_> = TYPES.iter().map(|(_, ty)| value(*ty)).collect();
    values.prop_map(|values| {
        TYPES.iter().zip(values).map(|((name, _), value)| ((*name).to_owned(), value)).collect()
    })
}

fn columns() -> IndexMap<String, Type> {
    TYPES.iter().map(|(name, ty)| ((*name).to_owned(), *ty)).collect()
}

fn read(given: Map<String, Json>) -> Result<Row, Error> {
    Ok(rows(&[given], &columns(), "m", |_| Absent::Refused)?.remove(0))
}

fn sent(row: &Row) -> Map<String, Json> {
    row.iter().map(|(name, value)| (name.clone(), value.to_json())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn every_value_of_a_request_is_what_was_sent_or_is_refused(row in any_row()) {
        // REST: as text of JSON, ints as numbers and as text.
        let body = Json::Object(sent(&row)).to_string();
        prop_assert_eq!(&read(serde_json::from_str(&body).unwrap()).unwrap(), &row);
        let mut digits = sent(&row);
        digits["i"] = row["i"].to_string().into();
        prop_assert_eq!(&read(digits).unwrap(), &row);

        // gRPC: what the wire's doubles can't hold goes as text; forced into a double it is exact or refused.
        prop_assert_eq!(&read(from_struct(to_struct(sent(&row)))).unwrap(), &row);
        let Value::Int(int) = row["i"] else { unreachable!() };
        let mut double = sent(&row);
        #[expect(clippy::cast_precision_loss, reason = "that is the point")]
        let float = int as f64;
        double["i"] = float.into();
        match read(from_struct(to_struct(double))) {
            Ok(read) => prop_assert_eq!(&read, &row),
            Err(error) => {
                prop_assert!(int.unsigned_abs() >= 1 << 53);
                prop_assert!(error.to_string().starts_with("entity 0: `i`: expected int, got "), "{}", error);
            }
        }

        // The command line: as text alone.
        for (name, ty) in TYPES {
            prop_assert_eq!(&Value::parse(&row[name].to_string(), ty).unwrap(), &row[name]);
        }
    }
}

#[test]
fn what_no_column_can_hold_is_refused_with_its_place() {
    for (name, json, problem) in [
        ("f", json!("NaN"), "expected float, got \"NaN\", which is not a finite number"),
        ("f", json!("1.5"), "expected float, got \"1.5\""),
        ("i", json!(1.5), "expected int, got 1.5"),
        (
            "i",
            json!(u64::MAX),
            "expected int, got 18446744073709551615, which may have lost digits on its way: send ints beyond 2^53 as text",
        ),
        ("s", json!("a\0"), "expected string, got `a\\0`, which holds a NUL character"),
        ("s", json!(7), "expected string, got 7"),
        ("b", json!("true"), "expected bool, got \"true\""),
        ("d", json!("2024-05-02T10:00:00Z"), "expected date, got \"2024-05-02T10:00:00Z\""),
        ("t", json!("noon"), "expected timestamp, got \"noon\""),
        (
            "p",
            json!(1.5),
            "expected decimal(20,3), got 1.5, which may have lost digits on its way: send decimals as text",
        ),
        ("p", json!("1.2345"), "expected decimal(20,3), got \"1.2345\""),
        ("e", json!([1.5]), "expected float[2], got 1 values"),
        ("e", json!([1.5, null]), "expected float[2], got [1.5,null]"),
        ("n", json!([1.5]), "expected int[], got [1.5]"),
    ] {
        let column = TYPES.into_iter().find(|(column, _)| *column == name).unwrap();
        let only = IndexMap::from([(column.0.to_owned(), column.1)]);
        let given = Map::from_iter([(name.to_owned(), json)]);
        let error = rows(&[given], &only, "m", |_| Absent::Refused).unwrap_err();
        assert_eq!(error.to_string(), format!("entity 0: `{name}`: {problem}"));
    }
    let infinite = prost_types::Value { kind: Some(prost_types::value::Kind::NumberValue(f64::INFINITY)) };
    let wire = prost_types::Struct { fields: [("f".to_owned(), infinite)].into() };
    let only = IndexMap::from([("f".to_owned(), Type::Float)]);
    let error = rows(&[from_struct(wire)], &only, "m", |_| Absent::Refused).unwrap_err();
    assert_eq!(error.to_string(), "entity 0: `f`: expected float, got \"inf\", which is not a finite number");
}
