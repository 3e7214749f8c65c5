//! A gateway's part in the streams: a reader for each source that declares one.

use std::{collections::HashMap, time::Duration};

use tidemill_catalog::{Catalog, Reader as Identity};
use tidemill_ingest::Ingest;
use tidemill_runtime::{Adopter, JobEntry};
use tidemill_spec::Stream;
use tokio::{
    task::{AbortHandle, JoinSet},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    BatchJob, KafkaOptions,
    held::Held,
    reader::{LEASE, Reader},
};

/// How often it is looked which streams are declared.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Reads every declared stream, beside other gateways that do.
#[derive(Clone, Debug)]
pub struct Streams {
    ingest: Ingest,
    catalog: Catalog,
    options: KafkaOptions,
    held: Held,
    name: String,
}

/// A stream that is being read, as it was declared.
struct Reading {
    stream: Stream,
    stop: CancellationToken,
    task: AbortHandle,
}

impl Streams {
    /// Puts together what it needs; `name` is the process, for people.
    pub fn new(ingest: Ingest, catalog: Catalog, options: KafkaOptions, name: String) -> Self {
        Self { ingest, catalog, options, held: Held::default(), name }
    }

    /// The jobs that bring batches into the lake; to be run beside [`Self::run`].
    pub fn jobs(&self) -> Vec<JobEntry> {
        let job =
            BatchJob::new(self.ingest.clone(), self.catalog.clone(), self.options.clone(), self.held.clone());
        vec![JobEntry::new(job)]
    }

    /// Reads until `shutdown`, and gives the batches to the worker that runs [`Self::jobs`]. What is declared anew is read anew,
    /// what no longer is, no more.
    pub async fn run(self, adopter: Adopter, shutdown: CancellationToken) {
        let (mut readers, mut reading) = (JoinSet::new(), HashMap::<String, Reading>::new());
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(looks.tick()).await.is_some() {
            while readers.try_join_next().is_some() {}
            let declared = match self.declared().await {
                Ok(declared) => declared,
                Err(error) => {
                    tracing::debug!(%error, "declared streams could not be looked at");
                    continue;
                }
            };
            reading.retain(|source, it| {
                // One that has panicked is begun anew.
                let stays = declared.get(source) == Some(&it.stream) && !it.task.is_finished();
                if !stays {
                    it.stop.cancel();
                }
                stays
            });
            for (source, stream) in declared {
                if reading.contains_key(&source) {
                    continue;
                }
                let stop = shutdown.child_token();
                let task = readers.spawn(self.reader(&adopter, &source, &stream).run(stop.clone()));
                reading.insert(source, Reading { stream, stop, task });
            }
        }
        while readers.join_next().await.is_some() {}
    }

    async fn declared(&self) -> Result<HashMap<String, Stream>, tidemill_catalog::Error> {
        let sources = self.catalog.objects().await?.sources;
        Ok(sources.into_iter().filter_map(|(name, source)| Some((name, source.stream?))).collect())
    }

    fn reader(&self, adopter: &Adopter, source: &str, stream: &Stream) -> Reader {
        Reader {
            catalog: self.catalog.clone(),
            options: self.options.clone(),
            held: self.held.clone(),
            adopter: adopter.clone(),
            source: source.to_owned(),
            stream: stream.clone(),
            identity: Identity { id: Uuid::now_v7(), name: self.name.clone(), lease: LEASE },
        }
    }
}
