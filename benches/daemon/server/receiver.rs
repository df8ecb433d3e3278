//! The floor: a server that takes requests with the same libraries as the daemon's doors and does nothing with them.
//! The bench starts itself as one, so that its CPU is accounted like the daemon's.
//!
//! It owns no state. It ends when it is killed, or by an error, which then is in its log.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;

use anyhow::{Context, bail};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use incidentd::proto::raw::event_service_server::{EventService, EventServiceServer};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::{Status, Streaming};

/// The first argument that makes the bench a receiver.
pub const ARGUMENT: &str = "--receiver";
/// A `PushResponse` with one verdict.
const ANSWER: &[u8] = &[0x0a, 2, 8, 3];
/// What is appended before an answer where answers are synced: about what a repeat leaves in the journal.
const RECORD: [u8; 64] = [b'.'; 64];
/// As the daemon's listener has them.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// Which floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiver {
    /// HTTP/1.1: reads a body, drops it, answers 200.
    Http,
    /// The same, but appends a record to a file first and answers once that is synced; all that wait share a sync.
    HttpSynced,
    /// gRPC: takes a frame, drops it, answers with one verdict.
    Grpc,
}

impl Receiver {
    /// How to start it.
    pub fn command(self, dir: &Path, address: SocketAddr) -> anyhow::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([ARGUMENT, self.name(), &address.to_string()]).arg(dir.join("appended"));
        Ok(command)
    }

    fn name(self) -> &'static str {
        match self {
            Receiver::Http => "http",
            Receiver::HttpSynced => "http-synced",
            Receiver::Grpc => "grpc",
        }
    }
}

/// Is a receiver: which one, where it listens, and the file to append to.
pub fn serve(arguments: &[String]) -> anyhow::Result<()> {
    let [name, address, file] = arguments else { bail!("{ARGUMENT} KIND ADDRESS FILE") };
    let address: SocketAddr = address.parse()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match name.as_str() {
        "http" => runtime.block_on(serve_http(address, None)),
        "http-synced" => runtime.block_on(serve_http(address, Some(writer(Path::new(file))?))),
        "grpc" => runtime.block_on(serve_grpc(address)),
        _ => bail!("no receiver is called {name}"),
    }
}

type Synced = mpsc::SyncSender<oneshot::Sender<()>>;

async fn serve_http(address: SocketAddr, synced: Option<Synced>) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let synced = synced.clone();
        let answering = service_fn(move |request| answer(request, synced.clone()));
        // A peer that goes away is no reason to end.
        tokio::spawn(async move { http1::Builder::new().serve_connection(TokioIo::new(stream), answering).await });
    }
}

async fn answer(mut request: Request<Incoming>, synced: Option<Synced>) -> anyhow::Result<Response<Empty<Bytes>>> {
    while let Some(frame) = request.body_mut().frame().await {
        frame?;
    }
    // Only what is posted is work: the question whether it is ready is not.
    if let Some(synced) = synced.filter(|_| request.method() == http::Method::POST) {
        let (done, waiting) = oneshot::channel();
        synced.try_send(done).ok().context("more requests are under way than connections can be open")?;
        waiting.await?;
    }
    Ok(Response::new(Empty::new()))
}

/// A thread that appends and syncs for all that wait.
fn writer(path: &Path) -> anyhow::Result<Synced> {
    const WAITING_MAX: usize = 4_096;
    let mut file = File::create(path)?;
    let (sender, receiver) = mpsc::sync_channel::<oneshot::Sender<()>>(WAITING_MAX);
    std::thread::spawn(move || -> std::io::Result<()> {
        let mut records = Vec::new();
        while let Ok(first) = receiver.recv() {
            let waiting: Vec<_> = std::iter::once(first).chain(receiver.try_iter()).collect();
            records.resize(waiting.len() * RECORD.len(), RECORD[0]);
            file.write_all(&records)?;
            file.sync_data()?;
            for done in waiting {
                // Whose peer is gone does not wait any more.
                let _ = done.send(());
            }
        }
        Ok(())
    });
    Ok(sender)
}

async fn serve_grpc(address: SocketAddr) -> anyhow::Result<()> {
    let mut server = tonic::transport::Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    let events = EventServiceServer::new(Idle).max_decoding_message_size(64 << 20);
    server.add_service(events).serve(address).await?;
    Ok(())
}

/// Does nothing with events.
struct Idle;

#[tonic::async_trait]
impl EventService for Idle {
    type PushStreamStream = BoxStream<'static, Result<Bytes, Status>>;

    async fn push(&self, _: tonic::Request<Bytes>) -> Result<tonic::Response<Bytes>, Status> {
        Ok(tonic::Response::new(Bytes::from_static(ANSWER)))
    }

    async fn push_stream(
        &self,
        request: tonic::Request<Streaming<Bytes>>,
    ) -> Result<tonic::Response<Self::PushStreamStream>, Status> {
        let answers = request.into_inner().map(|message| message.map(|_| Bytes::from_static(ANSWER)));
        Ok(tonic::Response::new(answers.boxed()))
    }
}
