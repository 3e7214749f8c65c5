use super::*;

fn source(definition: serde_json::Value) -> Source {
    serde_json::from_value(definition).unwrap()
}

fn connection() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    connection.register_table_function::<duckdb::vtab::arrow::ArrowVTab>("arrow_rows").unwrap();
    connection
}

fn text(columns: &[(&str, &[Option<&str>])]) -> RecordBatch {
    let rows = i64::try_from(columns[0].1.len()).unwrap();
    let mut fields =
        vec![Field::new("_row", DataType::Int64, false), Field::new("_line", DataType::Int64, false)];
    let mut arrays: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(0..rows)),
        Arc::new(Int64Array::from_iter_values(2..rows + 2)),
    ];
    for (name, values) in columns {
        fields.push(Field::new(*name, DataType::Utf8, true));
        arrays.push(Arc::new(StringArray::from(values.to_vec())));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

/// Digests one column of `ty` beside a time that is always there; returns the column as text and the reasons.
fn check(ty: &str, values: &[&str]) -> (Vec<String>, Vec<String>, bool) {
    let source = source(serde_json::json!({
        "name": "s", "meta": {}, "event_time": "at", "available_time": "at",
        "columns": { "value": { "type": ty, "nullable": true }, "at": { "type": "timestamp" } },
    }));
    let values: Vec<_> = values.iter().map(|value| Some(*value)).collect();
    let at = vec![Some("2013-06-01T00:00:00Z"); values.len()];
    let batch = text(&[("value", &values), ("at", &at)]);
    let stamp = Stamp { created_at: Time::UNIX_EPOCH, ordinal: 1 };
    let digest = digest(&connection(), ChunkInput::Text(batch), &source, stamp).unwrap();
    let format = arrow::util::display::FormatOptions::default();
    let shown = arrow::util::display::ArrayFormatter::try_new(digest.rows.column(0), &format).unwrap();
    (
        (0..digest.rows.num_rows()).map(|row| shown.value(row).to_string()).collect(),
        digest.dead.into_iter().map(|dead| dead.reason).collect(),
        digest.naive_timestamps,
    )
}

#[test]
fn ints_are_taken_whole_or_not_at_all() {
    let (rows, dead, _) =
        check("int", &["7", " -3 ", "+5", "5.0", "5.", "", "1.5", "1e3", "x", "9223372036854775808"]);
    assert_eq!(rows, ["7", "-3", "5", "5", "5", ""]);
    assert_eq!(dead[0], "`value` should be int, but is `1.5`");
    assert_eq!(dead.len(), 4);
}

#[test]
fn floats_bools_and_dates_are_read_as_people_write_them() {
    let (rows, dead, _) = check("float", &["1.5", "1e3", ".5", "", "abc", "1_000"]);
    assert_eq!((rows, dead.len()), (["1.5", "1000.0", "0.5", ""].map(str::to_owned).to_vec(), 2));
    assert_eq!(
        check("bool", &["true", "False", "1", "0", "", "yes"]).0,
        ["true", "false", "true", "false", ""]
    );
    let (rows, dead, _) = check(
        "date",
        &["2013-06-01", "2013-06-01 00:00:00", "2013-06-01T00:00:00.000Z", "2013-02-30", "2013-06-01 05:00"],
    );
    assert_eq!(rows, ["2013-06-01"; 3]);
    assert_eq!(dead.len(), 2);
}

#[test]
fn what_is_no_finite_number_is_missing_or_refused() {
    let (rows, dead, _) = check("float", &["NaN", "nan", "-inf", "Infinity", "1e999", "1.5"]);
    assert_eq!(rows, ["", "", "1.5"]);
    assert_eq!(
        dead,
        ["-inf", "Infinity", "1e999"].map(|text| format!("`value` is not a finite number: {text}"))
    );
    for ty in ["int", "float", "bool", "date", "timestamp"] {
        let (rows, dead, _) = check(ty, &["NULL", "null", "None", "NA", "n/a", "\\N", "  "]);
        assert_eq!((rows, dead), (vec![String::new(); 7], vec![]), "{ty}");
    }
    assert_eq!(check("string", &["NULL", "nan", ""]).0, ["NULL", "nan", ""]);
    let source = source(serde_json::json!({
        "name": "s", "meta": {}, "event_time": "at", "available_time": "at",
        "columns": { "fare": { "type": "float", "min": 0, "max": 1000 }, "at": { "type": "timestamp" } },
    }));
    let batch = text(&[("fare", &[Some("NaN"), Some("NULL")]), ("at", &[Some("2013-06-01"); 2])]);
    let stamp = Stamp { created_at: Time::UNIX_EPOCH, ordinal: 1 };
    let digest = digest(&connection(), ChunkInput::Text(batch), &source, stamp).unwrap();
    let reasons: Vec<_> = digest.dead.iter().map(|letter| letter.reason.as_str()).collect();
    assert_eq!(reasons, ["`fare` is not a finite number: NaN", "`fare` is null"]);
}

#[test]
fn text_without_an_end_of_its_own_is_refused() {
    let (rows, dead, _) = check("string", &["a\0b", "ab"]);
    assert_eq!(rows, ["ab"]);
    assert_eq!(dead, ["`value` is not valid text: it holds a NUL character, or bytes that are not UTF-8"]);
}

#[test]
fn a_date_alone_is_taken_for_utc_and_said_to_be() {
    for (text, expected) in [
        ("2024-05-02", true),
        ("2024-05-02 10:00", true),
        ("2024-05-02Z", false),
        ("2024-05-02T10:00:00-02", false),
        ("2024-05-02 10:00 UTC", false),
    ] {
        assert_eq!(check("timestamp", &[text]).2, expected, "{text}");
    }
}

#[test]
fn instants_keep_their_moment_whatever_the_offset() {
    let same = [
        "2013-06-01T12:00:00Z",
        "2013-06-01 12:00:00+00",
        "2013-06-01T08:00:00-04:00",
        "2013-06-01 17:30+0530",
        "2013-06-01T12:00:00.000000000Z",
    ];
    let (rows, dead, naive) = check("timestamp", &same);
    assert_eq!((rows, dead, naive), (vec!["2013-06-01T12:00:00Z".to_owned(); 5], vec![], false));
    let (rows, dead, naive) =
        check("timestamp", &["2013-06-01 12:00:00.123456", "2013-06-01", "noon", "2013-13-01"]);
    assert_eq!(rows, ["2013-06-01T12:00:00.123456Z", "2013-06-01T00:00:00Z"]);
    assert_eq!(dead.len(), 2);
    assert!(naive);
}

#[test]
fn what_is_nearly_an_instant_or_a_day_is_none() {
    let times = [
        "2024-05-20T10:00:599",
        "2024-05-20T10:001",
        "2024-05-20T10:0030Z",
        "2024-05-20T10:00:00.",
        "2024-05-20T10:00+99:99",
        "2024-05-20T10:00+0260",
        "2024-05-20T10:00+02:",
        "0000-12-31T23:59:59Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
    ];
    assert_eq!(check("timestamp", &times).1.len(), times.len());
    let (rows, dead, _) = check("timestamp", &["2024-05-20T10:00:30.123456789+23:59"]);
    assert_eq!((rows, dead), (vec!["2024-05-19T10:01:30.123456Z".to_owned()], vec![]));
    let (rows, dead, _) = check("date", &["0000-01-01", "0001-01-01", "9999-12-31"]);
    assert_eq!((rows.len(), dead), (2, vec!["`value` should be date, but is `0000-01-01`".to_owned()]));
}

/// What a column needs to be read grows with the columns, not with their square: some hundred are common.
#[test]
fn a_file_of_three_hundred_columns_is_read() {
    let names: Vec<String> = (0..300).map(|number| format!("c{number}")).collect();
    let types = ["float", "int", "timestamp", "bool", "date", "string"];
    let typed = names.iter().zip(types.iter().cycle());
    let mut columns: serde_json::Map<String, serde_json::Value> =
        typed.map(|(name, ty)| (name.clone(), serde_json::json!({ "type": ty, "nullable": true }))).collect();
    columns.insert("at".to_owned(), serde_json::json!({ "type": "timestamp" }));
    let source = source(serde_json::json!({
        "name": "s", "meta": {}, "event_time": "at", "available_time": "at", "columns": columns,
    }));
    let at = [Some("2013-06-01"); 3];
    let mut cells: Vec<(&str, &[Option<&str>])> =
        names.iter().map(|name| (name.as_str(), &[Some("1"), None, Some("1.5 m")][..])).collect();
    cells.push(("at", &at));
    let stamp = Stamp { created_at: Time::UNIX_EPOCH, ordinal: 1 };
    let digest = digest(&connection(), ChunkInput::Text(text(&cells)), &source, stamp).unwrap();
    // The date `1` and the number `1.5 m` are none.
    assert_eq!((digest.rows.num_rows(), digest.dead.len()), (1, 2));
    assert_eq!(digest.dead[1].reason.matches("should be").count(), 250);
}

#[test]
fn a_chunk_is_planned_without_joins_whatever_its_columns() {
    let source = source(serde_json::json!({
        "name": "s", "meta": {}, "event_time": "at", "available_time": "at",
        "columns": {
            "at": { "type": "timestamp" }, "day": { "type": "date" }, "flag": { "type": "bool" },
            "amount": { "type": "float", "min": 0 }, "count": { "type": "int" },
        },
    }));
    let connection = connection();
    connection.execute_batch(&text_table_sql(&source)).unwrap();
    let input = ChunkInput::Text(RecordBatch::new_empty(Arc::new(Schema::empty())));
    let explain = format!("EXPLAIN {}", statement(&input, &source, &HashMap::new()));
    let plan: String = connection.query_row(&explain, [], |row| row.get(1)).unwrap();
    assert!(plan.contains("PROJECTION") && !plan.contains("JOIN"), "{plan}");
}

#[test]
fn every_fault_of_a_row_is_told_with_its_place_and_the_row_itself() {
    let source = source(serde_json::json!({
        "name": "s", "meta": {}, "event_time": "at", "available_time": "at",
        "columns": {
            "it's": { "type": "string" },
            "delay": { "type": "float", "nullable": true, "min": -120, "max": 1500 },
            "at": { "type": "timestamp" },
        },
    }));
    let batch = text(&[
        ("it's", &[Some("a"), None, Some("c")]),
        ("delay", &[Some("2000"), Some("-5"), None]),
        ("at", &[Some("2013-06-01"), Some("2013-06-01"), Some("2013-06-01")]),
    ]);
    let stamp = Stamp { created_at: Time::UNIX_EPOCH, ordinal: 3 };
    let digest = digest(&connection(), ChunkInput::Text(batch), &source, stamp).unwrap();
    assert_eq!(digest.rows.num_rows(), 1);
    assert_eq!(digest.rows["seq"].as_primitive::<Int64Type>().value(0), (3 << 40) + 2);
    assert_eq!(
        digest.dead[0],
        DeadRow {
            row: 0,
            line: Some(2),
            column: Some("delay".into()),
            reason: "`delay` is above the maximum 1500: 2000".into(),
            raw: r#"{"it's":"a","delay":"2000","at":"2013-06-01"}"#.into(),
        }
    );
    assert_eq!(digest.dead[1].reason, "`it's` is null");
}
