//! gRPC clients whose messages are prebuilt bytes: one stream by tonic, and unary calls over one HTTP/2 connection by
//! h2 itself, which costs less than tonic's channel where a call is all there is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use http::uri::PathAndQuery;
use http::{HeaderMap, Request};
use incidentd::clock::Stopwatch;
use incidentd::ingest::RawCodec;
use tokio::net::TcpStream;
use tokio_stream::Stream;
use tonic::client::Grpc;
use tonic::transport::Endpoint;

use crate::http::{join, on_one_thread};

const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// Sends every request over one `PushStream`, as fast as the server takes them, and waits for every answer.
pub async fn push_stream(address: SocketAddr, requests: Vec<Bytes>) -> anyhow::Result<()> {
    let sent = requests.len();
    let answered = push(address, tokio_stream::iter(requests)).await?;
    ensure!(answered == sent, "{answered} answers to {sent} requests");
    Ok(())
}

/// Sends what a stream yields until it ends, and says how many answers came.
pub async fn push(address: SocketAddr, requests: impl Stream<Item = Bytes> + Send + 'static) -> anyhow::Result<usize> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    let mut client = Grpc::new(endpoint.connect().await?);
    client.ready().await?;
    let path = PathAndQuery::from_static("/incidentd.v1.EventService/PushStream");
    let mut answers = client.streaming(tonic::Request::new(requests), path, RawCodec).await?.into_inner();
    let mut answered = 0;
    while let Some(answer) = answers.message().await? {
        ensure!(!answer.is_empty(), "an answer without verdicts");
        answered += 1;
    }
    Ok(answered)
}

/// Puts what gRPC wants before each message: that it is not compressed, and its length.
pub fn framed(messages: &[Bytes]) -> Arc<Vec<Bytes>> {
    let frame = |message: &Bytes| {
        let mut framed = BytesMut::with_capacity(message.len() + 5);
        framed.put_u8(0);
        framed.put_u32(message.len() as u32);
        framed.put_slice(message);
        framed.freeze()
    };
    Arc::new(messages.iter().map(frame).collect())
}

/// Makes a `Push` call of every framed message over one connection with so many under way, and returns how long each
/// took.
pub async fn push_unary(
    address: SocketAddr,
    messages: Arc<Vec<Bytes>>,
    under_way: usize,
) -> anyhow::Result<Vec<Duration>> {
    on_one_thread(async move {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut builder = h2::client::Builder::new();
        builder
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .initial_max_send_streams(under_way);
        let (sender, connection) = builder.handshake(stream).await?;
        tokio::spawn(connection);
        let next = Arc::new(AtomicUsize::new(0));
        let calling = (0..under_way).map(|_| tokio::spawn(call_next(sender.clone(), messages.clone(), next.clone())));
        join(calling.collect()).await
    })
    .await
}

async fn call_next(
    mut sender: SendRequest<Bytes>,
    messages: Arc<Vec<Bytes>>,
    next: Arc<AtomicUsize>,
) -> anyhow::Result<Vec<Duration>> {
    let head = Request::post("http://localhost/incidentd.v1.EventService/Push")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let mut times = Vec::new();
    while let Some(message) = messages.get(next.fetch_add(1, Ordering::Relaxed)) {
        sender = sender.ready().await?;
        let stopwatch = Stopwatch::start();
        let (response, mut body) = sender.send_request(head.clone(), false)?;
        // Waits within h2 for as much window as it needs; so many bytes as are under way are the most that wait.
        body.send_data(message.clone(), true)?;
        let trailers = read_answer(response.await?.into_body()).await?;
        times.push(stopwatch.elapsed());
        let status = trailers.get("grpc-status").context("no status of gRPC")?;
        ensure!(status == "0", "a call is answered with status {status:?}: {:?}", trailers.get("grpc-message"));
    }
    Ok(times)
}

async fn read_answer(mut body: h2::RecvStream) -> anyhow::Result<HeaderMap> {
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
    }
    body.trailers().await?.context("an answer without trailers")
}
