//! From keys to what views say: stages of one pipelined read of Redis each, and expressions over what was read.
//!
//! A view that holds nothing is computed from its inputs, which may take their keys from one another and hold nothing
//! themselves. So what is asked is laid out in steps, each after those that it needs; a view that is needed twice by the same
//! keys is read once. Serving and `features get` both read this way.

use std::{collections::HashMap, time::Duration};

use indexmap::IndexMap;
use tidemill_core::Time;
use tidemill_expressions::{Evaluator, batch};
use tidemill_rows::{Row, value_at};
use tidemill_spec::{HydrationRead, KeyOrigin, Value};

use crate::{
    client::{Online, Read},
    error::Error,
    live::{LiveInput, LiveView},
    values::{Status, ViewFeatures, freshness, values},
    view::OnlineView,
};

/// What was found of one entity.
#[derive(Debug, Default)]
pub struct Hydrated {
    /// What each read found, in their order. None where it is not known.
    pub views: Vec<Option<ViewFeatures>>,
    /// Why not all of that is known: Redis holds bytes for it that can't be read.
    pub unreadable: Option<Error>,
}

/// Where a key comes from.
#[derive(Clone, Debug, PartialEq)]
enum Origin<'v> {
    /// What was asked with.
    Given(&'v str),
    /// A feature that an earlier step finds.
    Found(usize, &'v str),
}

/// A view to read or to compute.
struct Step<'v> {
    view: &'v LiveView,
    keys: Vec<Origin<'v>>,
    /// Of a view that is computed: the steps that find its inputs.
    inputs: Vec<(usize, &'v HydrationRead)>,
    /// When: what is read in one stage travels together.
    stage: usize,
}

/// Steps in an order in which each comes after those that it needs.
#[derive(Default)]
struct Steps<'v>(Vec<Step<'v>>);

impl<'v> Steps<'v> {
    /// The step that finds what a view says of the entities with these keys.
    fn add(&mut self, view: &'v LiveView, keys: Vec<Origin<'v>>) -> Result<usize, Error> {
        let name = |view: &'v LiveView| (view.view.name(), view.view.version());
        if let Some(place) = self.0.iter().position(|step| name(step.view) == name(view) && step.keys == keys)
        {
            return Ok(place);
        }
        let mut inputs: Vec<(usize, &'v HydrationRead)> = Vec::new();
        for LiveInput { read, view: input } in &view.inputs {
            let own = |key: &str| Some(keys.get(view.view.keys().get_index_of(key)?)?.clone());
            let place = self.add(input, origins(read, own, &inputs)?)?;
            inputs.push((place, read));
        }
        if view.view.derived() && inputs.is_empty() {
            return Err(Error::NotOnline { view: view.view.name().to_owned() });
        }
        let of_inputs = inputs.iter().map(|(place, _)| self.0[*place].stage);
        let of_keys = keys.iter().filter_map(|origin| match origin {
            Origin::Given(_) => None,
            Origin::Found(place, _) => Some(self.0[*place].stage + 1),
        });
        let stage = of_inputs.chain(of_keys).max().unwrap_or(0);
        self.0.push(Step { view, keys, inputs, stage });
        Ok(self.0.len() - 1)
    }
}

/// Where the keys of a read come from. `own`: of its reader; `read`: reads before it, and their steps.
fn origins<'v>(
    of: &'v HydrationRead,
    own: impl Fn(&'v str) -> Option<Origin<'v>>,
    before: &[(usize, &'v HydrationRead)],
) -> Result<Vec<Origin<'v>>, Error> {
    let origin = |origin: &'v KeyOrigin| match origin {
        KeyOrigin::Request(name) => own(name),
        KeyOrigin::Feature { view, feature } => {
            let (place, _) = before.iter().find(|(_, read)| read.name() == view)?;
            Some(Origin::Found(*place, feature.as_str()))
        }
    };
    let keys: Option<Vec<_>> = of.keys.iter().map(origin).collect();
    keys.ok_or_else(|| Error::NotOnline { view: of.view.clone() })
}

impl Online {
    /// What each read finds for some entities as of the data clock's `now`; `views`: what reads may name, `given`: what each
    /// entity is asked with. A value that can't be read costs its own entity only.
    ///
    /// # Errors
    /// A view that is not online, one whose values Redis has lost, or expressions that take longer than `limit`.
    pub async fn hydrate(
        &self,
        evaluator: &Evaluator,
        reads: &[&HydrationRead],
        views: &IndexMap<String, LiveView>,
        given: &[Row],
        (now, limit): (Time, Duration),
    ) -> Result<Vec<Hydrated>, Error> {
        let (mut steps, mut asked) = (Steps::default(), Vec::new());
        for read in reads {
            let view = views.get(&read.view).ok_or_else(|| Error::NotOnline { view: read.view.clone() })?;
            let place = steps.add(view, origins(read, |name| Some(Origin::Given(name)), &asked)?)?;
            asked.push((place, *read));
        }
        let mut hydration = Hydration {
            found: given.iter().map(|_| steps.0.iter().map(|_| None).collect()).collect(),
            unreadable: HashMap::new(),
            given,
            now,
        };
        let stages = steps.0.iter().map(|step| step.stage + 1).max().unwrap_or(0);
        for stage in 0..stages {
            let of_stage = (0..).zip(&steps.0).filter(|(_, step)| step.stage == stage);
            let (derived, stored): (Vec<_>, Vec<_>) =
                of_stage.partition(|(_, step)| step.view.view.derived());
            hydration.read(self, &stored).await?;
            for (place, step) in derived {
                hydration.compute(evaluator, place, step, limit).await?;
            }
        }
        Ok(hydration.of_reads(&asked))
    }
}

/// What is known of some entities so far.
struct Hydration<'g> {
    /// For each entity what each step found.
    found: Vec<Vec<Option<ViewFeatures>>>,
    unreadable: HashMap<usize, Error>,
    given: &'g [Row],
    now: Time,
}

impl Hydration<'_> {
    /// One round trip for all entities.
    async fn read(&mut self, online: &Online, steps: &[(usize, &Step<'_>)]) -> Result<(), Error> {
        let entities = 0..self.given.len();
        let keys: Vec<Vec<Value>> = entities
            .clone()
            .flat_map(|entity| steps.iter().map(move |(_, step)| (entity, step)))
            .map(|(entity, step)| self.keys(entity, step))
            .collect();
        let of_entities = entities.flat_map(|_| steps.iter());
        let reads: Vec<Read<'_>> =
            of_entities.zip(&keys).map(|((_, step), key)| Read { view: &step.view.view, key }).collect();
        let bytes = online.read(&reads).await?;
        let filled = steps.iter().map(|(_, step)| step.view.filled).cycle();
        check_not_lost(online, reads.iter().zip(filled), &bytes).await?;
        let mut bytes = bytes.into_iter();
        for entity in 0..self.given.len() {
            for (place, step) in steps {
                let bytes = bytes.next().flatten();
                match values(&step.view.view, bytes.as_deref(), self.now) {
                    // What the key would have come from is not known: nothing was found only for want of it.
                    _ if self.unreadable.contains_key(&entity) => {}
                    Ok(features) => self.found[entity][*place] = Some(features),
                    Err(error) => drop(self.unreadable.insert(entity, error)),
                }
            }
        }
        Ok(())
    }

    /// A step's key for an entity. A null in it finds nothing.
    fn keys(&self, entity: usize, step: &Step<'_>) -> Vec<Value> {
        let value = |origin: &Origin<'_>| match origin {
            Origin::Given(name) => self.given[entity].get(*name).cloned(),
            Origin::Found(place, feature) => {
                self.found[entity][*place].as_ref().and_then(|found| found.values.get(*feature)).cloned()
            }
        };
        step.keys.iter().map(|origin| value(origin).unwrap_or(Value::Null)).collect()
    }

    /// One evaluation for all entities.
    async fn compute(
        &mut self,
        evaluator: &Evaluator,
        place: usize,
        step: &Step<'_>,
        limit: Duration,
    ) -> Result<(), Error> {
        let known: Vec<usize> =
            (0..self.given.len()).filter(|entity| !self.unreadable.contains_key(entity)).collect();
        let view = &step.view.view;
        let failed = |source| Error::Expressions { view: view.name().to_owned(), source };
        let rows: Vec<Row> = known.iter().map(|entity| self.row(*entity, step)).collect();
        let rows = batch(step.view.expressions(), rows.iter()).map_err(|error| failed(error.into()))?;
        let computed = evaluator.evaluate(step.view.expressions(), &rows, limit).await.map_err(failed)?;
        for (row, entity) in known.into_iter().enumerate() {
            let inputs: Vec<&ViewFeatures> =
                step.inputs.iter().filter_map(|(input, _)| self.found[entity][*input].as_ref()).collect();
            let mut features = of_inputs(view, &inputs, self.now);
            for (column, (name, feature)) in view.features().enumerate() {
                let value = match (value_at(computed.column(column), row), &feature.default) {
                    (Value::Null, Some(default)) => {
                        features.defaulted.push(name.to_owned());
                        default.clone()
                    }
                    (value, _) => value,
                };
                features.values.insert(name.to_owned(), value);
            }
            self.found[entity][place] = Some(features);
        }
        Ok(())
    }

    /// The row that a step's expressions are about: its keys and what its inputs say.
    fn row(&self, entity: usize, step: &Step<'_>) -> Row {
        let mut row: Row = step.view.view.keys().keys().cloned().zip(self.keys(entity, step)).collect();
        for (input, read) in &step.inputs {
            let found = self.found[entity][*input].iter().flat_map(|found| &found.values);
            row.extend(found.map(|(name, value)| (read.column(name), value.clone())));
        }
        row
    }

    fn of_reads(mut self, asked: &[(usize, &HydrationRead)]) -> Vec<Hydrated> {
        let of_entity = |(entity, found): (usize, Vec<Option<ViewFeatures>>)| Hydrated {
            views: asked.iter().map(|(place, _)| found[*place].clone()).collect(),
            unreadable: self.unreadable.remove(&entity),
        };
        self.found.into_iter().enumerate().map(of_entity).collect()
    }
}

/// How far a computed view may be relied on: as far as the oldest of its inputs. No features yet.
fn of_inputs(view: &OnlineView, inputs: &[&ViewFeatures], now: Time) -> ViewFeatures {
    let found = |input: &&&ViewFeatures| matches!(input.status, Status::Fresh | Status::Stale);
    let oldest = inputs.iter().filter(found).filter_map(|input| input.valid_at).min();
    let expired = inputs.iter().filter_map(|input| input.valid_at).min();
    let status = match oldest {
        Some(_) if inputs.iter().any(|input| input.status == Status::Stale) => Status::Stale,
        Some(valid_at) => freshness(view, valid_at, now),
        None if expired.is_some() => Status::Expired,
        None => Status::Absent,
    };
    ViewFeatures {
        view: view.name().to_owned(),
        version: view.version(),
        status,
        valid_at: oldest.or(expired),
        values: IndexMap::new(),
        defaulted: Vec::new(),
    }
}

/// An entity without a value is unknown, unless Redis has lost the values of the view there: then nothing is known of it.
/// `reads`: with whether the view has been filled. Costs a round trip only where a value is absent.
async fn check_not_lost<'v>(
    online: &Online,
    reads: impl Iterator<Item = (&'v Read<'v>, bool)>,
    bytes: &[Option<Vec<u8>>],
) -> Result<(), Error> {
    let absent = reads.zip(bytes).filter(|((_, filled), bytes)| *filled && bytes.is_none());
    let suspects: Vec<Read<'v>> = absent.map(|((read, _), _)| *read).collect();
    match online.first_lost(&suspects).await? {
        Some(view) => Err(Error::ValuesLost { view: view.name().to_owned(), version: view.version() }),
        None => Ok(()),
    }
}
