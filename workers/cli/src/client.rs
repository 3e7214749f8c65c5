//! Calls to the control plane. JSON in, JSON out; what the server says of a failure is shown as it is.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use reqwest::{Method, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tidemill_core::Fault;

use crate::failure::{FAILED, Failure, TIMED_OUT, UNREACHABLE, USAGE};

/// A client of one server.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    /// Sent with every write.
    key: Option<String>,
    /// Whether each call is shown.
    verbose: bool,
}

/// A name as one segment of a path: `pipeline/train` is `pipeline%2Ftrain`.
pub(crate) fn segment(name: &str) -> String {
    let mut path = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~@".contains(&byte) {
            path.push(char::from(byte));
        } else {
            let _ = write!(path, "%{byte:02X}");
        }
    }
    path
}

/// How every server role of Tidemill reports a failure.
#[derive(Deserialize)]
struct ErrorBody {
    error: Fault,
}

impl Client {
    /// A client of the server at `base`, e.g. `http://127.0.0.1:7433`.
    pub(crate) fn new(base: &str, timeout: Option<Duration>) -> Result<Self, Failure> {
        let mut builder = reqwest::Client::builder().connect_timeout(Duration::from_secs(5));
        if let Some(timeout) = timeout {
            builder = builder.timeout(timeout);
        }
        let base = base.trim_end_matches('/').to_owned();
        if !base.starts_with("http://") && !base.starts_with("https://") {
            return Err(Failure::usage(
                format!("`{base}` is not the URL of a server"),
                "write http://HOST:PORT, e.g. --server http://127.0.0.1:7433",
            ));
        }
        Ok(Self { http: builder.build()?, base, key: None, verbose: false })
    }

    /// The same, sending an idempotency key with every write.
    pub(crate) fn keyed(&self, key: Option<&String>) -> Self {
        Self { key: key.cloned(), ..self.clone() }
    }

    /// The same, showing each call on standard error.
    pub(crate) fn verbose(self, verbose: bool) -> Self {
        Self { verbose, ..self }
    }

    /// Reads.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.send(self.request(Method::GET, path)).await
    }

    /// Reads with a query; empty values are left out.
    pub(crate) async fn query(&self, path: &str, query: &[(&str, Option<String>)]) -> Result<Value, Failure> {
        let given: Vec<_> = query.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))).collect();
        self.send(self.request(Method::GET, path).query(&given)).await
    }

    /// Reads the `items` of a list.
    pub(crate) async fn list(
        &self,
        path: &str,
        query: &[(&str, Option<String>)],
    ) -> Result<Vec<Value>, Failure> {
        match self.query(path, query).await?.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => Ok(items),
            _ => Err(Failure::new(FAILED, Fault::new(format!("{path} answered without `items`")))),
        }
    }

    /// Reads a page.
    pub(crate) async fn page(
        &self,
        path: &str,
        query: &[(&str, Option<String>)],
    ) -> Result<bytes::Bytes, Failure> {
        let given: Vec<_> = query.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))).collect();
        Ok(self.checked(self.request(Method::GET, path).query(&given)).await?.bytes().await?)
    }

    /// Asks for work.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// Sends rows: JSON, or a line of it each.
    pub(crate) async fn post_rows(&self, path: &str, rows: Vec<u8>) -> Result<Value, Failure> {
        let request = self.request(Method::POST, path);
        self.send(request.header(reqwest::header::CONTENT_TYPE, "application/x-ndjson").body(rows)).await
    }

    /// Sends bytes and gets bytes.
    pub(crate) async fn post_bytes(
        &self,
        path: &str,
        query: &[(&str, Option<String>)],
        body: Vec<u8>,
    ) -> Result<(bytes::Bytes, Option<Value>), Failure> {
        let request = self.request(Method::POST, path);
        let request = request.header(reqwest::header::CONTENT_TYPE, "application/octet-stream").body(body);
        self.reported(request, query).await
    }

    /// Sends a file as it is read.
    pub(crate) async fn post_file(&self, path: &str, file: tokio::fs::File) -> Result<Value, Failure> {
        let request = self.request(Method::POST, path);
        let request = request.header(reqwest::header::CONTENT_TYPE, "application/octet-stream");
        self.send(request.body(file)).await
    }

    /// Asks a question and gets bytes.
    pub(crate) async fn post_for_bytes(
        &self,
        path: &str,
        query: &[(&str, Option<String>)],
        body: &Value,
    ) -> Result<(bytes::Bytes, Option<Value>), Failure> {
        self.reported(self.request(Method::POST, path).json(body), query).await
    }

    /// Bytes with a report in a header.
    async fn reported(
        &self,
        request: RequestBuilder,
        query: &[(&str, Option<String>)],
    ) -> Result<(bytes::Bytes, Option<Value>), Failure> {
        let given: Vec<_> = query.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))).collect();
        let reply = self.checked(request.query(&given)).await?;
        let report = reply
            .headers()
            .get("tidemill-report")
            .and_then(|text| serde_json::from_slice(text.as_bytes()).ok());
        Ok((reply.bytes().await?, report))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let key = self.key.as_ref().filter(|_| method == Method::POST);
        let request = self.http.request(method, format!("{}{path}", self.base));
        match key {
            Some(key) => request.header("idempotency-key", key),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Value, Failure> {
        Ok(self.checked(request).await?.json().await?)
    }

    async fn checked(&self, request: RequestBuilder) -> Result<reqwest::Response, Failure> {
        let (http, request) = request.build_split();
        let request = request?;
        let (asked, started) = (format!("{} {}", request.method(), request.url()), Instant::now());
        let reply = http.execute(request).await.map_err(|error| self.unreachable(&error))?;
        let status = reply.status();
        if self.verbose {
            tidemill_telemetry::say!("{asked}  {status}  {:.0} ms", started.elapsed().as_secs_f64() * 1e3);
        }
        if status.is_success() {
            return Ok(reply);
        }
        let text = reply.text().await.unwrap_or_default();
        let fault = serde_json::from_str::<ErrorBody>(&text)
            .map_or_else(|_| Fault::new(format!("the server answered {status}: {text}")), |body| body.error);
        let exit = match status {
            StatusCode::BAD_REQUEST
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::UNPROCESSABLE_ENTITY => USAGE,
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => UNREACHABLE,
            _ => FAILED,
        };
        Err(Failure::new(exit, fault).said_by(&self.base))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        if error.is_timeout() {
            return Failure::new(
                TIMED_OUT,
                Fault::coded(103, format!("{} did not answer in time", self.base)),
            );
        }
        Failure::new(
            UNREACHABLE,
            Fault::coded(102, format!("no server answers at {}", self.base))
                .hint("start one with `tidemill dev`, or name it with --server"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_one_segment_whatever_they_hold() {
        assert_eq!(segment("late_flight@2"), "late_flight@2");
        assert_eq!(segment("pipeline/train"), "pipeline%2Ftrain");
        assert_eq!(segment("a b?é"), "a%20b%3F%C3%A9");
    }

    #[test]
    fn a_server_is_named_by_its_url() {
        assert!(Client::new("127.0.0.1:7433", None).is_err_and(|failure| failure.exit == USAGE));
        assert!(Client::new("http://127.0.0.1:7433/", None).is_ok());
    }
}
