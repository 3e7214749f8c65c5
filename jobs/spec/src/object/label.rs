//! Labels: what a model learns to predict, of whom it is asked, and when.

use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{Feature, Meta, Rule};
use crate::Type;

/// What a model learns to predict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Label {
    /// Its name.
    pub name: String,
    /// Description, owner, tags.
    pub meta: Meta,
    /// The entity it is asked of.
    pub entity: String,
    /// The source whose rows hold the answer, or are aggregated to it.
    pub source: String,
    /// Type of the answer.
    #[serde(rename = "type")]
    pub ty: Type,
    /// The answer, as a DuckDB expression over one row of the source, or over the aggregates.
    pub sql: String,
    /// Of whom it is asked, and when.
    #[serde(flatten)]
    pub asked: Asked,
}

/// Of whom a label is asked, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Asked {
    /// Each row of the source is an answer, which matures at its available time. The moment at which it is asked is a
    /// DuckDB expression over the row.
    #[serde(rename = "asked_at")]
    OfRows(String),
    /// The answer is what comes after the moment.
    #[serde(rename = "ahead")]
    Ahead(Ahead),
}

/// A label over windows that begin when it is asked; it matures when the longest of them has passed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ahead {
    /// Of whom it is asked, and when.
    pub population: Population,
    /// What is computed of the rows of each window, by [`Rule::Window`].
    pub aggregates: IndexMap<String, Feature>,
}

/// Of whom a label over windows is asked, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Population {
    /// At each tick of a schedule every entity that a view has a value for at that moment.
    Entities {
        /// The view.
        view: String,
        /// Five fields.
        cron: String,
        /// An IANA name.
        timezone: String,
    },
    /// The entity of each row of a source, at a moment that is a DuckDB expression over the row.
    Rows {
        /// The source.
        source: String,
        /// The moment.
        asked_at: String,
    },
}

impl Label {
    /// What it says of the time after the moment at which it is asked, if it does.
    pub fn ahead(&self) -> Option<&Ahead> {
        match &self.asked {
            Asked::Ahead(ahead) => Some(ahead),
            Asked::OfRows(_) => None,
        }
    }
}

impl Ahead {
    /// How far the window of each aggregate reaches ahead.
    pub fn within(&self) -> impl Iterator<Item = (&String, Duration)> {
        self.aggregates.iter().filter_map(|(name, aggregate)| match &aggregate.rule {
            Rule::Window { window, .. } => Some((name, *window)),
            _ => None,
        })
    }

    /// From the moment at which it is asked to the one at which it matures.
    pub fn matures_after(&self) -> Duration {
        self.within().map(|(_, within)| within).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Aggregate;

    /// A label whose stored definition changed by itself would be shown as changed by every plan.
    #[test]
    fn a_label_of_rows_is_stored_as_it_was_before_windows() {
        let stored = json!({
            "name": "late", "meta": { "description": "", "owner": "", "tags": [] }, "entity": "flight",
            "source": "arrivals", "type": "bool", "sql": "arr_delay > 15", "asked_at": "scheduled_at"
        });
        let label: Label = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!(label.asked, Asked::OfRows("scheduled_at".to_owned()));
        assert_eq!(serde_json::to_value(&label).unwrap().to_string(), stored.to_string());
    }

    #[test]
    fn a_label_over_windows_reads_back_and_matures_with_the_longest() {
        let aggregate = |days: u64| {
            let (window, hop) = (Duration::from_hours(24 * days), Duration::from_micros(1));
            let aggregate = Aggregate::Percentile { p: 0.9 };
            let rule = Rule::Window { aggregate, of: None, condition: None, window, hop };
            Feature { ty: Type::Int, rule, default: None }
        };
        let population = Population::Rows { source: "signups".to_owned(), asked_at: "at".to_owned() };
        let aggregates = [("soon", 7), ("later", 30), ("then", 14)];
        let aggregates = aggregates.map(|(name, days)| (name.to_owned(), aggregate(days))).into();
        let label = Label {
            name: "worth".to_owned(),
            meta: Meta::default(),
            entity: "user".to_owned(),
            source: "orders".to_owned(),
            ty: Type::Float,
            sql: "later - soon".to_owned(),
            asked: Asked::Ahead(Ahead { population, aggregates }),
        };
        let stored = serde_json::to_value(&label).unwrap();
        assert_eq!(serde_json::from_value::<Label>(stored).unwrap(), label);
        assert_eq!(label.ahead().unwrap().matures_after(), Duration::from_hours(24 * 30));
    }
}
