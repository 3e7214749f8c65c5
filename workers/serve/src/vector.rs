//! A prediction of vectors that the caller gives whole: no keys, no Redis.

use tidemill_core::RequestId;
use tidemill_inference::Outputs;
use tidemill_rows::Row;
use tokio::time::{Instant, timeout_at};

use crate::{
    Error,
    failure::told,
    predict::{Predictor, code_of, complete, predicted, usable},
    warm::Loaded,
};

impl Predictor {
    /// What a version says of vectors that have its columns by name. Counted and limited as hydrated predictions are; a row
    /// that has no answer fails the request.
    pub(crate) async fn predict_vectors(
        &self,
        loaded: &Loaded,
        vectors: &[Row],
        deadline: Option<Instant>,
    ) -> Result<Vec<Outputs>, Error> {
        let started = Instant::now();
        let own = started + self.deadline;
        let deadline = deadline.map_or(own, |callers| callers.min(own));
        let request = RequestId::generate();
        let late = Err(Error::Inference(tidemill_inference::Error::Deadline));
        let answer = timeout_at(deadline, answer(loaded, vectors, deadline, request)).await.unwrap_or(late);
        let answer = answer.map_err(|error| told(error, loaded, request));
        let code = answer.as_ref().err().map_or_else(|| "ok".to_owned(), code_of);
        self.metrics.request(&loaded.model, loaded.version, vectors.len(), started.elapsed(), &code);
        answer
    }
}

async fn answer(
    loaded: &Loaded,
    vectors: &[Row],
    deadline: Instant,
    request: RequestId,
) -> Result<Vec<Outputs>, Error> {
    if loaded.live.fail_on_missing {
        for (entity, vector) in vectors.iter().enumerate() {
            complete(entity, vector, &loaded.live)?;
        }
    }
    let known: Vec<Result<(), Error>> = vectors.iter().map(|_| Ok(())).collect();
    let outputs = predicted(vectors, &known, loaded, deadline).await?;
    let usable = |(entity, outputs)| usable(outputs, entity, loaded, request);
    outputs.into_iter().enumerate().map(usable).collect()
}
