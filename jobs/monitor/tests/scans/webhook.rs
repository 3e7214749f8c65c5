//! What a notifier talks to: answers as it is told, and remembers what it took.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    http::{HeaderMap, StatusCode},
    routing::any,
};
use serde_json::Value;
use tokio::net::TcpListener;

/// A running webhook.
#[derive(Clone, Debug, Default)]
pub(crate) struct Webhook {
    /// Where it listens.
    pub(crate) url: String,
    /// What it answers next, the last first; then it takes everything.
    refusals: Arc<Mutex<Vec<StatusCode>>>,
    asked: Arc<Mutex<Vec<String>>>,
    taken: Arc<Mutex<Vec<Value>>>,
}

impl Webhook {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let webhook =
            Self { url: format!("http://{}/hook", listener.local_addr().unwrap()), ..Self::default() };
        let answers = webhook.clone();
        let answer = async move |headers: HeaderMap, body: String| {
            answers.asked.lock().unwrap().push(headers["idempotency-key"].to_str().unwrap().to_owned());
            if let Some(refusal) = answers.refusals.lock().unwrap().pop() {
                return (refusal, [("location", "/elsewhere")]);
            }
            answers.taken.lock().unwrap().push(serde_json::from_str(&body).unwrap());
            (StatusCode::OK, [("location", "")])
        };
        let elsewhere = any(async || StatusCode::OK);
        let router = Router::new().route("/hook", any(answer)).route("/elsewhere", elsewhere);
        tokio::spawn(async move { axum::serve(listener, router).await });
        webhook
    }

    /// Answers so once each before it takes anything.
    pub(crate) fn refuse(&self, statuses: &[u16]) {
        let statuses = statuses.iter().rev().map(|status| StatusCode::from_u16(*status).unwrap());
        *self.refusals.lock().unwrap() = statuses.collect();
    }

    /// The idempotency key of every request.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// What it took.
    pub(crate) fn taken(&self) -> Vec<Value> {
        self.taken.lock().unwrap().clone()
    }
}
