//! SQL of a user as DuckDB's own parser reads it: which tables and functions it names, and where it breaks off.

use duckdb::Connection;
use serde_json::Value as Json;

/// What is wrong with a text, in DuckDB's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The first line of its message.
    pub(crate) message: String,
    /// The other lines: what it would take instead.
    pub(crate) rest: Option<String>,
    /// In bytes of the statement.
    pub(crate) at: Option<usize>,
}

/// One SELECT, taken apart.
#[derive(Debug)]
pub(crate) struct Parsed(Json);

/// A function that is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// Its name in lower case.
    pub(crate) name: String,
    /// Where it was told to look for it, catalog and schema; empty for everywhere. DuckDB's parser says `main` of the
    /// functions that it makes of `[x]`, `x[1]`, `MAP {}`, `a IN (…)` and the like, so that says nothing.
    pub(crate) place: String,
    /// How many arguments it gets.
    pub(crate) arguments: usize,
    /// Its first argument, where that is written out.
    pub(crate) first: Option<String>,
    /// In bytes of the statement.
    pub(crate) at: Option<usize>,
}

impl Refusal {
    pub(crate) fn new(message: impl Into<String>, at: Option<usize>) -> Self {
        Self { message: message.into(), rest: None, at }
    }

    /// From an error of a connection with `errors_as_json`.
    pub(crate) fn of(error: &duckdb::Error) -> Self {
        let text = match error {
            duckdb::Error::DuckDBFailure(_, Some(text)) => text.clone(),
            other => other.to_string(),
        };
        let json = text.find('{').and_then(|at| serde_json::from_str::<Json>(&text[at..]).ok());
        let Some(json) = json else { return Self::worded(&text, None) };
        let at = json["position"].as_str().and_then(|at| at.parse().ok());
        Self::worded(json["exception_message"].as_str().unwrap_or(&text), at)
    }

    fn worded(text: &str, at: Option<usize>) -> Self {
        let (message, rest) = text.split_once('\n').unwrap_or((text, ""));
        let mut message = message.trim().trim_end_matches(['!', '.']).to_owned();
        if let Some(first) = message.get_mut(..1) {
            first.make_ascii_lowercase();
        }
        let rest = rest.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        Self { message, rest: (!rest.is_empty()).then_some(rest), at }
    }
}

impl Parsed {
    /// Takes a text apart that must be one SELECT; `None` where DuckDB can run it but not take it apart (`PIVOT`).
    ///
    /// # Errors
    /// It is none, or more than one, or holds a parameter.
    pub(crate) fn parse(connection: &Connection, text: &str) -> Result<Option<Self>, Refusal> {
        let json: Result<String, duckdb::Error> = connection.query_row(
            "SELECT CAST(json_serialize_sql(CAST(? AS VARCHAR)) AS VARCHAR)",
            [text],
            |row| row.get(0),
        );
        let json = json.map_err(|error| Refusal::of(&error))?;
        let mut json: Json =
            serde_json::from_str(&json).map_err(|error| Refusal::new(error.to_string(), None))?;
        if json["error"] == true {
            if json["error_type"] == "not implemented" {
                return if begins_with_pivot(text) { Ok(None) } else { Err(no_query()) };
            }
            let at = json["position"].as_str().and_then(|at| at.parse().ok());
            return Err(Refusal::worded(json["error_message"].as_str().unwrap_or_default(), at));
        }
        let statements = json["statements"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let mut statements = statements.into_iter();
        match (statements.next(), statements.next()) {
            (Some(one), None) if one["named_param_map"].as_array().is_none_or(Vec::is_empty) => {
                Ok(Some(Self(one)))
            }
            (Some(_), None) => {
                let message = "`?` and `$1` are parameters, and nothing gives them a value";
                Err(Refusal::new(message, text.find(['?', '$'])))
            }
            (None, _) => Err(Refusal::new("it has no query", None)),
            (Some(_), Some(_)) => {
                Err(Refusal::new("these are several statements; a query is one", text.find(';')))
            }
        }
    }

    /// Tables that it names, as `(schema, table)` in lower case; the schema is empty where it says none. Names of its
    /// own `WITH` are among them.
    pub(crate) fn tables(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        visit(&self.0, &mut |node| {
            if node["type"] == "BASE_TABLE" {
                let name = |of: &str| node[of].as_str().unwrap_or_default().to_lowercase();
                found.push((name("schema_name"), name("table_name")));
            }
        });
        found
    }

    /// Functions that it calls, operators left out.
    pub(crate) fn calls(&self) -> Vec<Call> {
        let mut found = Vec::new();
        visit(&self.0, &mut |node| {
            if matches!(node["class"].as_str(), Some("FUNCTION" | "WINDOW")) && node["is_operator"] != true {
                let arguments = node["children"].as_array();
                let word = |of: &str| node[of].as_str().unwrap_or_default().to_lowercase();
                let place = match (word("catalog"), word("schema")) {
                    (catalog, schema) if catalog.is_empty() && schema == "main" => String::new(),
                    (catalog, schema) if catalog.is_empty() => schema,
                    (catalog, schema) => format!("{catalog}.{schema}"),
                };
                let first = arguments.and_then(|all| all.first()).map(|first| &first["value"]["value"]);
                found.push(Call {
                    name: word("function_name"),
                    place,
                    arguments: arguments.map_or(0, Vec::len),
                    first: first.and_then(Json::as_str).map(str::to_owned),
                    at: node["query_location"].as_u64().and_then(|at| usize::try_from(at).ok()),
                });
            }
        });
        found
    }

    /// Whether a query stands within it.
    pub(crate) fn nested(&self) -> bool {
        let mut found = false;
        visit(&self.0, &mut |node| found |= node["class"] == "SUBQUERY");
        found
    }
}

fn no_query() -> Refusal {
    Refusal::new("it changes something; a query is one SELECT", None)
}

/// DuckDB makes several statements of one of these, so it can't write it as JSON.
fn begins_with_pivot(text: &str) -> bool {
    let upper = text.to_uppercase();
    !upper.contains(';') && upper.contains("PIVOT")
}

fn visit(node: &Json, see: &mut impl FnMut(&Json)) {
    match node {
        Json::Object(fields) => {
            see(node);
            fields.values().for_each(|field| visit(field, see));
        }
        Json::Array(items) => items.iter().for_each(|item| visit(item, see)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<Parsed>, Refusal> {
        Parsed::parse(&Connection::open_in_memory().unwrap(), text)
    }

    #[test]
    fn tables_are_found_wherever_they_stand() {
        let query = "WITH w AS (FROM source.rides) SELECT * FROM w JOIN \"Trips\" USING (x) WHERE EXISTS (FROM dead.rides)";
        let mut tables = parse(query).unwrap().unwrap().tables();
        tables.sort();
        let expected = [("", "trips"), ("", "w"), ("dead", "rides"), ("source", "rides")];
        assert_eq!(tables, expected.map(|(schema, table)| (schema.to_owned(), table.to_owned())));
    }

    #[test]
    fn a_text_that_is_not_one_query_is_refused_with_its_place() {
        for (text, message, at) in [
            ("SELEC 1 FROM x", "syntax error at or near \"SELEC\"", Some(0)),
            ("SELECT 1; SELECT 2", "these are several statements; a query is one", Some(8)),
            ("SELECT ?", "`?` and `$1` are parameters, and nothing gives them a value", Some(7)),
            ("", "it has no query", None),
            ("-- nothing", "it has no query", None),
            ("DROP TABLE x", "it changes something; a query is one SELECT", None),
        ] {
            let refusal = parse(text).unwrap_err();
            assert_eq!((refusal.message.as_str(), refusal.at), (message, at), "{text}");
        }
        assert!(parse("PIVOT rides ON city USING sum(fare)").unwrap().is_none());
    }
}
