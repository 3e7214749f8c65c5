//! A caller's deadline (`grpc-timeout`), kept by every service alike.
//!
//! Tonic's own layer answers CANCELLED, without a reason. This one ends a call a little earlier with
//! DEADLINE_EXCEEDED and [`Reason`], while the caller still listens.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, timeout_at};
use tonic::{
    Code,
    body::Body,
    codegen::{
        Service,
        http::{HeaderMap, Request, Response},
    },
};
use tower::Layer;

use crate::Reason;

/// What is kept of the time for the answer's way back: a twentieth, at most this.
const WAY_BACK_MAX: Duration = Duration::from_millis(50);

/// When a call must be answered. Services find it among a request's extensions, if its caller set a deadline.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(pub Instant);

/// Ends each call at its caller's deadline; a streamed reply that has begun goes on.
#[derive(Clone, Copy, Debug)]
pub struct DeadlineLayer;

impl<S> Layer<S> for DeadlineLayer {
    type Service = Punctual<S>;

    fn layer(&self, inner: S) -> Punctual<S> {
        Punctual { inner }
    }
}

/// A service under a [`DeadlineLayer`].
#[derive(Clone, Debug)]
pub struct Punctual<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for Punctual<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Some(timeout) = timeout_of(request.headers()) else {
            return Box::pin(self.inner.call(request));
        };
        let deadline = Instant::now() + timeout - (timeout / 20).min(WAY_BACK_MAX);
        request.extensions_mut().insert(Deadline(deadline));
        let answer = timeout_at(deadline, self.inner.call(request));
        Box::pin(async move { answer.await.unwrap_or_else(|_| Ok(late())) })
    }
}

fn late() -> Response<Body> {
    let reason =
        Reason { code: "TM0824".to_owned(), message: "the deadline passed".to_owned(), ..Reason::default() };
    reason.status(Code::DeadlineExceeded).into_http()
}

/// At most eight digits and a unit; anything else is no deadline, as with other servers.
fn timeout_of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use tonic::Status;
    use tower::service_fn;

    use super::*;

    fn asked(timeout: &str) -> Request<Body> {
        let request = Request::builder();
        let request = if timeout.is_empty() { request } else { request.header("grpc-timeout", timeout) };
        request.body(Body::empty()).unwrap()
    }

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        let of = |text: &str| timeout_of(asked(text).headers());
        assert_eq!(of("2S"), Some(Duration::from_secs(2)));
        assert_eq!(of("1500m"), Some(Duration::from_millis(1500)));
        assert_eq!(of("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for none in ["", "S", "-1S", "+1S", "123456789m", "12", "5x", "1.5S"] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[tokio::test]
    async fn a_late_call_is_told_why_and_a_quick_one_isn_t_touched() {
        fn told(request: &Request<Body>) -> bool {
            request.extensions().get::<Deadline>().is_some()
        }
        let mut never = DeadlineLayer.layer(service_fn(async |request: Request<Body>| {
            assert!(told(&request));
            std::future::pending::<Result<Response<Body>, Status>>().await
        }));
        let reply = never.call(asked("50m")).await.unwrap();
        let status = Status::from_header_map(reply.headers()).unwrap();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(Reason::of(&status).unwrap().code, "TM0824");

        let mut quick = DeadlineLayer.layer(service_fn(async |request: Request<Body>| {
            assert_eq!(told(&request), request.headers().contains_key("grpc-timeout"));
            Ok::<_, Status>(Response::new(Body::empty()))
        }));
        for unhurried in ["2S", ""] {
            let reply = quick.call(asked(unhurried)).await.unwrap();
            assert!(Status::from_header_map(reply.headers()).is_none());
        }
    }
}
