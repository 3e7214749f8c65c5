use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::{
    reading::{FIRST_US, LAST_US},
    *,
};

fn source(definition: serde_json::Value) -> Source {
    serde_json::from_value(definition).unwrap()
}

fn connection() -> Connection {
    Connection::open_in_memory().unwrap()
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

/// Digests one column of a CSV beside a time that is always there.
fn read_csv(column: Json, csv: Json, values: &[&str]) -> (RecordBatch, Vec<DeadRow>, bool) {
    let at = json!({ "type": "timestamp", "epoch": "seconds" });
    let source = source(json!({
        "name": "s", "meta": {}, "event_time": "at", "available_time": "at", "csv": csv,
        "columns": { "value": column, "at": at },
    }));
    let values: Vec<_> = values.iter().map(|value| Some(*value)).collect();
    let at = vec![Some("0"); values.len()];
    let stamp = Stamp::of_upload(Time::UNIX_EPOCH, 1);
    let input = ChunkInput::Csv(text(&[("value", &values), ("at", &at)]));
    let digest = digest(&connection(), input, &source, stamp).unwrap();
    (digest.rows, digest.dead, digest.naive_timestamps)
}

/// The values of a timestamp column, in microseconds; every row must be good.
fn micros(column: Json, csv: Json, values: &[String]) -> Vec<i64> {
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let (rows, dead, _) = read_csv(column, csv, &values);
    assert_eq!(dead, []);
    let instant = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()));
    let column = compute::cast(rows.column(0), &instant).unwrap();
    column.as_primitive::<TimestampMicrosecondType>().values().to_vec()
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
    let stamp = Stamp::of_upload(Time::UNIX_EPOCH, 1);
    let digest = digest(&connection(), ChunkInput::Csv(batch), &source, stamp).unwrap();
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
    let stamp = Stamp::of_upload(Time::UNIX_EPOCH, 1);
    let digest = digest(&connection(), ChunkInput::Csv(batch), &source, stamp).unwrap();
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
    let stamp = Stamp::of_upload(Time::UNIX_EPOCH, 1);
    let digest = digest(&connection(), ChunkInput::Csv(text(&cells)), &source, stamp).unwrap();
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
    let input = ChunkInput::Csv(RecordBatch::new_empty(Arc::new(Schema::empty())));
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
    let stamp = Stamp::of_upload(Time::UNIX_EPOCH, 3);
    let digest = digest(&connection(), ChunkInput::Csv(batch), &source, stamp).unwrap();
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

/// Patterns that a moment down to the second can be told by, here and as chrono has them.
const PATTERNS: [(&str, &str); 7] = [
    ("%Y/%j %H:%M:%S", "%Y/%j %H:%M:%S"),
    ("%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M:%S"),
    ("%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M:%S %p"),
    ("%-d/%-m/%Y %-H:%M:%S", "%-d/%-m/%Y %-H:%M:%S"),
    ("%Y%m%d %H%M%S", "%Y%m%d %H%M%S"),
    ("%A, %d %B %Y at %H:%M:%S", "%A, %d %B %Y at %H:%M:%S"),
    ("%d-%b-%Y %H:%M:%S.%f", "%d-%b-%Y %H:%M:%S.000000"),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_declared_format_reads_what_it_writes(
        seconds in prop::collection::vec(-30_609_792_000_i64..253_402_300_800, 1..20),
        (pattern, written) in prop::sample::select(PATTERNS.to_vec()),
    ) {
        let times: Vec<Time> = seconds.iter().map(|at| Time::from_timestamp(*at, 0).unwrap()).collect();
        let texts: Vec<_> = times.iter().map(|time| time.format(written).to_string()).collect();
        let read = micros(json!({ "type": "timestamp" }), json!({ "timestamp_format": pattern }), &texts);
        prop_assert_eq!(read, times.iter().map(Time::timestamp_micros).collect::<Vec<_>>());
        // With an offset it is the moment that counts. A local year of five digits has no form.
        let zone = chrono::FixedOffset::east_opt(19_800).unwrap();
        let local = |time: &Time| time.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S %z").to_string();
        let (texts, expected): (Vec<_>, Vec<_>) = times
            .iter()
            .map(|time| (local(time), time.timestamp_micros()))
            .filter(|(text, _)| text.len() == "2024-05-02 10:00:00 +0200".len())
            .unzip();
        let csv = json!({ "timestamp_format": "%Y-%m-%d %H:%M:%S %z" });
        prop_assert_eq!(micros(json!({ "type": "timestamp" }), csv, &texts), expected);
    }

    #[test]
    fn numbers_since_1970_are_the_same_moment_in_any_unit(
        moments in prop::collection::vec(FIRST_US..=LAST_US, 1..20),
    ) {
        let read = |unit: &str, written: &[String]| {
            micros(json!({ "type": "timestamp", "epoch": unit }), json!({}), written)
        };
        let seconds = |us: &i64| {
            let sign = if *us < 0 { "-" } else { "" };
            format!("{sign}{}.{:06}", us.unsigned_abs() / 1_000_000, us.unsigned_abs() % 1_000_000)
        };
        prop_assert_eq!(&read("seconds", &moments.iter().map(seconds).collect::<Vec<_>>()), &moments);
        prop_assert_eq!(&read("micros", &moments.iter().map(i64::to_string).collect::<Vec<_>>()), &moments);
        let millis: Vec<i64> = moments.iter().map(|us| us / 1_000).collect();
        let expected: Vec<i64> = millis.iter().map(|ms| ms * 1_000).collect();
        prop_assert_eq!(read("millis", &millis.iter().map(i64::to_string).collect::<Vec<_>>()), expected);
    }

    #[test]
    fn a_decimal_comma_is_in_every_number_or_in_none(
        numbers in prop::collection::vec(any::<f64>().prop_filter("finite", |number| number.is_finite()), 1..20),
    ) {
        let points = numbers.iter().map(|number| format!("{number:e}")).collect::<Vec<_>>();
        let commas = points.iter().map(|text| text.replace('.', ",")).collect::<Vec<_>>();
        let read = |texts: &[String], decimal: &str| {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let (rows, dead, _) = read_csv(json!({ "type": "float" }), json!({ "decimal": decimal }), &texts);
            let values = rows.column(0).as_primitive::<arrow::datatypes::Float64Type>().values().to_vec();
            (values, dead.into_iter().map(|letter| letter.row).collect::<Vec<_>>())
        };
        prop_assert_eq!(read(&commas, ","), (numbers.clone(), vec![]));
        prop_assert_eq!(read(&points, "."), (numbers.clone(), vec![]));
        let decimals = (0_i64..).zip(&points).filter(|(_, text)| text.contains('.'));
        let other: Vec<i64> = decimals.map(|(row, _)| row).collect();
        prop_assert_eq!(&read(&points, ",").1, &other);
        prop_assert_eq!(&read(&commas, ".").1, &other);
    }
}

#[test]
fn a_format_leaves_what_is_not_written_in_it() {
    let date = |pattern: &str, texts: &[&str]| {
        let column = json!({ "type": "date", "nullable": true });
        let (rows, dead, _) = read_csv(column, json!({ "date_format": pattern }), texts);
        let format = arrow::util::display::FormatOptions::default();
        let shown = arrow::util::display::ArrayFormatter::try_new(rows.column(0), &format).unwrap();
        let read: Vec<_> = (0..rows.num_rows()).map(|row| shown.value(row).to_string()).collect();
        (read, dead.into_iter().map(|letter| letter.reason).collect::<Vec<_>>())
    };
    let texts = ["02.05.2024", " 2.5.2024 ", "", "NA", "2024-05-02", "31.02.2024", "02.05.24"];
    let (read, dead) = date("%d.%m.%Y", &texts);
    assert_eq!(read, ["2024-05-02", "2024-05-02", "", ""]);
    let reason = |text| format!("`value` should be date, but is `{text}`");
    assert_eq!(dead, ["2024-05-02", "31.02.2024", "02.05.24"].map(reason));
    assert_eq!(date("%m/%d/%y", &["05/02/24", "05/02/99"]).0, ["2024-05-02", "1999-05-02"]);
    let naive = |pattern: &str, text: &str| {
        read_csv(json!({ "type": "timestamp" }), json!({ "timestamp_format": pattern }), &[text]).2
    };
    assert!(naive("%d.%m.%Y %H:%M", "02.05.2024 10:00"));
    assert!(!naive("%d.%m.%Y %H:%M %z", "02.05.2024 10:00 +0200"));
}

#[test]
fn a_number_is_a_moment_only_where_it_is_said_what_it_counts() {
    let read = |column: Json, text: &str| {
        let (rows, dead, naive) = read_csv(column, json!({}), &[text]);
        (rows.num_rows(), dead.len(), naive)
    };
    let seconds = || json!({ "type": "timestamp", "epoch": "seconds" });
    assert_eq!(read(json!({ "type": "timestamp" }), "1714644000"), (0, 1, false));
    assert_eq!(read(seconds(), "1714644000"), (1, 0, false));
    assert_eq!(read(seconds(), "99999999999999"), (0, 1, false));
    // An export of the source has the moments themselves.
    assert_eq!(read(seconds(), "2024-05-02T10:00:00Z"), (1, 0, false));
    assert_eq!(read(seconds(), "2024-05-02 10:00"), (1, 0, true));
}

#[test]
fn words_for_null_are_those_that_are_declared_in_text_too() {
    let read = |ty: &str, words: Json| {
        let column = json!({ "type": ty, "nullable": true });
        let (rows, dead, _) = read_csv(column, json!({ "null": words }), &["-", "NA", " NA ", "", "1"]);
        (rows.column(0).null_count(), rows.num_rows(), dead.len())
    };
    assert_eq!(read("string", json!(null)), (0, 5, 0));
    assert_eq!(read("string", json!(["NA", ""])), (2, 5, 0));
    assert_eq!(read("string", json!([])), (0, 5, 0));
    assert_eq!(read("int", json!(["NA", "", "-"])), (4, 5, 0));
    assert_eq!(read("int", json!(["it's"])), (0, 1, 4));
}

#[test]
fn what_may_have_to_be_declared_is_said_beside_what_is_wrong() {
    let reasons = |ty: &str, csv: Json, texts: &[&str]| -> Vec<String> {
        let (_, dead, _) = read_csv(json!({ "type": ty }), csv, texts);
        dead.into_iter().map(|letter| letter.reason.replace("`value` should be ", "")).collect()
    };
    assert_eq!(
        reasons("float", json!({}), &["1,5", "x"]),
        [
            "float, but is `1,5`; if that is a decimal comma, declare `csv: { decimal: \",\" }`",
            "float, but is `x`"
        ]
    );
    assert_eq!(reasons("float", json!({ "decimal": "," }), &["1.5"]), ["float, but is `1.5`"]);
    let dates = reasons("date", json!({}), &["02.05.2024", "5/2/24", "yesterday", "2013-13-01"]);
    let written_so = |text: &str| {
        format!("date, but is `{text}`; if dates are written so, declare `date_format` in `csv`")
    };
    assert_eq!(dates[..2], ["02.05.2024", "5/2/24"].map(written_so));
    assert_eq!(dates[2..], ["date, but is `yesterday`", "date, but is `2013-13-01`"]);
    assert_eq!(
        reasons("timestamp", json!({}), &["1714644000.5", "02.05.2024 10:00"]),
        [
            "timestamp, but is `1714644000.5`; if it counts time since 1970, declare `epoch` of the column",
            "timestamp, but is `02.05.2024 10:00`; if times are written so, declare `timestamp_format` in `csv`",
        ]
    );
}

proptest! {
    /// A record's number is its own, in the order of offsets, and tells where it is, also from what is left of its `seq`.
    #[test]
    fn a_record_is_found_by_its_number(generation in 0..64_i16, partition in 0..4_096_i32, offset in 0..1_i64 << 44) {
        let place = StreamPlace { generation, partition, offset };
        prop_assert_eq!(StreamPlace::of_row(place.row()), place);
        let seq = Stamp::of_stream(Time::UNIX_EPOCH).seq(place.row());
        prop_assert!(seq > 0);
        prop_assert_eq!(StreamPlace::of_ordinal(seq >> 40), Some(StreamPlace { offset: 0, ..place }));
        prop_assert_eq!(StreamPlace::of_ordinal(offset >> 24), None);
    }
}
