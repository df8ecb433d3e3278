//! A small HTTP/1.1 client that costs little: requests are prebuilt bytes, answers are read up to their length, and all
//! connections are served by one thread, which is fewer wake-ups than with two.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::{Bytes, BytesMut};
use incidentd::clock::Stopwatch;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// How far apart the moments are at which requests are due in an open loop.
const TICK: Duration = Duration::from_micros(500);

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
pub fn posts(path: &str, bodies: &[Bytes]) -> Arc<Vec<Bytes>> {
    let post = |body: &Bytes| {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        [head.as_bytes(), body].concat().into()
    };
    Arc::new(bodies.iter().map(post).collect())
}

/// Sends every request once over so many connections, each with one under way, as fast as answers come (a closed
/// loop), and returns how long each took.
pub async fn send(address: SocketAddr, requests: Arc<Vec<Bytes>>, connections: usize) -> anyhow::Result<Vec<Duration>> {
    on_one_thread(async move {
        let next = Arc::new(AtomicUsize::new(0));
        let sending = (0..connections).map(|_| tokio::spawn(send_next(address, requests.clone(), next.clone())));
        join(sending.collect()).await
    })
    .await
}

async fn send_next(
    address: SocketAddr,
    requests: Arc<Vec<Bytes>>,
    next: Arc<AtomicUsize>,
) -> anyhow::Result<Vec<Duration>> {
    let (mut connection, mut times) = (Connection::open(address).await?, Vec::new());
    while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
        let stopwatch = Stopwatch::start();
        connection.post(request).await?;
        times.push(stopwatch.elapsed());
    }
    Ok(times)
}

/// Sends every request once at a set rate, whether answers come or not (an open loop), and returns how long each took
/// from when it was due: a server that stops for a while makes all late that were due meanwhile. What is due waits for
/// its connection, of which each has its share in turn.
pub async fn send_at_rate(
    address: SocketAddr,
    requests: Arc<Vec<Bytes>>,
    connections: usize,
    per_second: f64,
) -> anyhow::Result<Vec<Duration>> {
    on_one_thread(async move {
        let (mut queues, mut sending) = (Vec::new(), Vec::new());
        let began = Stopwatch::start();
        for _ in 0..connections {
            // Room for all that could ever wait, so that the pace never does.
            let (queue, due) = mpsc::channel(requests.len() / connections + 1);
            sending.push(tokio::spawn(send_due(address, requests.clone(), due, began)));
            queues.push(queue);
        }
        let pacing = std::thread::spawn(move || pace(&queues, requests.len(), per_second, began));
        let times = join(sending).await?;
        ensure!(pacing.join().is_ok(), "the pace broke off");
        Ok(times)
    })
    .await
}

/// A request's number, and when it is due after the beginning.
type Due = (usize, Duration);

/// Says what is due, tick by tick.
fn pace(queues: &[mpsc::Sender<Due>], requests: usize, per_second: f64, began: Stopwatch) {
    // Connections are opened meanwhile.
    const LEAD: Duration = Duration::from_millis(200);
    let mut next = 0;
    for tick in 0_u32.. {
        let since = TICK * tick;
        std::thread::sleep((LEAD + since).saturating_sub(began.elapsed()));
        let until = requests.min((since.as_secs_f64() * per_second) as usize);
        for request in next..until {
            if queues[request % queues.len()].try_send((request, LEAD + since)).is_err() {
                // A connection has failed, and says so itself.
                return;
            }
        }
        next = until;
        if next == requests {
            return;
        }
    }
}

async fn send_due(
    address: SocketAddr,
    requests: Arc<Vec<Bytes>>,
    mut queue: mpsc::Receiver<Due>,
    began: Stopwatch,
) -> anyhow::Result<Vec<Duration>> {
    let (mut connection, mut times) = (Connection::open(address).await?, Vec::new());
    while let Some((request, due)) = queue.recv().await {
        connection.post(&requests[request]).await?;
        times.push(began.elapsed().saturating_sub(due));
    }
    Ok(times)
}

/// Runs a load, with all its tasks, on a thread of its own.
pub async fn on_one_thread<T: Send + 'static>(
    load: impl Future<Output = anyhow::Result<T>> + Send + 'static,
) -> anyhow::Result<T> {
    let run = || tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(load);
    tokio::task::spawn_blocking(run).await?
}

/// Waits for all, and puts their times together.
pub async fn join(
    sending: Vec<tokio::task::JoinHandle<anyhow::Result<Vec<Duration>>>>,
) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    for one in sending {
        times.extend(one.await??);
    }
    Ok(times)
}

struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Connection {
    async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: BytesMut::with_capacity(4 << 10) })
    }

    async fn post(&mut self, request: &Bytes) -> anyhow::Result<()> {
        self.stream.write_all(request).await?;
        let status = read_answer(&mut self.stream, &mut self.buffer).await?;
        ensure!(status == 200, "a request is answered with {status}");
        Ok(())
    }
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
