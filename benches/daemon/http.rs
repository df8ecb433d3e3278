//! A small HTTP/1.1 client that costs little: requests are prebuilt bytes, answers are read up to their length.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::{Bytes, BytesMut};
use incidentd::clock::Stopwatch;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Connections that post side by side, each with one request under way.
pub const CONNECTIONS: usize = 4;

/// A whole answer.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// Gets a page over a connection of its own.
pub async fn get(address: SocketAddr, path: &str) -> anyhow::Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    // HTTP/1.0, so that the body is all that follows the head.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let end = head_end(&answer).context("no head")?;
    let status = parse_head(&answer[..end])?.status;
    Ok(Answer { status, body: answer.split_off(end) })
}

/// Puts the head of a request before each body.
pub fn posts(address: SocketAddr, path: &str, bodies: &[Bytes]) -> Vec<Bytes> {
    let post = |body: &Bytes| {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        [head.as_bytes(), body].concat().into()
    };
    bodies.iter().map(post).collect()
}

/// Sends every request once, over [`CONNECTIONS`] connections, and returns how long each took.
pub async fn send(address: SocketAddr, requests: Vec<Bytes>) -> anyhow::Result<Vec<Duration>> {
    let (requests, next) = (Arc::new(requests), Arc::new(AtomicUsize::new(0)));
    let connections: Vec<_> =
        (0..CONNECTIONS).map(|_| tokio::spawn(send_over_one(address, requests.clone(), next.clone()))).collect();
    let mut times = Vec::with_capacity(requests.len());
    for connection in connections {
        times.extend(connection.await??);
    }
    Ok(times)
}

async fn send_over_one(
    address: SocketAddr,
    requests: Arc<Vec<Bytes>>,
    next: Arc<AtomicUsize>,
) -> anyhow::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut times = Vec::new();
    let mut buffer = BytesMut::with_capacity(4 << 10);
    while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
        let stopwatch = Stopwatch::start();
        stream.write_all(request).await?;
        let status = read_answer(&mut stream, &mut buffer).await?;
        times.push(stopwatch.elapsed());
        ensure!(status == 200, "a request is answered with {status}");
    }
    Ok(times)
}

async fn read_answer(stream: &mut TcpStream, buffer: &mut BytesMut) -> anyhow::Result<u16> {
    buffer.clear();
    loop {
        ensure!(stream.read_buf(buffer).await? > 0, "the connection was closed");
        if let Some(end) = head_end(buffer) {
            let head = parse_head(&buffer[..end])?;
            let missing = (end + head.length.unwrap_or(0)).saturating_sub(buffer.len());
            if missing > 0 {
                stream.read_exact(&mut vec![0; missing]).await?;
            }
            return Ok(head.status);
        }
    }
}

struct Head {
    status: u16,
    length: Option<usize>,
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

fn parse_head(head: &[u8]) -> anyhow::Result<Head> {
    let head = std::str::from_utf8(head)?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status line")?.parse()?;
    let mut length = None;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse()?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            bail!("answers of unknown length are not read");
        }
    }
    Ok(Head { status, length })
}
