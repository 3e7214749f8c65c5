//! How often each value occurs, for the commonest ones. Exact; past [`VALUES_MAX`] different values there is none.

use std::{cmp::Reverse, collections::BTreeMap};

use tidemill_spec::{Type, Value};

use super::bytes::{Damaged, Reader, Writer};

const VERSION: u8 = 1;

/// Different values of one window, or tile. More of them have no commonest worth the name, and would not fit into Redis.
const VALUES_MAX: usize = 1_024;

/// `None`: too many values. What has too many keeps too many, whatever is joined to it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tally(Option<BTreeMap<Value, u64>>);

impl Default for Tally {
    fn default() -> Self {
        Self(Some(BTreeMap::new()))
    }
}

impl Tally {
    pub(super) fn add(&mut self, value: Value) {
        // The zeros are one value.
        let value = if let Value::Float(number) = value { Value::Float(number + 0.0) } else { value };
        if let Some(counts) = &mut self.0 {
            *counts.entry(value).or_default() += 1;
        }
        self.bound();
    }

    pub(super) fn join(&mut self, later: Self) {
        match (&mut self.0, later.0) {
            (Some(counts), Some(later)) => {
                for (value, count) in later {
                    let counted = counts.entry(value).or_default();
                    *counted = counted.saturating_add(count);
                }
            }
            (counts, _) => *counts = None,
        }
        self.bound();
    }

    fn bound(&mut self) {
        self.0.take_if(|counts| counts.len() > VALUES_MAX);
    }

    /// So many of the commonest values, the commonest first; of those that are equally common the least.
    pub(super) fn commonest(self, n: usize) -> Option<Vec<Value>> {
        let mut counts: Vec<(Value, u64)> = self.0?.into_iter().collect();
        // A stable sort: the values are in order.
        counts.sort_by_key(|(_, count)| Reverse(*count));
        Some(counts.into_iter().take(n).map(|(value, _)| value).collect())
    }

    pub(super) fn write(&self) -> String {
        let mut out = Writer::new(VERSION);
        // One more than there are, so that 0 can say: too many.
        out.length(self.0.as_ref().map_or(0, |counts| counts.len() + 1));
        for (value, count) in self.0.iter().flatten() {
            let text = value.to_string();
            out.length(text.len());
            out.bytes(text.as_bytes());
            out.whole(*count);
        }
        out.text()
    }

    /// `ty`: of the values.
    pub(super) fn read(text: &str, ty: Type) -> Result<Self, Damaged> {
        let mut from = Reader::new(text, VERSION)?;
        let counts = match from.length()? {
            0 => None,
            values => Some((1..values).map(|_| entry(&mut from, ty)).collect::<Result<_, _>>()?),
        };
        from.end()?;
        Ok(Self(counts))
    }
}

fn entry(from: &mut Reader, ty: Type) -> Result<(Value, u64), Damaged> {
    let length = from.length()?;
    let text = std::str::from_utf8(from.bytes(length)?).map_err(|_| Damaged("a text is not UTF-8"))?;
    let value = Value::parse(text, ty).map_err(|_| Damaged("a value has another type"))?;
    Ok((value, from.whole()?))
}
