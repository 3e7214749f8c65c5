use tidemill_spec::{
    LoadOptions, Loaded,
    diagnostic::{SourceFile, render},
    load_files,
};

use super::prepare;

const BASE: &str = "
apiVersion: tidemill/v1
kind: Project
name: shop
---
apiVersion: tidemill/v1
kind: Entity
name: user
keys: { user_id: int }
---
apiVersion: tidemill/v1
kind: Source
name: events
columns: { user_id: int, at: timestamp, order: string, price: float, qty: int }
event_time: at
";

fn load(yaml: &str) -> Loaded {
    let file = |path: &str, text: &str| SourceFile { path: path.to_owned(), text: text.to_owned() };
    let files = vec![file("tidemill.yaml", BASE), file("case.yaml", yaml)];
    load_files(files, &LoadOptions::default())
}

fn shown(yaml: &str) -> String {
    let mut loaded = load(yaml);
    prepare(&mut loaded).unwrap();
    render(&loaded.diagnostics, &loaded.files, false)
}

fn feature(ty: &str, sql: &str) -> String {
    format!(
        "apiVersion: tidemill/v1\nkind: FeatureView\nname: v\nentity: user\nsource: events\nfeatures:\n  f: {{ type: {ty}, sql: \"{sql}\" }}\n"
    )
}

fn windowed(ty: &str, rule: &str) -> String {
    format!(
        "apiVersion: tidemill/v1\nkind: FeatureView\nname: v\nentity: user\nsource: events\nfeatures:\n  f: {{ type: {ty}, {rule}, window: 1h }}\n"
    )
}

fn step(with: &str) -> String {
    format!(
        "apiVersion: tidemill/v1\nkind: Pipeline\nname: p\nsteps:\n  s:\n    uses: sql\n    with:\n      query: {with}\n"
    )
}

#[test]
fn columns_may_be_named_like_words_of_sql() {
    for sql in ["at > TIMESTAMP '2020-01-01'", "order = 'x'", "ORDER || 'x' = 'y'", "qty > 3"] {
        assert_eq!(shown(&feature("bool", sql)), "", "{sql}");
    }
    let label = "apiVersion: tidemill/v1\nkind: Label\nname: l\nentity: user\nsource: events\nvalue: { type: bool, sql: order = 'x' }\nasked_at: at - INTERVAL 1 HOUR\n";
    assert_eq!(shown(label), "");
}

#[test]
fn conditions_and_expressions_of_windows_are_judged_as_those_of_rows() {
    for (ty, rule) in [
        ("int", "count: \"*\", where: order = 'x'"),
        ("int", "count: \"nullif(order, 'x')\", where: order = 'x' AND qty > 3"),
        ("float", "sum: price * qty"),
        ("int", "max: qty * 2"),
        ("float", "mean: qty % 3"),
    ] {
        assert_eq!(shown(&windowed(ty, rule)), "", "{rule}");
    }
    for (ty, rule, code) in [
        ("int", "count: \"*\", where: order = nosuch(qty)", "TM0380"),
        ("int", "count: \"*\", where: at > now()", "TM0480"),
        ("int", "count: \"*\", where: count(*) > 3", "TM0307"),
        ("int", "count: random()", "TM0480"),
        ("int", "sum: price * qty", "TM0481"),
        ("float", "sum: order || 'x', where: price", "TM0304"),
    ] {
        let shown = shown(&windowed(ty, rule));
        assert!(shown.contains(code), "{rule}: {shown}");
    }
}

#[test]
fn an_int_is_never_rounded_in_silence() {
    for sql in ["price * qty", "qty / 2", "floor(price)", "qty * 1.5"] {
        let shown = shown(&feature("int", sql));
        assert!(shown.contains("TM0481"), "{sql}: {shown}");
    }
    for sql in
        ["qty // 2", "CAST(floor(price) AS BIGINT)", "qty * 2", "length(order)", "(qty > 1)::INT", "NULL"]
    {
        assert_eq!(shown(&feature("int", sql)), "", "{sql}");
    }
}

#[test]
fn a_decimal_is_never_rounded_in_silence() {
    for sql in ["price * 1", "qty / 2", "0.125::DECIMAL(9,3)", "qty * 1.125"] {
        let shown = shown(&feature("\"decimal(20,2)\"", sql));
        assert!(
            shown.contains("TM0481") && shown.contains("CAST(round(…, 2) AS DECIMAL(20, 2))"),
            "{sql}: {shown}"
        );
    }
    for sql in ["qty * 2", "qty * 0.25", "0.1::DECIMAL(9,1)", "CAST(price AS DECIMAL(20, 2))", "NULL"] {
        assert_eq!(shown(&feature("\"decimal(20,2)\"", sql)), "", "{sql}");
    }
}

#[test]
fn what_is_not_the_same_when_it_is_computed_again_is_refused() {
    for sql in [
        "age(at)",
        "localtimestamp",
        "current_date",
        "uuidv7()",
        "random()",
        "main.random()",
        "now()",
        "today()",
        "ago(INTERVAL 1 DAY)",
        "current_setting('TimeZone')",
        "nextval('x')",
        "version()",
        "getvariable('x')",
        "get_current_time()",
        "price + random()",
    ] {
        let shown = shown(&feature("string", sql));
        assert!(shown.contains("TM0480"), "{sql}: {shown}");
    }
    for sql in [
        "age(at, at)",
        "date_trunc('day', at)",
        "date_diff('day', at, at)",
        "nullif(price, 0)",
        "hash(order)",
    ] {
        let shown = shown(&feature("string", sql));
        assert!(!shown.contains("TM0480"), "{sql}: {shown}");
    }
    // A condition is about today's rows, and is checked today.
    let check = "apiVersion: tidemill/v1\nkind: Pipeline\nname: p\nsteps:\n  s:\n    uses: quality.check\n    with: { table: source/events, conditions: [at < now(), order <> '', valid_at IS NOT NULL] }\n";
    assert_eq!(shown(check), "");
}

/// DuckDB's parser makes calls of these, and says of some where their function is.
#[test]
fn literals_and_operators_of_duckdb_are_expressions_over_one_row() {
    for sql in [
        "list_sum([qty, 2])",
        "[qty, 2][1]",
        "[qty, 2, 3][1:2]",
        "ARRAY[qty, 2]",
        "array_value(qty, 2)",
        "{'a': qty, 'b': 2}",
        "ROW(qty, 2)",
        "(qty, 2)",
        "MAP {'a': qty}",
        "MAP {'a': qty}['a']",
        "qty IN (1, 2)",
        "qty NOT IN (1, 2)",
        "qty BETWEEN 1 AND 2",
        "order LIKE 'a%' ESCAPE '!'",
        "order ILIKE 'a%'",
        "order SIMILAR TO 'a.*'",
        "order NOT SIMILAR TO 'a.*'",
        "order ~ 'a.*'",
        "order[1]",
        "order[1:2]",
        "order || 'a'",
        "substring(order FROM 2 FOR 3)",
        "position('a' IN order)",
        "trim(BOTH 'a' FROM order)",
        "extract(year FROM at)",
        "at AT TIME ZONE 'America/New_York'",
        "at + INTERVAL (qty) DAY",
        "INTERVAL '1' DAY",
        "DATE '2024-01-01'",
        "CASE qty WHEN 1 THEN 2 ELSE 3 END",
        "coalesce(qty, 1)",
        "nullif(qty, 1)",
        "qty IS DISTINCT FROM 1",
        "qty IS NOT NULL",
        "qty // 2",
        "-qty",
        "qty << 1",
        "order::JSON -> 'a'",
        "order::JSON ->> '$.a'",
        "CAST(order AS INTEGER[])[1]",
        "order COLLATE NOCASE",
        "qty::VARCHAR",
        "TRY_CAST(order AS INT)",
        "greatest(qty, 1)",
    ] {
        assert_eq!(shown(&feature("string", sql)), "", "{sql}");
    }
}

#[test]
fn what_is_no_expression_over_one_row_is_refused_with_its_place() {
    for (sql, caret) in [
        ("price -- net", 6),
        ("(price", 0),
        ("price)", 5),
        ("price; DROP TABLE x", 5),
        ("price + ?", 8),
        ("price + $1", 8),
        ("", 0),
        ("read_text('x')", 0),
        ("getenv('HOME')", 0),
        ("sum(price)", 0),
        ("length(price)", 0),
        ("price + nosuch(qty)", 8),
        ("repeat(order, 2) || range(5)", 20),
        ("printf('%2000000000d', qty)", 0),
        ("system.main.random()", 0),
        ("main.sum(price)", 0),
        ("main.repeat(order, 2) || main.range(5)", 25),
        ("max(price) OVER ()", 0),
    ] {
        let shown = shown(&feature("float", sql));
        let line = shown.lines().skip_while(|line| !line.contains("sql:")).nth(1).unwrap_or_default();
        let start = "  f: { type: float, sql: \"".len();
        let gutter =
            shown.lines().find(|line| line.contains("sql:")).map_or(0, |line| line.find('│').unwrap());
        let place = line.chars().take_while(|c| *c != '^').count() - gutter - 1;
        assert_eq!(place.checked_sub(start), Some(caret), "{sql}: {shown}");
    }
}

#[test]
fn a_query_is_prepared_over_the_declared_tables() {
    for query in [
        "SELECT user_id, sum(qty) FROM events GROUP BY ALL",
        "FROM source.events WHERE \"order\" = 'x'",
        "FROM dead.events",
        "\"SELECT '${{ run.date }}' FROM nowhere\"",
        "FROM predictions.anything",
        "SELECT _id FROM prediction_log.anything",
        "PIVOT events ON \"order\" USING sum(qty)",
    ] {
        assert_eq!(shown(&step(query)), "", "{query}");
    }
    insta::assert_snapshot!(shown(&step("SELEC 1 FROM evnts")), @r#"
    error[TM0380]: DuckDB can't run this query: syntax error at or near "SELEC"
      ┌─ case.yaml:8:14
     8│      query: SELEC 1 FROM evnts
      │             ^
      = path: steps.s.with.query     = more: tidemill explain TM0380
    "#);
    insta::assert_snapshot!(shown(&step("|\n        SELECT user_id,\n          prise\n        FROM events")), @r#"
    error[TM0380]: DuckDB can't run this query: referenced column "prise" not found in FROM clause
      ┌─ case.yaml:10:11
    10│          prise
      │          ^
      = fix: Candidate bindings: "price", "order", "user_id", "created_at"
      = path: steps.s.with.query     = more: tidemill explain TM0380
    "#);
    insta::assert_snapshot!(shown(&step("SELECT 1 FROM evnts")), @r#"
    error[TM0380]: DuckDB can't run this query: table with name evnts does not exist
      ┌─ case.yaml:8:28
     8│      query: SELECT 1 FROM evnts
      │                           ^
      = fix: Did you mean "events"?
      = path: steps.s.with.query     = more: tidemill explain TM0380
    "#);
    insta::assert_snapshot!(shown(&step("SELECT 1; SELECT 2")), @r#"
    error[TM0380]: DuckDB can't run this query: these are several statements; a query is one
      ┌─ case.yaml:8:22
     8│      query: SELECT 1; SELECT 2
      │                     ^
      = path: steps.s.with.query     = more: tidemill explain TM0380
    "#);
    insta::assert_snapshot!(shown(&step("FROM read_text('/etc/hostname')")), @r#"
    error[TM0380]: DuckDB can't run this query: cannot access file "/etc/hostname" - file system operations are disabled by configuration
      ┌─ case.yaml:8:19
     8│      query: FROM read_text('/etc/hostname')
      │                  ^
      = path: steps.s.with.query     = more: tidemill explain TM0380
    "#);
    insta::assert_snapshot!(shown(&step("DROP TABLE events")), @r#"
    error[TM0380]: DuckDB can't run this query: it changes something; a query is one SELECT
      ┌─ case.yaml:8:14
     8│      query: DROP TABLE events
      │             ^^^^^^^^^^^^^^^^^
      = path: steps.s.with.query     = more: tidemill explain TM0380
    "#);
}

#[test]
fn a_query_with_two_columns_of_one_name_is_refused_before_it_runs() {
    for query in [
        "SELECT qty AS x, price AS x FROM events",
        "FROM events a JOIN events b USING (user_id); -- twice",
        "\"SELECT 1 AS x, 2 AS x -- twice\"",
    ] {
        let shown = shown(&step(query));
        assert!(shown.starts_with("error[TM0681]: two columns are named `"), "{query}: {shown}");
    }
    insta::assert_snapshot!(shown(&step("SELECT qty, qty FROM events")), @"
    error[TM0681]: two columns are named `qty`
      ┌─ case.yaml:8:14
     8│      query: SELECT qty, qty FROM events
      │             ^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = fix: give one of them another name: `AS NAME`
      = path: steps.s.with.query     = more: tidemill explain TM0681
    ");
    for query in ["SELECT qty, qty AS again FROM events", "\"SELECT '${{ run.date }}', 1 AS x, 2 AS x\""] {
        assert_eq!(shown(&step(query)), "", "{query}");
    }
}

#[test]
fn a_table_that_cannot_be_made_hides_no_other_mistake() {
    // What is declared twice is said where it is declared, and the rest goes on.
    let doubled = "apiVersion: tidemill/v1\nkind: FeatureView\nname: doubled\nentity: user\nsource: events\nfeatures:\n  user_id: int\n  seq: { type: int, last: qty }\n---\n";
    let codes = |text: &str| {
        let found = text.match_indices("error[").map(|(at, _)| text[at + 6..at + 12].to_owned());
        found.collect::<Vec<_>>()
    };
    assert_eq!(
        codes(&shown(&format!("{doubled}{}", feature("int", "nosuch(qty)")))),
        ["TM0316", "TM0209", "TM0380"]
    );

    // What nobody foresaw is a mistake of the object.
    let mut loaded = load(&feature("int", "nosuch(qty)"));
    let column = loaded.objects.sources["events"].columns["at"].clone();
    loaded.objects.sources["events"].columns.insert("AT".to_owned(), column);
    prepare(&mut loaded).unwrap();
    insta::assert_snapshot!(render(&loaded.diagnostics, &loaded.files, false), @r#"
    error[TM0380]: DuckDB can't compute this: scalar Function with name nosuch does not exist
      ┌─ case.yaml:7:25
     7│  f: { type: int, sql: "nosuch(qty)" }
      │                        ^
      = fix: Did you mean "cosh"?
      = path: features.f.sql     = more: tidemill explain TM0380

    error[TM0380]: DuckDB can't make a table of source `events`: column with name AT already exists
      ┌─ tidemill.yaml:13:7
    13│name: events
      │      ^^^^^^
      = more: tidemill explain TM0380
    "#);
}
