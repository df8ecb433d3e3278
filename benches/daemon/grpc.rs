//! A gRPC client for one stream whose messages are prebuilt bytes.

use std::net::SocketAddr;

use anyhow::ensure;
use bytes::Bytes;
use http::uri::PathAndQuery;
use incidentd::ingest::RawCodec;
use tonic::Request;
use tonic::client::Grpc;
use tonic::transport::Endpoint;

/// Sends every request over one `PushStream`, as fast as the server takes them, and waits for every answer.
pub async fn push_stream(address: SocketAddr, requests: Vec<Bytes>) -> anyhow::Result<()> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20);
    let mut client = Grpc::new(endpoint.connect().await?);
    client.ready().await?;
    let (sent, mut answered) = (requests.len(), 0);
    let path = PathAndQuery::from_static("/incidentd.v1.EventService/PushStream");
    let stream = Request::new(tokio_stream::iter(requests));
    let mut answers = client.streaming(stream, path, RawCodec).await?.into_inner();
    while let Some(answer) = answers.message().await? {
        ensure!(!answer.is_empty(), "an answer without verdicts");
        answered += 1;
    }
    ensure!(answered == sent, "{answered} answers to {sent} requests");
    Ok(())
}
