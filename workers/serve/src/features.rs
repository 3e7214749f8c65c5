//! Latest values of entities, view by view: from Redis alone, by the code that predictions are hydrated with.

use indexmap::IndexMap;
use serde_json::{Map, Value as Json};
use tidemill_core::Time;
use tidemill_online::{LiveView, ViewFeatures};
use tidemill_rows::Row;
use tidemill_spec::{Hydration, HydrationRead, KeyOrigin, Value};
use tokio::time::{Instant, timeout_at};

use crate::{Error, hydrate::hydrate, predict::Predictor};

/// What to read.
#[derive(Debug)]
pub(crate) struct FeaturesAsk {
    /// `view` or `view:feature`; none at all: every online view whose keys the entities have.
    pub(crate) features: Vec<String>,
    /// Key columns of each entity. Those that a view doesn't have are left aside.
    pub(crate) entities: Vec<Map<String, Json>>,
    /// The caller's own deadline, where it set one.
    pub(crate) deadline: Option<Instant>,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct FeaturesAnswer {
    /// Each entity's views in the order asked, or why they can't be read.
    pub(crate) entities: Vec<Result<Vec<ViewFeatures>, Error>>,
    /// What the data clock showed.
    pub(crate) now: Time,
}

impl Predictor {
    /// Reads the newest values of some entities.
    pub(crate) async fn features(&self, ask: FeaturesAsk) -> Result<FeaturesAnswer, Error> {
        let own = Instant::now() + self.deadline;
        let deadline = ask.deadline.map_or(own, |callers| callers.min(own));
        let late = Err(Error::Inference(tidemill_inference::Error::Deadline));
        timeout_at(deadline, self.read(ask)).await.unwrap_or(late)
    }

    async fn read(&self, ask: FeaturesAsk) -> Result<FeaturesAnswer, Error> {
        let live = self.seen.borrow().live().cloned().ok_or(Error::NoLiveSet)?;
        self.check_entities(ask.entities.len())?;
        let wanted = wanted(&live.views, &ask)?;
        let keys: Vec<Row> = ask
            .entities
            .iter()
            .enumerate()
            .map(|(entity, given)| keys(&wanted, entity, given))
            .collect::<Result<_, _>>()?;
        let hydration = Hydration { rounds: vec![reads(&wanted)], ..Hydration::default() };
        let now = live.clock.at(self.clock.now());
        let limit = (now, self.deadline);
        let hydrated = hydrate(&self.online, &self.evaluator, &hydration, &live.views, &keys, limit).await?;
        self.count_views(&hydrated);
        let of_entity = |(entity, one): (usize, crate::hydrate::Hydrated)| match one.unreadable {
            Some(source) => Err(Error::Unreadable { entity, source }),
            None => Ok(one.views.into_iter().map(|found| pick(&wanted, found)).collect()),
        };
        Ok(FeaturesAnswer { entities: hydrated.into_iter().enumerate().map(of_entity).collect(), now })
    }
}

/// A view that is read, and which of its features are wanted; none named: all.
struct Wanted<'l> {
    view: &'l LiveView,
    features: Vec<String>,
}

fn wanted<'l>(
    views: &'l IndexMap<String, LiveView>,
    ask: &FeaturesAsk,
) -> Result<IndexMap<String, Wanted<'l>>, Error> {
    let mut wanted: IndexMap<String, Wanted<'l>> = IndexMap::new();
    if ask.features.is_empty() {
        let given = |view: &LiveView| {
            ask.entities.iter().all(|entity| view.view.keys().keys().all(|key| entity.contains_key(key)))
        };
        let all = views.iter().filter(|(_, view)| given(view));
        return Ok(all.map(|(name, view)| (name.clone(), Wanted { view, features: Vec::new() })).collect());
    }
    let whole: Vec<&str> =
        ask.features.iter().map(String::as_str).filter(|asked| !asked.contains(':')).collect();
    for asked in &ask.features {
        let (name, feature) = asked.split_once(':').map_or((asked.as_str(), None), |(v, f)| (v, Some(f)));
        let view = views.get(name).ok_or_else(|| Error::UnknownView {
            view: name.to_owned(),
            known: views.keys().cloned().collect(),
        })?;
        let of_view = wanted.entry(name.to_owned()).or_insert_with(|| Wanted { view, features: Vec::new() });
        let Some(feature) = feature else { continue };
        if !view.view.features().any(|(known, _)| known == feature) {
            let known = view.view.features().map(|(known, _)| known.to_owned()).collect();
            return Err(Error::UnknownFeature { view: name.to_owned(), feature: feature.to_owned(), known });
        }
        // A view's name alone stands for all its features.
        if !whole.contains(&name) {
            of_view.features.push(feature.to_owned());
        }
    }
    Ok(wanted)
}

/// The keys of every view, each under a name of its own: two views may type one name differently.
fn keys(
    wanted: &IndexMap<String, Wanted<'_>>,
    entity: usize,
    given: &Map<String, Json>,
) -> Result<Row, Error> {
    let mut row = Row::new();
    for (name, Wanted { view, .. }) in wanted {
        for (key, ty) in view.view.keys() {
            let json = given.get(key).filter(|json| !json.is_null()).ok_or_else(|| Error::MissingKey {
                entity,
                view: name.clone(),
                key: key.clone(),
            })?;
            let value = Value::from_json(json, *ty).map_err(|error| Error::WrongType {
                entity,
                column: key.clone(),
                problem: error.to_string(),
            })?;
            row.insert(own(name, key), value);
        }
    }
    Ok(row)
}

fn reads(wanted: &IndexMap<String, Wanted<'_>>) -> Vec<HydrationRead> {
    let read = |(name, Wanted { view, .. }): (&String, &Wanted<'_>)| HydrationRead {
        view: name.clone(),
        role: None,
        keys: view.view.keys().keys().map(|key| KeyOrigin::Request(own(name, key))).collect(),
        features: Vec::new(),
    };
    wanted.iter().map(read).collect()
}

fn own(view: &str, key: &str) -> String {
    format!("{view}/{key}")
}

fn pick(wanted: &IndexMap<String, Wanted<'_>>, mut found: ViewFeatures) -> ViewFeatures {
    if let Some(Wanted { features, .. }) = wanted.get(&found.view).filter(|of| !of.features.is_empty()) {
        found.values.retain(|name, _| features.contains(name));
        found.defaulted.retain(|name| features.contains(name));
    }
    found
}
