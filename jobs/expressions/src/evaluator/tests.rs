use std::sync::Arc;

use arrow::datatypes::Schema;
use indexmap::IndexMap;
use proptest::prelude::*;
use tidemill_rows::{Row, batch_of, field, rows_of};
use tidemill_spec::{Feature, Rule, Type, Value};

use super::*;

const LIMIT: Duration = Duration::from_secs(30);

fn expressions(row: &[(&str, Type)], features: &[(&str, Type, &str)]) -> Arc<Expressions> {
    let row: IndexMap<String, Type> = row.iter().map(|(name, ty)| ((*name).to_owned(), *ty)).collect();
    let features: IndexMap<String, Feature> = features
        .iter()
        .map(|(name, ty, sql)| {
            ((*name).to_owned(), Feature { ty: *ty, rule: Rule::Sql((*sql).to_owned()), default: None })
        })
        .collect();
    Arc::new(Expressions::new(&row, &features))
}

fn batch(columns: &[(&str, Type)], rows: &[Row]) -> RecordBatch {
    let fields: Vec<_> = columns.iter().map(|(name, ty)| field(name, *ty)).collect();
    batch_of(&Arc::new(Schema::new(fields)), rows).unwrap()
}

fn evaluated(evaluator: &Evaluator, expressions: &Arc<Expressions>, rows: &RecordBatch) -> Vec<Row> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let given = runtime.block_on(evaluator.evaluate(expressions, rows, LIMIT)).unwrap();
    rows_of(&given).unwrap()
}

const COLUMNS: [(&str, Type); 3] = [("a", Type::Int), ("x", Type::Float), ("t", Type::String)];

fn value<T: std::fmt::Debug>(some: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    prop::option::weighted(0.8, some)
}

fn float(value: Option<f64>) -> Value {
    value.filter(|value| value.is_finite()).map_or(Value::Null, Value::Float)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// One evaluator, whatever rows it was given before, however many: more than one vector of DuckDB among them.
    #[test]
    fn every_row_is_what_the_arithmetic_says_and_what_fails_is_null(
        asked in prop::collection::vec(
            (value(-100_i64..100), value(prop::num::f64::NORMAL), value("[0-9z]{0,3}")), 0..40
        ),
        times in prop::sample::select(vec![1_usize, 2, 120]),
    ) {
        static EVALUATOR: std::sync::LazyLock<Evaluator> = std::sync::LazyLock::new(Evaluator::default);
        let expressions = expressions(&COLUMNS, &[
            ("sum", Type::Float, "coalesce(a, 1) + x"),
            ("ratio", Type::Float, "x / a"),
            ("parsed", Type::Int, "CAST(t AS BIGINT) + a"),
            ("known", Type::Bool, "t IS NOT NULL"),
        ]);
        let asked: Vec<_> = asked.iter().cycle().take(asked.len() * times).collect();
        let rows: Vec<Row> = asked.iter().map(|(a, x, t)| Row::from_iter([
            ("a".to_owned(), a.map_or(Value::Null, Value::Int)),
            ("x".to_owned(), x.map_or(Value::Null, Value::Float)),
            ("t".to_owned(), t.clone().map_or(Value::Null, Value::String)),
        ])).collect();
        let given = evaluated(&EVALUATOR, &expressions, &batch(&COLUMNS, &rows));
        prop_assert_eq!(given.len(), rows.len());
        for ((a, x, t), given) in asked.iter().zip(&given) {
            prop_assert_eq!(&given["sum"], &float(x.map(|x| a.unwrap_or(1) as f64 + x)));
            prop_assert_eq!(&given["ratio"], &float(a.filter(|a| *a != 0).zip(*x).map(|(a, x)| x / a as f64)));
            let parsed = t.as_ref().and_then(|t| t.parse::<i64>().ok()).zip(*a).map(|(t, a)| t + a);
            prop_assert_eq!(&given["parsed"], &parsed.map_or(Value::Null, Value::Int));
            prop_assert_eq!(&given["known"], &Value::Bool(t.is_some()));
        }
    }
}

#[test]
fn rows_of_one_set_are_never_those_of_another_however_many_are_asked_at_once() {
    let evaluator = Evaluator::default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..64_i64)
            .map(|number| {
                let evaluator = evaluator.clone();
                tokio::spawn(async move {
                    let expressions =
                        expressions(&COLUMNS, &[("next", Type::Int, &format!("a + {}", number % 5))]);
                    for turn in 0..20 {
                        let rows: Vec<Row> = (0..=turn)
                            .map(|row| Row::from_iter([("a".to_owned(), Value::Int(number * 1000 + row))]))
                            .collect();
                        let rows = batch(&COLUMNS, &rows);
                        let given = evaluator.evaluate(&expressions, &rows, LIMIT).await.unwrap();
                        let given = rows_of(&given).unwrap();
                        let expected: Vec<Value> =
                            (0..=turn).map(|row| Value::Int(number * 1000 + row + number % 5)).collect();
                        let given: Vec<Value> = given.into_iter().map(|row| row["next"].clone()).collect();
                        assert_eq!(given, expected);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn expressions_over_no_column_and_none_at_all_have_a_row_each() {
    let evaluator = Evaluator::default();
    let rows = batch(&COLUMNS, &[Row::new(), Row::new()]);
    let one = expressions(&COLUMNS, &[("one", Type::Int, "1")]);
    assert_eq!(
        evaluated(&evaluator, &one, &rows),
        vec![Row::from_iter([("one".to_owned(), Value::Int(1))]); 2]
    );
    assert_eq!(evaluated(&evaluator, &expressions(&COLUMNS, &[]), &rows), vec![Row::new(); 2]);
}

#[test]
fn a_column_that_the_rows_lack_is_named() {
    let evaluator = Evaluator::default();
    let one = expressions(&COLUMNS, &[("one", Type::Int, "a + 1")]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let rows = batch(&COLUMNS[1..], &[Row::new()]);
    let error = runtime.block_on(evaluator.evaluate(&one, &rows, LIMIT)).unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("`a`"), "{error:?}");
}

#[test]
#[ignore = "says what one evaluation costs"]
fn cost_of_one_evaluation() {
    let evaluator = Evaluator::default();
    let many = expressions(
        &COLUMNS,
        &[
            ("sum", Type::Float, "coalesce(a, 1) + x"),
            ("ratio", Type::Float, "x / nullif(a, 0)"),
            ("long", Type::Bool, "length(t) > 2"),
        ],
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for count in [1_usize, 10, 100, 2000] {
        let row = Row::from_iter([("a".to_owned(), Value::Int(3)), ("x".to_owned(), Value::Float(0.5))]);
        let rows = batch(&COLUMNS, &vec![row; count]);
        let mut took: Vec<Duration> = runtime.block_on(async {
            let mut took = Vec::new();
            for _ in 0..2_000 {
                let started = std::time::Instant::now();
                evaluator.evaluate(&many, &rows, LIMIT).await.unwrap();
                took.push(started.elapsed());
            }
            took
        });
        took.sort();
        println!("{count} rows: p50 {:?}, p99 {:?}", took[1000], took[1980]);
    }
}
