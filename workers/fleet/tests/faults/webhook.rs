//! What a notifier talks to: remembers which deliveries it was given, by their idempotency key.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{Router, http::HeaderMap, routing::post};
use tokio::net::TcpListener;

/// A running webhook.
#[derive(Clone, Debug)]
pub(crate) struct Webhook {
    /// Where it listens.
    pub(crate) url: String,
    delivered: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Webhook {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/", listener.local_addr()?);
        let delivered = Arc::<Mutex<BTreeMap<String, String>>>::default();
        let taken = Arc::clone(&delivered);
        let take = async move |headers: HeaderMap, body: String| {
            let key = headers.get("idempotency-key").map(|key| key.to_str().unwrap().to_owned());
            taken.lock().unwrap().insert(key.unwrap_or_default(), body);
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/", post(take))).await });
        Ok(Self { url, delivered })
    }

    /// Forgets what was delivered so far.
    pub(crate) fn clear(&self) {
        self.delivered.lock().unwrap().clear();
    }

    /// What a receiver that knows idempotency keys has seen.
    pub(crate) fn delivered(&self) -> Vec<String> {
        self.delivered.lock().unwrap().iter().map(|(key, body)| format!("{key} {body}")).collect()
    }
}
