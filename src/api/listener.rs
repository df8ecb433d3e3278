//! The one port: gRPC (HTTP/2 with prior knowledge) and HTTP/1.1 side by side, with bounds on what a peer may hold.
//!
//! The accept loop ends only when it is told to: an error (too many open files) is waited out. At
//! [`CONNECTIONS_MAX`] accepting pauses, so peers wait in the kernel's backlog. A peer that says nothing, or sends
//! its head slowly, is dropped after [`HEAD_MAX`]. At shutdown open requests may finish until the grace is over.
//!
//! HTTP/2 floods (rapid reset, CONTINUATION, empty DATA) are bounded by h2 itself with the limits set here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::problem::{Problem, echo, method_not_allowed};

/// Connections at a time; beyond, accepting pauses. At about 30 KiB for an idle one: 120 MiB.
pub const CONNECTIONS_MAX: usize = 4_096;
/// How long a peer may take to send a request's head, and to send its first byte.
pub const HEAD_MAX: Duration = Duration::from_secs(10);
/// Headers of an HTTP/1.1 request; beyond: 431.
const HEADERS_MAX: usize = 100;
/// Bytes of an HTTP/1.1 head; beyond: 431.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Bytes of an HTTP/2 header list; beyond: 431.
const HEADER_LIST_BYTES_MAX: u32 = 16 << 10;
/// Streams of one HTTP/2 connection; beyond, the peer waits.
const STREAMS_MAX: u32 = 256;
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// Streams that were reset before they were handled; beyond: GOAWAY (CVE-2023-44487).
const RESET_STREAMS_MAX: usize = 32;
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long accepting rests after an error.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
/// What every HTTP/2 connection begins with.
const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The port could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; {}", remedy(source))]
pub struct BindError {
    address: SocketAddr,
    source: std::io::Error,
}

/// An open port, not yet served.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

/// Refuses an address that the network can reach, unless somebody means it. `open_meant` is true when
/// authentication is configured or `--insecure` is given.
///
/// # Errors
/// A sentence with the remedies.
pub fn check_bind(address: SocketAddr, open_meant: bool) -> Result<(), String> {
    if open_meant || address.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    Err(format!(
        "refusing to listen on {address}: anybody who reaches it could send events and read incidents; \
         listen on 127.0.0.1, or say --insecure if only those reach it who may"
    ))
}

/// Answers what no route answers: 404 and 405 as problems, `UNIMPLEMENTED` to gRPC. Call it last, once.
pub fn with_fallbacks(router: Router) -> Router {
    router.fallback(not_found).method_not_allowed_fallback(method_not_allowed)
}

impl Listener {
    /// Opens the port; port 0 takes a free one.
    ///
    /// # Errors
    /// When it is taken or not ours to take; the message names the remedy.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let error = |source| BindError { address, source };
        let listener = TcpListener::bind(address).await.map_err(error)?;
        let address = listener.local_addr().map_err(error)?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is ready, then lets open requests finish for at most `grace`. Returns how many
    /// connections had to be cut.
    pub async fn serve(self, router: Router, stop: impl Future<Output = ()>, grace: Duration) -> usize {
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let graceful = GracefulShutdown::new();
        let (closing, cut) = (CancellationToken::new(), CancellationToken::new());
        let mut stop = std::pin::pin!(stop);
        let mut failing = false;
        loop {
            let accepted = async {
                let slot = slots.clone().acquire_owned().await.expect("the semaphore is never closed");
                self.listener.accept().await.map(|(stream, peer)| (slot, stream, peer))
            };
            let (slot, stream, peer) = tokio::select! {
                () = &mut stop => break,
                accepted = accepted => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        if !std::mem::replace(&mut failing, true) {
                            tracing::warn!(%error, "cannot accept connections at present, trying on");
                        }
                        tokio::time::sleep(ACCEPT_BACKOFF).await;
                        continue;
                    }
                },
            };
            failing = false;
            let closing = closing.clone();
            let serving =
                serve_connection(stream, peer, router.clone(), Closing { token: closing, watcher: graceful.watcher() });
            let cut = cut.clone();
            tokio::spawn(async move {
                let _slot = slot;
                let _ = cut.run_until_cancelled(serving).await;
            });
        }
        drop(self.listener);
        closing.cancel();
        drain(graceful, &slots, &cut, grace).await
    }
}

async fn drain(graceful: GracefulShutdown, slots: &Semaphore, cut: &CancellationToken, grace: Duration) -> usize {
    if tokio::time::timeout(grace, graceful.shutdown()).await.is_ok() {
        return 0;
    }
    let open = CONNECTIONS_MAX - slots.available_permits();
    tracing::warn!(connections = open, "cutting connections that are still open after the grace period");
    cut.cancel();
    open
}

/// How a connection learns of the shutdown: silent ones by the token, others by the watcher.
struct Closing {
    token: CancellationToken,
    watcher: Watcher,
}

async fn serve_connection(stream: TcpStream, peer: SocketAddr, router: Router, closing: Closing) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
    }
    let spoke = closing.token.run_until_cancelled(tokio::time::timeout(HEAD_MAX, spoke(&stream))).await;
    if !matches!(spoke, Some(Ok(true))) {
        return;
    }
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    });
    let builder = builder();
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    if let Err(error) = closing.watcher.watch(connection).await {
        tracing::debug!(%peer, %error, "a connection ended with an error");
    }
}

/// Whether the peer has said enough to tell HTTP/2 from HTTP/1.1. hyper sets no bound on that.
async fn spoke(stream: &TcpStream) -> bool {
    let mut start = [0; HTTP2_PREFACE.len()];
    loop {
        match stream.peek(&mut start).await {
            Ok(0) | Err(_) => return false,
            Ok(count) if count == start.len() || !HTTP2_PREFACE.starts_with(&start[..count]) => return true,
            // A part of the preface: `peek` would return it again at once.
            Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    builder
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.starts_with(b"application/grpc"))
}

async fn not_found(uri: Uri, headers: HeaderMap) -> Response {
    if is_grpc(&headers) {
        return tonic::Status::unimplemented("there is no such service or method").into_http::<axum::body::Body>();
    }
    let path = echo(uri.path());
    Problem::new(StatusCode::NOT_FOUND, "not_found", format!("there is nothing at {path}")).into_response()
}

fn remedy(error: &std::io::Error) -> &'static str {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::AddrInUse => "another process has this port: stop it, or choose another with --listen",
        ErrorKind::PermissionDenied => "ports below 1024 need a privilege: choose a higher one with --listen",
        ErrorKind::AddrNotAvailable => "no interface of this machine has that address: choose another with --listen",
        _ => "choose another address with --listen",
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn start() -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<usize>) {
        let router = with_fallbacks(Router::new().route("/here", get(|| async { "hello" })));
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.address();
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let serving = tokio::spawn(listener.serve(router, stopped, Duration::from_secs(5)));
        (address, stop, serving)
    }

    async fn exchange(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        response
    }

    #[tokio::test]
    async fn unknown_paths_and_wrong_methods_are_problems() {
        let (address, stop, serving) = start().await;
        let found = exchange(address, "GET /here HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(found.starts_with("HTTP/1.1 200") && found.ends_with("hello"), "{found}");
        let unknown = exchange(address, "GET /there HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(unknown.starts_with("HTTP/1.1 404") && unknown.contains("application/problem+json"), "{unknown}");
        let wrong = exchange(address, "PUT /here HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(wrong.starts_with("HTTP/1.1 405") && wrong.contains("allow: GET,HEAD"), "{wrong}");
        assert!(wrong.contains("method_not_allowed"), "{wrong}");
        stop.cancel();
        assert_eq!(serving.await.unwrap(), 0);
    }

    #[tokio::test]
    async fn http2_with_prior_knowledge_is_served_on_the_same_port() {
        let (address, stop, serving) = start().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(HTTP2_PREFACE).await.unwrap();
        stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(head[3], 4, "the server answers with its SETTINGS frame");
        drop(stream);
        stop.cancel();
        assert_eq!(serving.await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_refused_with_a_remedy() {
        let first = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let error = Listener::bind(first.address()).await.unwrap_err().to_string();
        assert!(error.contains("another process has this port"), "{error}");
    }

    #[test]
    fn an_address_that_the_network_reaches_must_be_meant() {
        for address in ["127.0.0.1:9095", "127.8.8.8:1", "[::1]:9095", "[::ffff:127.0.0.1]:9095"] {
            assert!(check_bind(address.parse().unwrap(), false).is_ok(), "{address}");
        }
        for address in ["0.0.0.0:9095", "10.0.0.1:9095", "[::]:9095"] {
            assert!(check_bind(address.parse().unwrap(), false).unwrap_err().contains("--insecure"), "{address}");
            assert!(check_bind(address.parse().unwrap(), true).is_ok(), "{address}");
        }
    }
}
