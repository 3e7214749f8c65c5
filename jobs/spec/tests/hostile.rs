//! Whatever a project or an expression holds, it is read or refused: nothing ends the process, nothing takes long.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

use indexmap::IndexMap;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tidemill_spec::{
    LoadOptions, Objects, PROJECT_FILE,
    diagnostic::{SourceFile, render},
    expr::{
        cel::{Scope, condition, resolve},
        sql::columns,
    },
    load_files,
};

/// What stands at limits, or where nobody expects it.
fn pieces() -> Vec<String> {
    let numbers = [
        "0",
        "-0",
        "1e308",
        "-1e308",
        "1e-320",
        "1e12",
        ".inf",
        "-.inf",
        ".nan",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "18446744073709551616",
        "0x10",
        "1_000",
        "1e400",
        "-1",
    ];
    let times = [
        "9999-12-31T23:59:59.999999Z",
        "9999-12-31T23:59:59-12:00",
        "0000-01-01",
        "0001-01-01T00:00:00+14:00",
        "+262142-12-31",
        "-262143-01-01T00:00:00",
        "+10000-01-01T00:00:00Z",
        "2013-02-30",
        "99999999999d",
        "18446744073709551615s",
        "365250d",
        "365251d",
        "0s",
        "1d1d",
        "99999999999 months",
        "4294967296 months",
    ];
    let texts = [
        "",
        "~",
        "null",
        "true",
        "\0",
        "\u{feff}",
        "\u{2028}",
        "🦀",
        "'",
        "\"",
        "`",
        "${{",
        "}}",
        "${{ }}",
        "*a",
        "&a x",
        "!!binary x",
        "<<: *a",
        "? x",
        "--- x",
        "...",
        "%YAML 9.9",
        "|",
        ">",
        "- - - -",
        "{",
        "}",
        "[",
        "]",
        ":",
        "#",
        "a: b: c",
        "\t",
        "\r",
        "@x",
        "16777216TiB",
        "* * * * *",
        "*/0 * * * *",
        "59 23 31 12 7",
        "0 0 30 2 *",
        "Europe/Nowhere",
        "secrets.x",
        "days(9223372036854775807)",
        "SELECT 1; DROP TABLE x",
    ];
    let made = [
        "[".repeat(20_000),
        "{a: ".repeat(5_000),
        "- ".repeat(5_000),
        "x".repeat(100_000),
        "\n a:".repeat(2_000),
        format!("\"${{{{ 1{} }}}}\"", "+1".repeat(4_000)),
        format!("\"${{{{ {}1{} }}}}\"", "(".repeat(4_000), ")".repeat(4_000)),
        format!("a{}", " + a".repeat(50_000)),
        format!("{}a{}", "abs(".repeat(5_000), ")".repeat(5_000)),
        "\u{0300}".repeat(1_000),
    ];
    numbers.iter().chain(&times).chain(&texts).map(ToString::to_string).chain(made).collect()
}

/// The project of the YAML reference, which has every kind of object.
fn project() -> Vec<SourceFile> {
    let examples = include_str!("../../../docs/reference/yaml.md").split("```yaml\n").skip(1);
    let texts = examples.filter_map(|rest| rest.split_once("```")).enumerate();
    let path = |number, text: &str| {
        if text.contains("kind: Project") { PROJECT_FILE.to_owned() } else { format!("{number}.yaml") }
    };
    texts.map(|(number, (text, _))| SourceFile { path: path(number, text), text: text.to_owned() }).collect()
}

/// How a text is spoilt: where, as a share of it, and by what.
#[derive(Clone, Debug)]
enum Spoil {
    Insert(String),
    /// Instead of the word there.
    Replace(String),
    Flip(u8),
    Cut(usize),
    Twice(usize),
}

fn any_spoil() -> impl Strategy<Value = (f64, Spoil)> {
    let piece = || prop::sample::select(pieces());
    let spoil = prop_oneof![
        2 => piece().prop_map(Spoil::Insert),
        4 => piece().prop_map(Spoil::Replace),
        1 => any::<u8>().prop_map(Spoil::Flip),
        1 => (1_usize..80).prop_map(Spoil::Cut),
        1 => (1_usize..200).prop_map(Spoil::Twice),
    ];
    (0.0..1.0, spoil)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a place in a text of some thousand bytes"
)]
fn spoilt(text: &str, (at, how): &(f64, Spoil)) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let at = (bytes.len() as f64 * at) as usize;
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.*".contains(byte);
    match how {
        Spoil::Insert(piece) => drop(bytes.splice(at..at, piece.bytes())),
        Spoil::Replace(piece) => {
            let start = bytes[..at].iter().rposition(|byte| !word(byte)).map_or(0, |index| index + 1);
            let end = bytes[at..].iter().position(|byte| !word(byte)).map_or(bytes.len(), |index| at + index);
            drop(bytes.splice(start..end, piece.bytes()));
        }
        Spoil::Flip(bits) => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= bits;
            }
        }
        Spoil::Cut(length) => drop(bytes.drain(at..(at + length).min(bytes.len()))),
        Spoil::Twice(length) => {
            let copy = bytes[at..(at + length).min(bytes.len())].to_vec();
            drop(bytes.splice(at..at, copy));
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn scope() -> Scope {
    let Value::Object(params) = json!({ "days": i64::MAX, "share": 1e308, "list": [1, 2, 3], "name": "x" })
    else {
        unreachable!("an object")
    };
    Scope {
        params,
        date: "2013-06-01T00:00:00Z".parse().unwrap(),
        run: "run_1".to_owned(),
        outputs: IndexMap::from([("data".to_owned(), json!({ "rows": -1, "deep": [[[1]]] }))]),
        ..Scope::default()
    }
}

/// Reads it in every way that a pipeline does.
fn evaluated(expression: &str) {
    let _ = condition(expression, &scope());
    let with = Map::from_iter([("x".to_owned(), Value::from(format!("a ${{{{ {expression} }}}} b")))]);
    let _ = resolve(&with, &scope());
}

const CEL: [&str; 8] = [
    "run.date - days(params.days)",
    "steps.data.outputs.rows > 100 && params.share < 0.5",
    "params.list.map(x, x * 2).exists(y, y > 3) ? \"a\" : 'b'",
    "timestamp(\"9999-12-31T23:59:59Z\") + duration(\"9223372036s\")",
    "date(\"0001-01-01\") - days(365000) < run.date",
    "[1, 2, {\"a\": -9223372036854775808}][2].a / -1",
    "int(1e308) % 0 + uint(\"18446744073709551615\")",
    "params.name.matches(\"(a|b)*c\") || has(params.x) || size(params.list) == 3",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_200, ..ProptestConfig::default() })]

    #[test]
    fn a_spoilt_project_is_read_or_refused_with_places(
        file in 0_usize..8, spoils in prop::collection::vec(any_spoil(), 1..3),
    ) {
        let mut files = project();
        let file = &mut files[file];
        file.text = spoils.iter().fold(file.text.clone(), |text, spoil| spoilt(&text, spoil));
        let loaded = load_files(files, &LoadOptions::default());
        let page = render(&loaded.diagnostics, &loaded.files, true);
        prop_assert_eq!(loaded.diagnostics.is_empty(), page.is_empty());
        // What is taken can be kept and read back.
        if !loaded.failed() {
            let again = Objects::from_definitions(loaded.objects.definitions()).unwrap();
            prop_assert_eq!(again.definitions().len(), loaded.objects.definitions().len());
        }
    }

    #[test]
    fn a_spoilt_expression_of_a_pipeline_has_a_value_or_is_refused(
        expression in prop::sample::select(CEL.to_vec()), spoils in prop::collection::vec(any_spoil(), 0..3),
    ) {
        evaluated(&spoils.iter().fold(expression.to_owned(), |text, spoil| spoilt(&text, spoil)));
    }

    #[test]
    fn a_spoilt_expression_over_a_row_is_read_or_refused(
        expression in prop::sample::select(vec![
            "isodow(date) + CASE WHEN a IS NULL THEN 0 ELSE b::DOUBLE END",
            "coalesce(a, 'x') || \"b\" NOT LIKE '%' ESCAPE '\\'",
            "list_transform([1, 2], x -> x + a)[1] BETWEEN -1 AND {'k': b}.k",
        ]),
        spoils in prop::collection::vec(any_spoil(), 0..3),
    ) {
        let _ = columns(&spoils.iter().fold(expression.to_owned(), |text, spoil| spoilt(&text, spoil)));
    }
}

/// On a stack as small as a server's threads have.
#[test]
fn the_longest_and_deepest_expressions_that_are_taken_fit_the_stack() {
    let forms: [(&str, &str, &str); 12] = [
        ("", "1 +", "1"),
        ("", "!", "true"),
        ("", "- ", "1"),
        ("", "true ? 1 : ", "2"),
        ("", "true ||", "true"),
        ("1", "", " in [1]"),
        ("params", ".a", ""),
        ("params", "[0]", ""),
        ("", "(", "1"),
        ("", "[", "1"),
        ("", "{1: ", "1"),
        ("", "size(", "1"),
    ];
    for (before, part, after) in forms {
        for count in [10, 31, 63, 64, 150, 299, 300, 599, 600, 2_000] {
            let close: String = part
                .chars()
                .filter_map(|open| match open {
                    '(' => Some(')'),
                    '{' => Some('}'),
                    '[' if !part.contains(']') => Some(']'),
                    _ => None,
                })
                .collect();
            let expression = format!("{before}{}{after}{}", part.repeat(count), close.repeat(count));
            evaluated(&expression);
            let _ = columns(&expression);
        }
    }
    for count in [500, 1_999, 2_000, 4_000, 50_000] {
        for part in [" + a", "::INT", " IS NULL", "[1]", " AND NOT a", " COLLATE x"] {
            let _ = columns(&format!("a{}", part.repeat(count)));
        }
        for part in ["NOT ", "- ", "CASE WHEN a THEN ", "(", "abs(", "[", "CAST("] {
            let _ = columns(&format!("{}a", part.repeat(count)));
        }
    }
    assert!(columns(&format!("a{}", " + a".repeat(400))).is_ok());
    let brackets = format!("{}a{}", "(b OR c AND d = e + f * -".repeat(20), "::INT)".repeat(20));
    assert!(columns(&brackets).is_ok());
    // Where one is wrong, the parser reads each level twice.
    for (open, close) in [("CASE WHEN a THEN ", " END"), ("CAST(", " AS INT)"), ("floor( ", ")"), ("a[", "]")]
    {
        let nested = |inner: &str, count| format!("{}{inner}{}", open.repeat(count), close.repeat(count));
        assert!(columns(&nested("a", 12)).is_ok(), "{open}");
        assert!(columns(&nested("a b", 12)).is_err(), "{open}");
        let error = columns(&nested("a", 13)).unwrap_err();
        assert_eq!(error.message, "more than 12 calls and `CASE` within each other", "{open}");
    }
    let chain = columns(&format!("a{}", " + a".repeat(1_999))).unwrap_err();
    assert!(chain.message.contains("names, numbers and signs"), "{chain}");
}

/// Loops within loops multiply; a condition is asked for each step of each run.
#[test]
fn an_expression_that_would_loop_for_long_is_refused() {
    let hundred = format!("[{}]", vec!["1"; 100].join(","));
    let twice = format!("{hundred}.all(a, {hundred}.all(b, a == b))");
    assert_eq!(condition(&twice, &scope()), Ok(true));
    let list = "params.list";
    let four = format!("{list}.all(a, {list}.all(b, {list}.all(c, {list}.all(d, a > 0))))");
    let error = condition(&four, &scope()).unwrap_err();
    assert!(error.message.contains("loops"), "{error}");

    let mut large = scope();
    large.params.insert("list".to_owned(), json!(vec![1; 100_000]));
    large.params.insert("text".to_owned(), json!("x".repeat(100_000)));
    let error = condition("params.list.all(a, params.list.all(b, a == b))", &large).unwrap_err();
    assert!(error.message.contains("100000 values"), "{error}");
    let copies = json!({ "x": "${{ params.list.map(a, params.text) }}" });
    let error = resolve(copies.as_object().unwrap(), &large).unwrap_err();
    assert!(error.message.contains("larger than"), "{error}");
}
