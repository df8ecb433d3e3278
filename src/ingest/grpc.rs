//! The gRPC door: `incidentd.v1.EventService`, with health and reflection beside it.
//!
//! A unary call that finds no room waits [`PATIENCE`], then is refused with the time to retry after. A stream waits
//! instead: at most [`REQUESTS_MAX`] of its requests are open, beyond that it is not read, and HTTP/2 flow control
//! holds the producer back. Responses leave in the order of the requests, each once its effects are durable.
//!
//! A message may have `limits.body_bytes` as it is and `limits.decompressed_bytes` if it was compressed; beyond:
//! `RESOURCE_EXHAUSTED`. The limits are read anew for each call, so a reload applies to the next one.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use http::{HeaderMap, Request, Response, StatusCode, header};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::CompressionEncoding;
use tonic::{Extensions, Status, Streaming};
use tonic_health::ServingStatus;
use tower::ServiceExt;

use super::intake::{Intake, Origin, Submitted};
use super::{KnownSource, status};
use crate::formats::{Format, Shape};
use crate::proto;
use crate::proto::raw::event_service_server::{EventService, EventServiceServer};
use crate::runtime::Refused;

/// How long a unary call waits for room.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// Open requests of one stream: handed over, not yet answered.
pub const REQUESTS_MAX: usize = 64;
/// How long a request of a stream waits for room: until somebody surely has noticed.
const STREAM_PATIENCE: Duration = Duration::from_secs(600);
/// How long a stream may send nothing before it is ended.
const IDLE_MAX: Duration = Duration::from_secs(3_600);
const SERVICE: &str = "incidentd.v1.EventService";

/// The gRPC services as routes. `ready` drives the health service.
pub async fn routes(intake: Arc<Intake>, ready: watch::Receiver<bool>) -> Router {
    let v1 = reflection().build_v1().expect("the descriptors are our own");
    let v1alpha = reflection().build_v1alpha().expect("the descriptors are our own");
    Router::new()
        .route_service("/incidentd.v1.EventService/{method}", Door { events: Arc::new(Events::new(intake)) })
        .route_service("/grpc.health.v1.Health/{method}", health(ready).await)
        .route_service("/grpc.reflection.v1.ServerReflection/{method}", v1)
        .route_service("/grpc.reflection.v1alpha.ServerReflection/{method}", v1alpha)
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// The health service; a task follows `ready` until its sender is gone.
/// Its services are registered when this returns, so that no early caller is told that there are none.
async fn health(
    mut ready: watch::Receiver<bool>,
) -> tonic_health::pb::health_server::HealthServer<impl tonic_health::pb::health_server::Health> {
    let (reporter, service) = tonic_health::server::health_reporter();
    let serving = *ready.borrow_and_update();
    report(&reporter, serving).await;
    tokio::spawn(async move {
        while ready.changed().await.is_ok() {
            let serving = *ready.borrow_and_update();
            report(&reporter, serving).await;
        }
    });
    service
}

async fn report(reporter: &tonic_health::server::HealthReporter, serving: bool) {
    let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
    for name in ["", SERVICE] {
        reporter.set_service_status(name, status).await;
    }
}

/// Puts the limits of the moment on each call, and gives tonic's refusals their documented codes.
#[derive(Clone)]
struct Door {
    events: Arc<Events>,
}

impl tower::Service<Request<Body>> for Door {
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if !is_grpc(request.headers()) {
            let mut refusal = Response::new(tonic::body::Body::empty());
            *refusal.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Box::pin(async { Ok(refusal) });
        }
        let limit = self.events.intake.settings().limits.decompressed_bytes.as_usize();
        let server = EventServiceServer::from_arc(self.events.clone())
            .max_decoding_message_size(limit)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd)
            .send_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Zstd);
        Box::pin(async move {
            let mut response = server.oneshot(request).await?;
            if let Some(refusal) = exhausted(response.headers()) {
                response = refusal.into_http();
            }
            Ok(response)
        })
    }
}

/// gRPC asks for 415 where a request is of another kind.
fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// tonic refuses a message by its length with `OUT_OF_RANGE`, which nothing here answers otherwise.
fn exhausted(headers: &HeaderMap) -> Option<Status> {
    let refusal = Status::from_header_map(headers).filter(|status| status.code() == tonic::Code::OutOfRange)?;
    Some(Status::resource_exhausted(refusal.message()))
}

/// The service itself.
struct Events {
    intake: Arc<Intake>,
    label: Arc<str>,
}

impl Events {
    fn new(intake: Arc<Intake>) -> Self {
        Self { intake, label: Arc::from("grpc") }
    }

    fn call(&self, headers: &tonic::metadata::MetadataMap, extensions: &Extensions) -> Call {
        let source = extensions.get::<KnownSource>().map(|known| known.0.clone());
        let (format, shape) = (Format::EventProtobuf, Shape::Many);
        Call {
            intake: self.intake.clone(),
            origin: Origin { label: self.label.clone(), source, format, shape },
            compressed: headers.get("grpc-encoding").is_some_and(|encoding| encoding != "identity"),
        }
    }
}

#[tonic::async_trait]
impl EventService for Events {
    type PushStreamStream = BoxStream<'static, Result<Bytes, Status>>;

    async fn push(&self, request: tonic::Request<Bytes>) -> Result<tonic::Response<Bytes>, Status> {
        let call = self.call(request.metadata(), request.extensions());
        let submitted = call.submit(request.into_inner(), PATIENCE).await?;
        let answer = submitted.answer().await.map_err(|refused| status::refused(&refused))?;
        Ok(tonic::Response::new(answer.to_protobuf()))
    }

    async fn push_stream(
        &self,
        request: tonic::Request<Streaming<Bytes>>,
    ) -> Result<tonic::Response<Self::PushStreamStream>, Status> {
        let call = self.call(request.metadata(), request.extensions());
        // One less than the bound: the answer being waited for has left the channel.
        let (answers, submitted) = mpsc::channel(REQUESTS_MAX - 1);
        tokio::spawn(call.read_stream(request.into_inner(), answers));
        let responses = ReceiverStream::new(submitted).then(|submitted: Result<Submitted, Status>| async {
            let answer = submitted?.answer().await.map_err(|refused| status::refused(&refused))?;
            Ok(answer.to_protobuf())
        });
        Ok(tonic::Response::new(responses.boxed()))
    }
}

/// One call: what is known of all its requests.
struct Call {
    intake: Arc<Intake>,
    origin: Origin,
    compressed: bool,
}

impl Call {
    async fn submit(&self, message: Bytes, patience: Duration) -> Result<Submitted, Status> {
        let limit = self.intake.settings().limits.body_bytes.as_usize();
        if !self.compressed && message.len() > limit {
            return Err(status::too_large(message.len(), limit));
        }
        let taken = self.intake.take(&self.origin, message).map_err(|reject| status::unreadable(&reject))?;
        self.intake.submit(taken, patience).await.map_err(|refused| status::refused(&refused))
    }

    /// Reads requests until the stream ends, breaks, or nobody reads the answers any more.
    async fn read_stream(self, mut requests: Streaming<Bytes>, answers: mpsc::Sender<Result<Submitted, Status>>) {
        while let Ok(slot) = answers.reserve().await {
            let next = tokio::select! {
                () = self.intake.stopping().cancelled() => Err(status::refused(&Refused::Stopping)),
                () = answers.closed() => return,
                next = tokio::time::timeout(IDLE_MAX, requests.message()) => next.unwrap_or_else(|_| Err(idle())),
            };
            let submitted = match next {
                Ok(Some(message)) => self.submit(message, STREAM_PATIENCE).await,
                Ok(None) => return,
                Err(error) if error.code() == tonic::Code::OutOfRange => {
                    Err(Status::resource_exhausted(error.message()))
                }
                Err(error) => Err(error),
            };
            let over = submitted.is_err();
            slot.send(submitted);
            if over {
                return;
            }
        }
    }
}

fn idle() -> Status {
    Status::deadline_exceeded(format!("the stream sent nothing for {} s; open it again", IDLE_MAX.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_beyond_tonics_limit_is_resource_exhausted() {
        let response = Status::out_of_range("decoded message length too large").into_http::<tonic::body::Body>();
        let refusal = exhausted(response.headers()).unwrap();
        assert_eq!(refusal.code(), tonic::Code::ResourceExhausted);
        let other = Status::invalid_argument("no message").into_http::<tonic::body::Body>();
        assert!(exhausted(other.headers()).is_none());
    }
}
