//! Counts requests by RPC and code, and how long they take: a layer around both services.
//!
//! Around them, so that it sees what never reaches a function of ours: what is not built, not decoded, not known, or left by
//! its caller. A label is the name of an RPC of the contract or [`UNKNOWN`], whatever a client sends.

use crate::schema;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use prometheus::core::Collector;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tonic::Code;
use tower::{Layer, Service};

/// Label of every path that is no RPC.
const UNKNOWN: &str = "unknown";

/// From what a version takes to what a kubelet waits for, seconds.
const BUCKETS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0];

/// What is counted of requests. Cheap to clone: all clones count together.
#[derive(Clone, Debug)]
pub struct RequestMetrics {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Name of each RPC by its path, such as `/runtime.v1.RuntimeService/Version`.
    names: HashMap<String, String>,
    total: IntCounterVec,
    seconds: HistogramVec,
    in_flight: IntGaugeVec,
}

// === impl RequestMetrics ===

impl RequestMetrics {
    /// Begins at zero.
    #[must_use]
    pub fn new() -> Self {
        let rules = "the names keep to the rules";
        let total = Opts::new("orlop_cri_requests_total", "Requests answered or left, by RPC and gRPC code.");
        let seconds = HistogramOpts::new(
            "orlop_cri_request_duration_seconds",
            "Time from a request's arrival to the end of its answer, by RPC.",
        );
        let in_flight = Opts::new("orlop_cri_requests_in_flight", "Requests under way, by RPC.");
        let shared = Shared {
            names: schema::rpc_names(),
            total: IntCounterVec::new(total, &["method", "code"]).expect(rules),
            seconds: HistogramVec::new(seconds.buckets(BUCKETS.to_vec()), &["method"]).expect(rules),
            in_flight: IntGaugeVec::new(in_flight, &["method"]).expect(rules),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Returns what is counted, for a Prometheus endpoint.
    #[must_use]
    pub fn collectors(&self) -> Vec<Box<dyn Collector>> {
        let Shared { names: _, total, seconds, in_flight } = &*self.shared;
        vec![Box::new(total.clone()), Box::new(seconds.clone()), Box::new(in_flight.clone())]
    }

    fn begin(&self, path: &str) -> UnderWay {
        let method = self.shared.names.get(path).map_or(UNKNOWN, String::as_str).to_owned();
        let in_flight = self.shared.in_flight.with_label_values(&[&method]);
        in_flight.inc();
        UnderWay { shared: Arc::clone(&self.shared), method, in_flight, since: Instant::now(), code: Code::Cancelled }
    }
}

impl Default for RequestMetrics {
    fn default() -> Self {
        Self::new()
    }
}

/// A request under way. Counted when it is dropped: with the code that was told last, at first that its caller left.
#[derive(Debug)]
struct UnderWay {
    shared: Arc<Shared>,
    method: String,
    in_flight: IntGauge,
    since: Instant,
    code: Code,
}

// === impl UnderWay ===

impl UnderWay {
    /// Ends with the code in headers or trailers; goes on when they have none.
    fn hear(mut self, headers: &HeaderMap) -> Option<Self> {
        let Some(code) = headers.get("grpc-status") else { return Some(self) };
        self.code = Code::from_bytes(code.as_bytes());
        None
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.in_flight.dec();
        self.shared.total.with_label_values(&[self.method.as_str(), name(self.code)]).inc();
        self.shared.seconds.with_label_values(&[&self.method]).observe(self.since.elapsed().as_secs_f64());
    }
}

/// Returns the name of a code, as the metrics of other gRPC servers write it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

// === the layer ===

/// Counts the requests of the service below it.
#[derive(Clone, Debug)]
pub(crate) struct CountingLayer(pub RequestMetrics);

impl<S> Layer<S> for CountingLayer {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { metrics: self.0.clone(), inner }
    }
}

/// A service whose requests are counted.
#[derive(Clone, Debug)]
pub(crate) struct Counted<S> {
    metrics: RequestMetrics,
    inner: S,
}

impl<S, A, B> Service<Request<A>> for Counted<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<CountedBody<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let under_way = self.metrics.begin(request.uri().path());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let (parts, body) = answer.await?.into_parts();
            // A refusal is told here, a success behind the last byte; counted before the client can know of it.
            let under_way = under_way.hear(&parts.headers);
            Ok(Response::from_parts(parts, CountedBody { body, under_way }))
        })
    }
}

/// A body whose end is the end of a request.
#[derive(Debug)]
pub(crate) struct CountedBody<B> {
    body: B,
    under_way: Option<UnderWay>,
}

impl<B: Body + Unpin> Body for CountedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref()
                    && let Some(under_way) = self.under_way.take()
                {
                    self.under_way = under_way.hear(trailers);
                }
            }
            Poll::Ready(Some(Err(_)) | None) => drop(self.under_way.take()),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
