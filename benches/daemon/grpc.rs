//! A gRPC client for one stream whose messages are prebuilt bytes.

use std::net::SocketAddr;

use anyhow::ensure;
use bytes::Bytes;
use http::uri::PathAndQuery;
use incidentd::ingest::RawCodec;
use tokio_stream::Stream;
use tonic::Request;
use tonic::client::Grpc;
use tonic::transport::Endpoint;

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
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20);
    let mut client = Grpc::new(endpoint.connect().await?);
    client.ready().await?;
    let path = PathAndQuery::from_static("/incidentd.v1.EventService/PushStream");
    let mut answers = client.streaming(Request::new(requests), path, RawCodec).await?.into_inner();
    let mut answered = 0;
    while let Some(answer) = answers.message().await? {
        ensure!(!answer.is_empty(), "an answer without verdicts");
        answered += 1;
    }
    Ok(answered)
}
