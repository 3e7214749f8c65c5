//! The contract in plain Rust, by looking at every row: no SQL, no order, no index.

use std::collections::BTreeSet;

use tidemill_core::Time;
use tidemill_offline::KnownAt;
use tidemill_spec::{Aggregate, Decimal, Newest, Rule, Value};

/// A key of two parts; a row or label with a null in it joins nothing.
pub(crate) type Key = (Option<String>, Option<i64>);

/// One source row.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) key: Key,
    /// The source's unique column.
    pub(crate) id: i64,
    pub(crate) valid_at: Time,
    pub(crate) created_at: Time,
    pub(crate) seq: i64,
    pub(crate) deleted: bool,
    pub(crate) x: Option<f64>,
    pub(crate) n: Option<i64>,
}

impl Event {
    pub(crate) fn order(&self) -> (Time, Time, i64) {
        (self.valid_at, self.created_at, self.seq)
    }

    /// Among the rows of its id, the greatest counts.
    pub(crate) fn rank(&self, newest: &Newest) -> (Option<i64>, Time, Time, i64) {
        match newest {
            Newest::ValidAt => (None, self.valid_at, self.created_at, self.seq),
            Newest::Accepted => (None, self.created_at, self.created_at, self.seq),
            Newest::Column(name) => {
                assert_eq!(name, "n");
                (self.n, self.valid_at, self.created_at, self.seq)
            }
        }
    }
}

pub(crate) fn complete(key: &Key) -> bool {
    key.0.is_some() && key.1.is_some()
}

fn known(event: &Event, t: Time, known_at: KnownAt) -> bool {
    event.valid_at <= t
        && match known_at {
            KnownAt::Any => true,
            KnownAt::Label => event.created_at <= t,
            KnownAt::Time(limit) => event.created_at <= limit,
        }
}

/// The last row of a key at a moment, if it is neither deleted nor older than the ttl (both ends included).
///
/// Where rows replace each other by `id`, each id is what its newest row says, and stands where its first row stood; where
/// corrections move events, where its newest does.
pub(crate) fn newest<'a>(
    events: &'a [Event],
    key: &Key,
    t: Time,
    ttl_seconds: Option<i64>,
    known_at: KnownAt,
    unique: Option<&Newest>,
) -> Option<&'a Event> {
    let known: Vec<&Event> = events.iter().filter(|event| known(event, t, known_at)).collect();
    let same = |id: i64| known.iter().filter(move |other| other.id == id);
    let newest_of_id =
        |event: &Event, by: &Newest| same(event.id).map(|other| other.rank(by)).max() == Some(event.rank(by));
    let standing = |event: &Event| match unique {
        Some(Newest::ValidAt) => same(event.id).map(|other| other.order()).min(),
        _ => Some(event.order()),
    };
    let of_key = known.iter().copied().filter(|event| complete(key) && event.key == *key);
    of_key
        .filter(|event| unique.is_none_or(|by| newest_of_id(event, by) && !event.deleted))
        .max_by_key(|event| standing(event))
        .filter(|event| !event.deleted)
        .filter(|event| {
            ttl_seconds.is_none_or(|ttl| (t - event.valid_at).num_seconds() <= ttl && exact(event, t, ttl))
        })
}

/// Below a second too.
fn exact(event: &Event, t: Time, ttl: i64) -> bool {
    (t - event.valid_at).num_microseconds().unwrap() <= ttl * 1_000_000
}

/// A window's value at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window<'a> {
    pub(crate) seconds: i64,
    pub(crate) hop: i64,
    pub(crate) unique: Option<&'a Newest>,
}

impl Window<'_> {
    /// The rows that count, oldest first.
    pub(crate) fn rows<'a>(
        &self,
        events: &'a [Event],
        key: &Key,
        t: Time,
        known_at: KnownAt,
    ) -> Vec<&'a Event> {
        let tail = (t.timestamp_micros() - self.seconds * 1_000_000).div_euclid(self.hop * 1_000_000)
            * self.hop
            * 1_000_000;
        let known: Vec<&Event> = events.iter().filter(|event| known(event, t, known_at)).collect();
        let replaced = |event: &Event| {
            let mut others = known.iter();
            match self.unique {
                Some(by) => others.any(|other| other.id == event.id && other.rank(by) > event.rank(by)),
                // A tombstone ends all that its entity had before it.
                None => others
                    .any(|other| other.key == event.key && other.deleted && other.order() > event.order()),
            }
        };
        let mut rows: Vec<&Event> = known
            .iter()
            .copied()
            .filter(|event| complete(key) && event.key == *key)
            .filter(|event| !event.deleted && !replaced(event))
            .filter(|event| event.valid_at.timestamp_micros() > tail)
            .collect();
        rows.sort_by_key(|event| event.order());
        rows
    }

    /// `of`: what is aggregated of a row; nothing where it does not count.
    pub(crate) fn value(
        &self,
        events: &[Event],
        key: &Key,
        t: Time,
        known_at: KnownAt,
        aggregate: Aggregate,
        of: impl Fn(&Event) -> Option<Value>,
    ) -> Value {
        let values: Vec<Value> = self.rows(events, key, t, known_at).into_iter().filter_map(of).collect();
        match aggregate {
            Aggregate::Count => return Value::Int(values.len() as i64),
            Aggregate::Distinct => return Value::Int(values.iter().collect::<BTreeSet<_>>().len() as i64),
            _ => {}
        }
        let Some(first) = values.first() else { return Value::Null };
        let floats = || values.iter().map(number);
        match aggregate {
            Aggregate::Mean => Value::Float(floats().sum::<f64>() / values.len() as f64),
            Aggregate::Min => values.iter().min().unwrap().clone(),
            Aggregate::Max => values.iter().max().unwrap().clone(),
            Aggregate::First => first.clone(),
            Aggregate::Last => values[values.len() - 1].clone(),
            Aggregate::Mode => commonest(values)[0].clone(),
            Aggregate::Top { n } => {
                let mut commonest = commonest(values);
                commonest.truncate(n as usize);
                Value::List(commonest)
            }
            Aggregate::LastN { n } => Value::List(values.into_iter().rev().take(n as usize).collect()),
            Aggregate::Stddev if values.len() == 1 => Value::Null,
            Aggregate::Stddev => {
                let count = values.len() as f64;
                let mean = floats().sum::<f64>() / count;
                Value::Float((floats().map(|x| (x - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt())
            }
            Aggregate::Percentile { p } => {
                let mut sorted: Vec<f64> = floats().collect();
                sorted.sort_by(f64::total_cmp);
                Value::Float(sorted[(p * (sorted.len() - 1) as f64) as usize])
            }
            _ if matches!(first, Value::Decimal(_)) => {
                let cents = values.iter().map(|value| match value {
                    Value::Decimal(number) => number.unscaled(),
                    other => panic!("{other:?}"),
                });
                Value::Decimal(Decimal::new(cents.sum(), 2))
            }
            _ if matches!(first, Value::Int(_)) => Value::Int(floats().sum::<f64>() as i64),
            _ => Value::Float(floats().sum()),
        }
    }
}

/// The commonest first, of equally common ones the least.
fn commonest(mut left: Vec<Value>) -> Vec<Value> {
    let mut commonest = Vec::new();
    while !left.is_empty() {
        let often = |value: &Value| left.iter().filter(|other| *other == value).count();
        let most = left.iter().map(often).max().unwrap();
        let next = left.iter().filter(|value| often(value) == most).min().unwrap().clone();
        left.retain(|value| *value != next);
        commonest.push(next);
    }
    commonest
}

fn number(value: &Value) -> f64 {
    match value {
        Value::Int(number) => *number as f64,
        Value::Float(number) => *number,
        other => panic!("{other:?} is no number"),
    }
}

/// Equal, but for the last bits of a sum, and what a sketch is off by.
pub(crate) fn agree(rule: Option<&Rule>, a: &Value, b: &Value) -> bool {
    let error = match rule {
        Some(Rule::Window { aggregate: Aggregate::Percentile { .. }, .. }) => 0.010_1,
        Some(Rule::Window { aggregate: Aggregate::Stddev, .. }) => 1e-9,
        _ => 1e-12,
    };
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => {
            a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= error * a.abs().max(b.abs()).max(1e-300)
        }
        (a, b) => a == b,
    }
}
