//! An open loop: requests go out when they are due, whether or not earlier ones are answered, and their times count from
//! when they were due. And a storm at a pace, on a thread of its own.
//!
//! Requests go over a few connections in turns, each on a thread of its own, because the runtime's timer is no finer than
//! a millisecond. One that is slow holds up only those of its own connection; that wait is in their times.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use bytes::Bytes;
use incidentd::clock::Stopwatch;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::alerts::BATCH;
use crate::grpc;

/// Connections that take turns.
const LANES: usize = 8;
/// How many bodies may wait for the stream, so that preparing the next ones does not slow it down.
const BODIES_AHEAD: usize = 64;
const TIMEOUT: Duration = Duration::from_secs(60);

/// A request that was answered: when it was due, and how long after that the answer was there.
#[derive(Clone, Copy, Debug)]
pub struct Push {
    pub due: Duration,
    pub took: Duration,
}

/// A connection that carries one request after the other and blocks its thread.
pub struct Lane {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Lane {
    pub fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Sends a request and reads its answer, which must be a success.
    pub fn ask(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(request)?;
        self.buffer.clear();
        let end = loop {
            if let Some(at) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            self.fill()?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).to_ascii_lowercase();
        ensure!(head.starts_with("http/1.1 200"), "answered: {}", String::from_utf8_lossy(&self.buffer));
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.context("no length")?.trim().parse()?;
        while self.buffer.len() < end + length {
            self.fill()?;
        }
        Ok(())
    }

    fn fill(&mut self) -> anyhow::Result<()> {
        let mut piece = [0; 4 << 10];
        let read = self.stream.read(&mut piece)?;
        ensure!(read > 0, "the connection was closed");
        self.buffer.extend_from_slice(&piece[..read]);
        Ok(())
    }
}

/// What is asked for at its turn.
pub type Request = dyn Fn(usize) -> Vec<u8> + Send + Sync;

/// Sends the requests of numbers from 0, one after every `every`, until it is over. Times are from `began`.
pub struct Pushes {
    over: CancellationToken,
    lanes: Vec<thread::JoinHandle<anyhow::Result<Vec<Push>>>>,
}

impl Pushes {
    pub fn start(address: SocketAddr, began: Stopwatch, every: Duration, request: Arc<Request>) -> Self {
        Self::start_some(address, began, every, usize::MAX, request)
    }

    /// The same for so many requests.
    pub fn start_some(
        address: SocketAddr,
        began: Stopwatch,
        every: Duration,
        count: usize,
        request: Arc<Request>,
    ) -> Self {
        let (over, first) = (CancellationToken::new(), began.elapsed());
        let lane = |lane: usize| {
            let (over, request) = (over.clone(), request.clone());
            thread::spawn(move || {
                let mut connection = Lane::open(address)?;
                let mut pushes = Vec::new();
                for number in (lane..count).step_by(LANES) {
                    let due = first + every * number as u32;
                    let request = request(number);
                    thread::sleep(due.saturating_sub(began.elapsed()));
                    if over.is_cancelled() {
                        break;
                    }
                    connection.ask(&request)?;
                    pushes.push(Push { due, took: began.elapsed().saturating_sub(due) });
                }
                anyhow::Ok(pushes)
            })
        };
        let lanes = (0..LANES).map(lane).collect();
        Self { over, lanes }
    }

    /// Lets those under way be answered, and gives the times of all, by when they were due.
    pub async fn end(self) -> anyhow::Result<Vec<Push>> {
        self.over.cancel();
        self.finish().await
    }

    /// Waits until all are answered.
    pub async fn finish(self) -> anyhow::Result<Vec<Push>> {
        let joined = tokio::task::spawn_blocking(move || {
            let mut pushes = Vec::new();
            for lane in self.lanes {
                pushes.extend(lane.join().map_err(|_| anyhow!("a connection broke off"))??);
            }
            pushes.sort_unstable_by_key(|push: &Push| push.due);
            anyhow::Ok(pushes)
        });
        joined.await?
    }
}

/// Bodies of [`BATCH`] events each, as they are needed.
pub type Bodies = Box<dyn Iterator<Item = Bytes> + Send>;

/// Events that come in over one gRPC stream.
pub struct Storm {
    over: CancellationToken,
    sent: Arc<AtomicUsize>,
    sending: tokio::task::JoinHandle<anyhow::Result<usize>>,
}

impl Storm {
    /// Sends at so many events a second, or as fast as they are taken, until the bodies end or it is told to.
    pub fn start(address: SocketAddr, rate: Option<u32>, bodies: Bodies) -> Self {
        let (over, sent) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        let (queue, taken) = mpsc::channel(BODIES_AHEAD);
        let (stop, counter) = (over.clone(), sent.clone());
        // Beside the runtime, which it must not keep waiting.
        thread::spawn(move || send_at_pace(rate, bodies, &queue, &stop, &counter));
        let sending = tokio::spawn(async move { Ok(grpc::push(address, ReceiverStream::new(taken)).await? * BATCH) });
        Self { over, sent, sending }
    }

    /// Events that went out so far.
    pub fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    /// Stops, waits for the answers, and says how many events were answered.
    pub async fn end(self) -> anyhow::Result<usize> {
        self.over.cancel();
        self.finish().await
    }

    /// Waits until all bodies are answered, and says how many events that were.
    pub async fn finish(self) -> anyhow::Result<usize> {
        let answered = self.sending.await??;
        let sent = self.sent.load(Ordering::Relaxed);
        ensure!(answered == sent, "{answered} of {sent} events are answered");
        Ok(answered)
    }
}

fn send_at_pace(
    rate: Option<u32>,
    bodies: Bodies,
    queue: &mpsc::Sender<Bytes>,
    over: &CancellationToken,
    sent: &AtomicUsize,
) {
    let began = Stopwatch::start();
    for (number, body) in bodies.enumerate() {
        if let Some(rate) = rate {
            let due = Duration::from_secs_f64((number * BATCH) as f64 / f64::from(rate));
            thread::sleep(due.saturating_sub(began.elapsed()));
        }
        if over.is_cancelled() || queue.blocking_send(body).is_err() {
            return;
        }
        sent.fetch_add(BATCH, Ordering::Relaxed);
    }
}
