//! Feature views: what is computed, from what, and what of it is online.

use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::Meta;
use crate::{Type, Value, yaml::fields::valid_name};

/// How far sums may be apart, of their size.
const SUM_TOLERANCE: f64 = 1e-12;

/// Features of one entity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeatureView {
    /// Its name.
    pub name: String,
    /// Description, owner, tags.
    pub meta: Meta,
    /// The entity it describes.
    pub entity: String,
    /// What it is computed from.
    pub input: ViewInput,
    /// How old a value may be, both ends included; none: any age.
    #[serde(default)]
    pub ttl: Option<Duration>,
    /// Its features, in declared order.
    pub features: IndexMap<String, Feature>,
    /// User Python that computes all of them, `module:function`; else each feature has its own rule.
    #[serde(default)]
    pub python: Option<String>,
    /// Whether the function takes and returns a whole table.
    #[serde(default)]
    pub batch: bool,
    /// The longest that one call of the function may take, real time; none: [`Self::call_limit`] says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Which features are kept online.
    pub online: OnlineFeatures,
    /// How old the newest value may be.
    #[serde(default)]
    pub freshness: Option<Freshness>,
    /// Declared leaks are named in every dataset, model and report that touches the view.
    #[serde(default)]
    pub leak_allowed: bool,
}

/// What a view reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ViewInput {
    /// Rows of one source.
    Source(String),
    /// Other views: in SQL as of the moment of asking, in Python as of each moment of theirs.
    Views(Vec<InputView>),
}

/// A view that is read, as what, and by which keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "StoredInput", into = "StoredInput")]
pub struct InputView {
    /// The view.
    pub view: String,
    /// What it is read as: its features are then called `ROLE_FEATURE`. None: by their own names.
    pub role: Option<String>,
    /// For keys of its entity that are found under another name: that name.
    pub keys: IndexMap<String, String>,
}

impl InputView {
    /// A view under its own name, by the keys of their own names.
    pub fn named(view: impl Into<String>) -> Self {
        Self { view: view.into(), ..Self::default() }
    }

    /// What it is called where it is read: its role, or its own name.
    pub fn name(&self) -> &str {
        self.role.as_ref().unwrap_or(&self.view)
    }

    /// What one of its features is called where it is read.
    pub fn column(&self, feature: &str) -> String {
        column_of(self.role.as_deref(), feature)
    }
}

/// What a feature is called that is read in a role.
pub(crate) fn column_of(role: Option<&str>, feature: &str) -> String {
    role.map_or_else(|| feature.to_owned(), |role| format!("{role}_{feature}"))
}

/// An input as it is stored: by its view's name alone where that says everything.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum StoredInput {
    Name(String),
    Input {
        view: String,
        #[serde(default)]
        role: Option<String>,
        #[serde(default)]
        keys: IndexMap<String, String>,
    },
}

impl From<StoredInput> for InputView {
    fn from(stored: StoredInput) -> Self {
        match stored {
            StoredInput::Name(view) => Self::named(view),
            StoredInput::Input { view, role, keys } => Self { view, role, keys },
        }
    }
}

impl From<InputView> for StoredInput {
    fn from(InputView { view, role, keys }: InputView) -> Self {
        if role.is_none() && keys.is_empty() { Self::Name(view) } else { Self::Input { view, role, keys } }
    }
}

/// How a view is computed; derived from its declaration, never mixed within one view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ViewKind {
    /// A row for each source row: `last` values, row SQL, age, or user Python.
    Rows,
    /// Windowed aggregates over source rows, kept as tiles.
    Windows,
    /// Nothing of its own: SQL over the values of other views, computed whenever it is asked.
    Derived,
    /// A row for each moment of any input view, by user Python from all inputs as of then.
    Snapshots,
}

impl ViewKind {
    /// Whether it has rows or tiles of its own, which updates keep in step with what they are computed from.
    pub fn stored(self) -> bool {
        self != Self::Derived
    }
}

/// One feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "StoredFeature")]
pub struct Feature {
    /// Its type.
    #[serde(rename = "type")]
    pub ty: Type,
    /// How it is computed.
    pub rule: Rule,
    /// Taken where no value is found, online and offline alike.
    #[serde(default)]
    pub default: Option<Value>,
}

/// How one feature is computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The newest row's value of a column.
    Last(String),
    /// A DuckDB expression over one row's columns (or, in a derived view, its inputs' features).
    Sql(String),
    /// Minutes since the newest row's `valid_at`, at the moment of asking.
    Age,
    /// An aggregate over a window that ends at the moment of asking.
    Window {
        /// What is computed.
        aggregate: Aggregate,
        /// Of what of each row; `None` counts rows.
        #[serde(rename = "column")]
        of: Option<Operand>,
        /// A DuckDB condition over one row's columns: rows of which it is not true do not count. None: every row does.
        #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
        condition: Option<String>,
        /// Length of the window.
        window: Duration,
        /// Its tail is floored to multiples of this, in UTC.
        hop: Duration,
    },
    /// One of the values that the view's Python function returns.
    Python,
}

impl Rule {
    /// Whether two computations of a feature agree: bit for bit, but for sums, whose rows may have been added in another
    /// order, or in tiles: within 1e-12 of their size.
    pub fn agrees(&self, one: &Value, other: &Value) -> bool {
        match (self, one, other) {
            (
                Self::Window { aggregate: Aggregate::Sum | Aggregate::Mean | Aggregate::Stddev, .. },
                Value::Float(a),
                Value::Float(b),
            ) => a == b || (a - b).abs() <= SUM_TOLERANCE * a.abs().max(b.abs()) || one.same(other),
            _ => one.same(other),
        }
    }
}

/// What of a row is aggregated. As text a plain name is a column, whatever word it is; anything else is SQL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Operand {
    /// A column.
    Column(String),
    /// A DuckDB expression over one row's columns.
    Sql(String),
}

/// A windowed aggregate.
///
/// Rows whose value is null do not count. Over no rows it is null, but for what [counts](Self::counts).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// Rows, or rows whose value is not null.
    Count,
    /// All values added up.
    Sum,
    /// The arithmetic mean.
    Mean,
    /// The least value.
    Min,
    /// The greatest value.
    Max,
    /// The standard deviation of a sample; null over a single row.
    Stddev,
    /// The oldest row's value.
    First,
    /// The newest row's value.
    Last,
    /// How many different values there are: exact up to 1,024, then within about 2 %.
    Distinct,
    /// The commonest value, of equally common ones the least; null where there are more than 1,024 different ones.
    Mode,
    /// A value that is greater than about this share of the others, within 1 %.
    Percentile {
        /// The share, between 0 and 1.
        p: f64,
    },
    /// The values of the newest rows, the newest first.
    LastN {
        /// At most so many.
        n: u32,
    },
    /// The commonest values, the commonest first, of equally common ones the least; null where there are more than 1,024
    /// different ones.
    Top {
        /// At most so many.
        n: u32,
    },
}

impl Aggregate {
    /// The words of all aggregates.
    pub const WORDS: [&str; 12] = [
        "count",
        "sum",
        "mean",
        "min",
        "max",
        "stddev",
        "first",
        "last",
        "distinct",
        "mode",
        "percentile",
        "top",
    ];

    /// The most values that a list of the newest or commonest ones has.
    pub const N_MAX: i64 = 1_000;

    /// The word that YAML uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Mean => "mean",
            Self::Min => "min",
            Self::Max => "max",
            Self::Stddev => "stddev",
            Self::First => "first",
            Self::Last | Self::LastN { .. } => "last",
            Self::Distinct => "distinct",
            Self::Mode => "mode",
            Self::Percentile { .. } => "percentile",
            Self::Top { .. } => "top",
        }
    }

    /// Whether it says how many there are: of nothing 0, and never null.
    pub fn counts(self) -> bool {
        matches!(self, Self::Count | Self::Distinct)
    }

    /// Its type over a column; `None` where such a column can't be aggregated.
    pub fn over(self, column: Type) -> Option<Type> {
        let (number, single) = (column.is_number(), column.element().is_none());
        match self {
            Self::Count => Some(Type::Int),
            Self::Distinct => single.then_some(Type::Int),
            Self::Mean | Self::Stddev | Self::Percentile { .. } => number.then_some(Type::Float),
            Self::Sum => match column {
                Type::Decimal(digits) => Some(Type::Decimal(digits.of_sum())),
                _ => number.then_some(column),
            },
            Self::Min | Self::Max => (single && column != Type::Bool).then_some(column),
            Self::Mode => single.then_some(column),
            Self::First | Self::Last => Some(column),
            Self::LastN { .. } | Self::Top { .. } => Type::list(column, None),
        }
    }

    /// Whether it can have a type.
    pub fn gives(self, ty: Type) -> bool {
        Type::PLAIN.into_iter().chain([ty]).chain(ty.element()).any(|of| self.over(of) == Some(ty))
    }

    /// The type in which a row's value is aggregated to a feature of type `ty`; `None` for a count, to which only matters
    /// that there is one.
    pub fn row_type(self, ty: Type) -> Option<Type> {
        match self {
            Self::Count => None,
            Self::Mean | Self::Stddev | Self::Percentile { .. } => Some(Type::Float),
            // Values of every type are told apart by their text.
            Self::Distinct => Some(Type::String),
            Self::Sum | Self::Min | Self::Max | Self::First | Self::Last | Self::Mode => Some(ty),
            // Of the list's own type: of what is declared otherwise, `check` has told.
            Self::LastN { .. } | Self::Top { .. } => Some(ty.element().unwrap_or(ty)),
        }
    }
}

impl From<String> for Operand {
    fn from(text: String) -> Self {
        if valid_name(&text) { Self::Column(text) } else { Self::Sql(text) }
    }
}

impl From<Operand> for String {
    fn from(operand: Operand) -> Self {
        match operand {
            Operand::Column(text) | Operand::Sql(text) => text,
        }
    }
}

/// Which features of a view are online.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnlineFeatures {
    /// None.
    #[default]
    None,
    /// All.
    All,
    /// These, in the view's order.
    Some(Vec<String>),
}

/// How old the newest value of an entity may be, by the data clock.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Freshness {
    /// Older is shown.
    #[serde(default)]
    pub warn: Option<Duration>,
    /// Older is served, but reported stale.
    #[serde(default)]
    pub fail: Option<Duration>,
}

/// A feature as JSON has it: its default has lost its type.
#[derive(Deserialize)]
struct StoredFeature {
    #[serde(rename = "type")]
    ty: Type,
    rule: Rule,
    #[serde(default)]
    default: serde_json::Value,
}

impl From<StoredFeature> for Feature {
    fn from(StoredFeature { ty, rule, default }: StoredFeature) -> Self {
        let default = Value::from_json(&default, ty).ok().filter(|value| !value.is_null());
        Self { ty, rule, default }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn again(stored: &serde_json::Value) -> (Rule, serde_json::Value) {
        let rule: Rule = serde_json::from_value(stored.clone()).unwrap();
        let written = serde_json::to_value(&rule).unwrap();
        (rule, written)
    }

    /// A view whose stored definition changed by itself would get a new version, and be filled again.
    #[test]
    fn a_window_that_was_stored_before_conditions_is_written_as_it_was() {
        let duration = json!({ "secs": 3600, "nanos": 0 });
        for column in [json!(null), json!("amount"), json!("order")] {
            let stored = json!({ "window": {
                "aggregate": "count", "column": column, "window": duration, "hop": duration
            } });
            let (rule, written) = again(&stored);
            assert_eq!(written, stored);
            let Rule::Window { of, condition: None, .. } = rule else { panic!("{rule:?}") };
            assert_eq!(of, column.as_str().map(|name| Operand::Column(name.to_owned())));
        }
    }

    #[test]
    fn a_plain_name_is_a_column_and_anything_else_is_sql() {
        for (text, column) in
            [("at", true), ("null", true), ("price * quantity", false), ("\"at\"", false), ("1", false)]
        {
            let operand = Operand::from(text.to_owned());
            assert_eq!(matches!(operand, Operand::Column(_)), column, "{text}");
            let duration = Duration::from_secs(60);
            let rule = Rule::Window {
                aggregate: Aggregate::Percentile { p: 0.95 },
                of: Some(operand),
                condition: Some("action = 'click'".to_owned()),
                window: duration,
                hop: duration,
            };
            assert_eq!(again(&serde_json::to_value(&rule).unwrap()).0, rule);
        }
    }

    #[test]
    fn every_aggregate_has_its_word_and_types() {
        let all = [
            Aggregate::Count,
            Aggregate::Sum,
            Aggregate::Mean,
            Aggregate::Min,
            Aggregate::Max,
            Aggregate::Stddev,
            Aggregate::First,
            Aggregate::Last,
            Aggregate::Distinct,
            Aggregate::Mode,
            Aggregate::Percentile { p: 0.5 },
            Aggregate::Top { n: 5 },
        ];
        assert_eq!(all.map(Aggregate::as_str), Aggregate::WORDS);
        for aggregate in all.into_iter().chain([Aggregate::LastN { n: 10 }]) {
            assert!(aggregate.over(Type::Int).is_some_and(|ty| aggregate.gives(ty)), "{aggregate:?}");
        }
    }
}
