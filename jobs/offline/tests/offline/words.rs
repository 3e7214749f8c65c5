//! Names that are words of DuckDB's: whatever `check` takes as a column in an expression, DuckDB takes too.

use tidemill_offline::{CommitRange, LabelRequest};
use tidemill_rows::rows_of;
use tidemill_spec::{Asked, Label, Meta, Rule, Type, Value, expr::sql::columns};

use crate::world::{World, at, entity, feature, instant, row, source, view};

/// DuckDB's reserved words and those that it reserves in places (`duckdb_keywords()` of 1.5).
const WORDS: [&str; 78] = [
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "at",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "constraint",
    "create",
    "default",
    "deferrable",
    "desc",
    "describe",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "from",
    "group",
    "having",
    "in",
    "initially",
    "intersect",
    "into",
    "lambda",
    "lateral",
    "leading",
    "limit",
    "not",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "pivot",
    "pivot_longer",
    "pivot_wider",
    "placing",
    "primary",
    "qualify",
    "references",
    "returning",
    "select",
    "show",
    "some",
    "summarize",
    "symmetric",
    "table",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "unpivot",
    "using",
    "variadic",
    "when",
    "where",
    "window",
    "with",
    "positional",
    "glob",
];

#[tokio::test]
async fn every_name_that_check_takes_works_in_expressions() {
    let world = World::new().await;
    let taken: Vec<&str> = WORDS
        .into_iter()
        .filter(|word| columns(&format!("{word} + 1")).is_ok_and(|found| found == [*word]))
        .collect();
    assert!(taken.contains(&"at") && taken.contains(&"limit") && taken.len() > 20, "{taken:?}");

    let fields: Vec<(&str, Type)> =
        [("user", Type::Int)].into_iter().chain(taken.iter().map(|word| (*word, Type::Int))).collect();
    let visits = source("visits", &fields, &["user"]);
    let user = entity("user", &[("user", Type::Int)]);
    let mut visit = row([("user", Value::Int(1)), ("happened_at", instant(0)), ("valid_at", instant(0))]);
    visit.extend(row([("created_at", instant(0)), ("seq", Value::Int(0)), ("deleted", Value::Bool(false))]));
    visit.extend(taken.iter().map(|word| ((*word).to_owned(), Value::Int(7))));
    let version = world.append(&visits, "rows", &[visit]).await;

    let features =
        taken.iter().map(|word| (*word, feature(Type::Int, Rule::Sql(format!("{word} + 1"))))).collect();
    let words = view("words", &user, Ok(&visits), features);
    let computed = world.lake.compute_rows(&words, CommitRange::upto(version), (0, 1)).await.unwrap();
    let rows = rows_of(&computed.rows).unwrap();
    for word in &taken {
        assert_eq!(rows[0][*word], Value::Int(8), "{word}");
    }

    let mut refused = Vec::new();
    for word in &taken {
        let mut asked_at = format!("happened_at + to_days({word} - 7)");
        if columns(&asked_at).is_err() {
            refused.push(*word);
            asked_at = format!("happened_at + to_days(\"{word}\" - 7)");
        }
        let label = Label {
            name: (*word).to_owned(),
            meta: Meta::default(),
            entity: "user".to_owned(),
            source: "visits".to_owned(),
            ty: Type::Int,
            sql: format!("{word} * 2"),
            asked: Asked::OfRows(asked_at),
        };
        let request = LabelRequest {
            label,
            entity: user.clone(),
            source: visits.clone(),
            population: None,
            from: at(-1),
            to: at(1),
            clock: at(1),
            version,
        };
        let labels = world.lake.labels(&request).await.unwrap_or_else(|error| panic!("{word}: {error:?}"));
        let rows = rows_of(&labels.rows).unwrap();
        assert_eq!((&rows[0][*word], &rows[0]["label_ts"]), (&Value::Int(14), &instant(0)), "{word}");
    }
    // Words that mean something else there; `check` says so.
    assert_eq!(refused, ["all", "distinct", "returning"]);
}
