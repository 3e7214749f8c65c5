//! The live set: what serving tiers need beside values. Assembled by `live`, published to Redis as a whole.
//!
//! One hash: the order of its publication, the data clock, the aliases, and a document for each model version that
//! holds all that the version needs. A document that can't be read costs its own version only. The publisher draws the
//! order from Postgres *before* it reads what to publish; so the last one to publish has read everything, whatever the
//! races.

use std::{collections::HashMap, sync::Arc};

use indexmap::IndexMap;
use redis::Cmd;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tidemill_core::DataClock;
use tidemill_expressions::Expressions;
use tidemill_spec::{Hydration, HydrationRead, OutputType, PredictionLog, Type};

use crate::{client::Online, error::Error, split::LiveSplit, view::OnlineView};

const ORDER: &str = "order";
const CLOCK: &str = "clock";
const ALIASES: &str = "aliases";
const SPLITS: &str = "splits";
const VIEWS: &str = "views";
const LOGS: &str = "logs";
/// What the fields of versions begin with: `version/late/3`.
const VERSION: &str = "version/";

/// Everything that is live.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LiveSet {
    /// Answers "now".
    pub clock: DataClock,
    /// Models that can be asked.
    pub models: LiveModels,
    /// The version of each view whose values are read by default, where some are online.
    pub views: IndexMap<String, LiveView>,
}

/// Models by name.
pub type LiveModels = IndexMap<String, LiveModel>;

/// One model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LiveModel {
    /// Aliases, e.g. `champion`.
    pub aliases: IndexMap<String, u32>,
    /// Aliases that a rollout is under way for.
    pub splits: IndexMap<String, LiveSplit>,
    /// Versions that an alias names, or that may be asked for by number.
    pub versions: IndexMap<u32, LiveVersion>,
    /// What is logged of its predictions, as it is declared now.
    pub log: Arc<PredictionLog>,
}

/// All that serving needs of a version, or why it can't be served.
pub type LiveVersion = Result<Arc<LiveModelVersion>, String>;

/// One version of a model, as it was registered, with the views that it reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LiveModelVersion {
    /// Path of its folder in the artifact store.
    pub artifact: String,
    /// The project's code that it is loaded with; `None` if it needs none.
    pub code: Option<LiveCode>,
    /// Its flavor.
    pub runtime: String,
    /// Key columns of its entity, in declared order.
    pub keys: IndexMap<String, Type>,
    /// How a key becomes a vector.
    pub hydration: Hydration,
    /// The version of each view that it was trained on and reads.
    pub views: IndexMap<String, LiveView>,
    /// Columns that only the caller knows; they follow the hydrated ones.
    pub request: IndexMap<String, Type>,
    /// Those of them that may be null; none in versions of before, in which all or none may, as `fail_on_missing` says.
    #[serde(default)]
    pub nullable: Option<Vec<String>>,
    /// Named, typed outputs.
    pub outputs: IndexMap<String, OutputType>,
    /// Whether a null in the vector is an error.
    pub fail_on_missing: bool,
    /// Warm Python processes, however little is asked; 0: none while nothing is asked.
    pub processes: u32,
    /// Most of them, as load needs; none: always as many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes_max: Option<u32>,
}

/// The project's code at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveCode {
    /// Path of its archive in the artifact store.
    pub path: String,
    /// SHA-256 of the archive, in hex.
    pub hash: String,
}

/// One version of a view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "PublishedView")]
pub struct LiveView {
    /// How it is read.
    pub view: OnlineView,
    /// Whether its values have been written: a Redis without its marker has lost them. Never of a view that holds nothing.
    pub filled: bool,
    /// What it is computed from whenever it is asked, each after what gives its keys; none for a view that holds values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<LiveInput>,
    #[serde(skip)]
    expressions: Arc<Expressions>,
}

/// A version of a view that another is computed from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LiveInput {
    /// As what it is read, by which keys. `Request` names a key of the reader's entity.
    pub read: HydrationRead,
    /// The version.
    pub view: LiveView,
}

/// What is published of a view; its compiled expressions are derived.
#[derive(Deserialize)]
struct PublishedView {
    view: OnlineView,
    filled: bool,
    #[serde(default)]
    inputs: Vec<LiveInput>,
}

impl From<PublishedView> for LiveView {
    fn from(PublishedView { view, filled, inputs }: PublishedView) -> Self {
        Self::new(view, filled, inputs)
    }
}

impl LiveView {
    /// A version, whether it has been filled, and what it is computed from.
    pub fn new(view: OnlineView, filled: bool, inputs: Vec<LiveInput>) -> Self {
        let mut row = view.keys().clone();
        for LiveInput { read, view } in &inputs {
            row.extend(view.view.features().map(|(name, feature)| (read.column(name), feature.ty)));
        }
        let online = view.definition().features.iter();
        let online = online.filter(|(name, _)| view.features().any(|(online, _)| online == *name));
        let expressions =
            if view.derived() { Expressions::new(&row, online) } else { Expressions::default() };
        Self { view, filled, inputs, expressions: Arc::new(expressions) }
    }

    /// What computes its features from its keys and its inputs' features.
    pub(crate) fn expressions(&self) -> &Arc<Expressions> {
        &self.expressions
    }

    /// The views in Redis that its values follow from: itself, unless it holds nothing.
    pub fn stored(&self) -> Vec<&Self> {
        if !self.view.derived() {
            return vec![self];
        }
        self.inputs.iter().flat_map(|input| input.view.stored()).collect()
    }
}

impl Online {
    /// Publishes the live set in one step; false if a later publication is already there.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn publish(&self, order: i64, live: &LiveSet) -> Result<bool, Error> {
        let mut call = redis::cmd("FCALL");
        call.arg("tidemill_publish_4").arg(1).arg(self.live_key()).arg(order);
        for (field, content) in fields(live)? {
            call.arg(field).arg(content);
        }
        Ok(self.call(&[call]).await? == [1])
    }

    /// Whether this is what is published; false too if nothing is, or if Redis lost it.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn publishes(&self, live: &LiveSet) -> Result<bool, Error> {
        let mut published: HashMap<String, String> =
            self.connection.ask(&Cmd::hgetall(self.live_key())).await?;
        Ok(published.remove(ORDER).is_some() && published == fields(live)?)
    }

    /// What is live; `None` if nothing was ever published, or Redis lost it.
    ///
    /// # Errors
    /// [`Error::Unavailable`], or [`Error::InvalidLiveSet`] for a clock or aliases of another release. A version that
    /// can't be read is one that can't be served.
    pub async fn live(&self) -> Result<Option<LiveSet>, Error> {
        Ok(self.live_and_order().await?.map(|(_, live)| live))
    }

    /// The order of what is published; `None` if nothing is.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn live_order(&self) -> Result<Option<i64>, Error> {
        Ok(self.connection.ask(&Cmd::hget(self.live_key(), ORDER)).await?)
    }

    /// The live set and the order of its publication, from one moment.
    pub(crate) async fn live_and_order(&self) -> Result<Option<(i64, LiveSet)>, Error> {
        let fields: HashMap<String, String> = self.connection.ask(&Cmd::hgetall(self.live_key())).await?;
        let Some(order) = fields.get(ORDER).and_then(|order| order.parse().ok()) else { return Ok(None) };
        let aliases: IndexMap<String, IndexMap<String, u32>> = part(ALIASES, &fields)?;
        let mut splits: IndexMap<String, IndexMap<String, LiveSplit>> = part(SPLITS, &fields)?;
        let mut logs: IndexMap<String, Arc<PredictionLog>> = part(LOGS, &fields)?;
        let mut models: LiveModels = aliases
            .into_iter()
            .map(|(name, aliases)| {
                let splits = splits.swap_remove(&name).unwrap_or_default();
                // Who doesn't say what is masked asked for no log.
                let log = logs.swap_remove(&name).unwrap_or_else(|| Arc::new(PredictionLog::off()));
                (name, LiveModel { aliases, splits, versions: IndexMap::new(), log })
            })
            .collect();
        for (field, text) in &fields {
            let Some((model, number)) = field.strip_prefix(VERSION).and_then(|name| name.rsplit_once('/'))
            else {
                continue;
            };
            if let (Some(model), Ok(number)) = (models.get_mut(model), number.parse()) {
                model.versions.insert(number, version(text));
            }
        }
        for model in models.values_mut() {
            // A hash has no order: newest first, as they are published.
            model.versions.sort_by(|a, _, b, _| b.cmp(a));
        }
        Ok(Some((order, LiveSet { clock: part(CLOCK, &fields)?, models, views: part(VIEWS, &fields)? })))
    }

    /// The field names its form: a release that writes another one has a key of its own.
    pub(crate) fn live_key(&self) -> String {
        format!("{}:live:3", self.prefix)
    }
}

/// What is written of it beside the order.
fn fields(live: &LiveSet) -> Result<HashMap<String, String>, Error> {
    let aliases: IndexMap<_, _> = live.models.iter().map(|(name, model)| (name, &model.aliases)).collect();
    let logs: IndexMap<_, _> = live.models.iter().map(|(name, model)| (name, &model.log)).collect();
    let split = live.models.iter().filter(|(_, model)| !model.splits.is_empty());
    let splits: IndexMap<_, _> = split.map(|(name, model)| (name, &model.splits)).collect();
    let mut fields = HashMap::from([
        (LOGS.to_owned(), json(LOGS, &logs)?),
        (CLOCK.to_owned(), json(CLOCK, &live.clock)?),
        (ALIASES.to_owned(), json(ALIASES, &aliases)?),
        (SPLITS.to_owned(), json(SPLITS, &splits)?),
        (VIEWS.to_owned(), json(VIEWS, &live.views)?),
    ]);
    for (name, model) in &live.models {
        for (number, version) in &model.versions {
            fields.insert(format!("{VERSION}{name}/{number}"), json("versions", version)?);
        }
    }
    Ok(fields)
}

fn version(text: &str) -> LiveVersion {
    serde_json::from_str(text)
        .unwrap_or_else(|error| Err(format!("its entry in the live set can't be read: {error}")))
}

fn json(part: &'static str, content: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(content).map_err(|source| Error::InvalidLiveSet { part, source })
}

fn part<T: DeserializeOwned + Default>(
    part: &'static str,
    fields: &HashMap<String, String>,
) -> Result<T, Error> {
    fields
        .get(part)
        .map_or_else(|| Ok(T::default()), |json| serde_json::from_str(json))
        .map_err(|source| Error::InvalidLiveSet { part, source })
}
