//! Job `notify`: delivers one incident to one webhook, with the incident's id as idempotency key.
//!
//! The secret is resolved here, where it is used, and never written: not in args, logs or messages. Where it may lead
//! is the operator's to say (`webhooks`).

use std::{net::SocketAddr, time::Duration};

use reqwest::Url;
use serde_json::{Value as Json, json};
use tidemill_catalog::{Catalog, Incident};
use tidemill_core::{AttemptPolicy, Fault, IncidentId, JobError, Kind, RetryPolicy};
use tidemill_registry::Deps;
use tidemill_runtime::{Context, Job, Outcome, job_new};
use tidemill_spec::args::{NOTIFY, Notify};
use tidemill_store::{NewJob, Tx};

use crate::{Error, Webhooks};

/// Longest a webhook may take to answer, real time.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// A receiver may be away for a day: some ten attempts in the first quarter of an hour, then one every ten minutes.
const RETRY: RetryPolicy = RetryPolicy::Exponential {
    first: Duration::from_secs(2),
    max_delay: Duration::from_mins(10),
    max_attempts: 200,
    max_elapsed: Some(Duration::from_hours(24)),
};

/// Delivers.
#[derive(Clone, Debug)]
pub(crate) struct NotifyJob {
    pub(crate) deps: Deps,
    pub(crate) webhooks: Webhooks,
}

impl Job for NotifyJob {
    type Args = Notify;
    type Checkpoint = ();
    const KIND: Kind = NOTIFY;

    fn policy(&self) -> AttemptPolicy {
        AttemptPolicy { retry: RETRY, ..AttemptPolicy::default() }
    }

    async fn run(&self, args: &Notify, cx: &mut Context<()>) -> Result<Outcome, JobError> {
        let catalog = &self.deps.catalog;
        if catalog.notified(args.incident, &args.notifier).await? {
            return Ok(Outcome::DONE);
        }
        let objects = catalog.objects().await?;
        let notifier = objects.notifiers.get(&args.notifier).ok_or_else(|| Error::Unknown {
            kind: "notifier",
            name: args.notifier.clone(),
            known: objects.notifiers.keys().cloned().collect(),
        })?;
        let missing = || Error::NoReference(format!("there is no incident {}", args.incident));
        let incident = catalog.incident(args.incident).await?.ok_or_else(missing)?;
        let url = self.webhooks.address(notifier)?;
        let sockets = self.webhooks.sockets(&url).await?;
        deliver(url, &sockets, &args.incident.to_string(), &body(catalog, &incident).await?).await?;
        let mut tx = cx.begin().await?;
        catalog.set_notified(&mut tx, args.incident, &args.notifier).await?;
        cx.commit(tx, json!({ "delivered": true })).await
    }
}

/// Writes down who has to be told of a new incident; the jobs that do it.
pub(crate) async fn notifications<'n>(
    catalog: &Catalog,
    tx: &mut Tx,
    incident: IncidentId,
    notifiers: impl IntoIterator<Item = &'n String>,
) -> Result<Vec<NewJob>, tidemill_catalog::Error> {
    let mut jobs = Vec::new();
    for notifier in notifiers {
        catalog.put_notification(tx, incident, notifier).await?;
        let key = Some(format!("{NOTIFY}/{incident}/{notifier}"));
        jobs.push(NewJob { key, ..job_new(NOTIFY, &Notify { incident, notifier: notifier.clone() }) });
    }
    Ok(jobs)
}

/// What a receiver gets: a line for people (`text`, which chat rooms show), the incident, and what the newest scan of it
/// found; nobody scans a model that doesn't answer.
async fn body(catalog: &Catalog, incident: &Incident) -> Result<Json, Error> {
    let mut scan = catalog.scan_of_incident(incident.id).await?.map(|scan| scan.body).unwrap_or_default();
    if let Some(fields) = scan.as_object_mut() {
        // Histograms belong to the report.
        fields.remove("columns");
    }
    let Incident { subject, from, to, summary, opened_at, .. } = incident;
    let when = match (from, to) {
        (Some(from), Some(to)) => format!("{} to {}", from.to_rfc3339(), to.to_rfc3339()),
        _ => format!("since {}", opened_at.to_rfc3339()),
    };
    Ok(json!({ "text": format!("{subject}: {summary} ({when})"), "incident": incident, "scan": scan }))
}

/// Posts a body; anything but success is an error. The address is a secret, so it is in no message.
async fn deliver(url: Url, sockets: &[SocketAddr], key: &str, body: &Json) -> Result<(), Error> {
    let failed = |error: reqwest::Error| {
        Error::Delivery(format!("webhook: {}", Fault::from_error(&error.without_url()).message))
    };
    let client = reqwest::Client::builder()
        .timeout(ANSWER_TIME_MAX)
        // A redirected POST would arrive as a GET without its body, and where nobody looked.
        .redirect(reqwest::redirect::Policy::none())
        // A proxy would resolve the name anew.
        .no_proxy()
        .resolve_to_addrs(url.host_str().unwrap_or_default(), sockets)
        .build()
        .map_err(failed)?;
    let answer = client.post(url).header("Idempotency-Key", key).json(body).send().await.map_err(failed)?;
    if answer.status().is_success() {
        return Ok(());
    }
    Err(Error::Delivery(format!("the webhook answered {}", answer.status())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_webhook_gets_the_key_and_must_answer_with_success() {
        use axum::{
            Router,
            http::{HeaderMap, StatusCode},
            routing::post,
        };
        let accept = async |headers: HeaderMap, body: String| {
            let known = headers["idempotency-key"] == "inc_1" && body.contains("\"incident\"");
            if known { StatusCode::NO_CONTENT } else { StatusCode::BAD_REQUEST }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = [listener.local_addr().unwrap()];
        let url: Url = format!("http://{}", socket[0]).parse().unwrap();
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/", post(accept))).await });
        let body = json!({ "incident": { "id": "inc_1" } });
        deliver(url.clone(), &socket, "inc_1", &body).await.unwrap();
        let error = deliver(url, &socket, "inc_2", &body).await.unwrap_err();
        assert_eq!(error.to_string(), "the webhook answered 400 Bad Request");
    }

    #[tokio::test]
    async fn an_https_webhook_is_greeted_by_tls_and_gets_nothing_in_clear() {
        use tokio::io::AsyncReadExt as _;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = listener.local_addr().unwrap();
        let first = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut record = [0; 3];
            stream.read_exact(&mut record).await.unwrap();
            record
        });
        let url: Url = format!("https://hooks.example:{}/secret", socket.port()).parse().unwrap();
        let error = deliver(url, &[socket], "inc_1", &json!({})).await.unwrap_err();
        // A handshake, of TLS 1.0 or newer.
        assert_eq!(first.await.unwrap()[..2], [0x16, 3]);
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
