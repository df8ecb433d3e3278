//! From a new alert to the webhook that tells of its incident, with no wait configured: one at a time while nothing else
//! happens, and on a schedule while a storm of repeats comes in. Alertmanager with `group_wait: 0s` tells the same receiver.
//!
//! The time is from before the request with the alert is written, on a schedule from when it was due, until the webhook's
//! request has been read. The receiver is part of this program: a thread a connection, which answers at once.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use incidentd::clock::{Clock, Stopwatch};

use super::alerts::{Alert, BATCH, Pen};
use super::schedule::{Bodies, Lane, Pushes, Storm};
use super::times::Times;
use crate::line::{Line, Measured, Target};
use crate::server::Server;

/// Alerts, one at a time.
const IDLE: u32 = 300;
/// Between the arrival of one and the next alert.
const IDLE_GAP: Duration = Duration::from_millis(5);
/// Alerts during a storm, and between when two are due.
const STORMY: u32 = 500;
const EVERY: Duration = Duration::from_millis(20);
/// Repeats a second: over gRPC, and the most that Alertmanager takes over HTTP without falling behind.
const STORM: u32 = 200_000;
const PEER_STORM: u32 = 20_000;
/// Of the storm; none of them belongs to a service that is new.
const REPEATED: u32 = 1_000;
const REPEATED_SERVICES: u32 = 50;
/// Services from here on are those whose alerts are timed.
const FIRST: u32 = 100_000;
const ARRIVES_WITHIN: Duration = Duration::from_secs(30);

pub async fn measure(disk: &Path) -> anyhow::Result<Vec<Line>> {
    let (ours, peer) = (incidentd(disk).await?, alertmanager(disk).await.context("Alertmanager")?);
    let line = |work: String, ours: &Times, peer: &Times, target: Target| Line {
        work,
        ours: measured(ours),
        peer: Some(measured(peer)),
        targets: vec![target],
        ..Line::default()
    };
    Ok(vec![
        line("new alert → webhook, idle".into(), &ours[0], &peer[0], Target::at_most(ours[0].ms(0.5), 1.0, "ms p50")),
        line(
            format!("new alert → webhook, storm of {STORM}/s (Alertmanager: {PEER_STORM}/s)"),
            &ours[1],
            &peer[1],
            Target::at_most(ours[1].ms(0.99), 10.0, "ms p99"),
        ),
    ])
}

fn measured(times: &Times) -> Measured {
    Measured { p50_ms: times.ms(0.5), p99_ms: times.ms(0.99), ..Measured::default() }
}

async fn incidentd(disk: &Path) -> anyhow::Result<[Times; 2]> {
    let receiver = Receiver::start()?;
    let sink = format!(
        "sinks:\n  - name: hook\n    type: webhook\n    url: http://{}/\n    allow_networks: [127.0.0.0/8]\n",
        receiver.address
    );
    let server = Server::incidentd(disk, |_| sink).await?;
    let idle = one_at_a_time(&server, &receiver).await?;
    let storm = Storm::start(server.address, Some(STORM), repeats());
    let stormy = on_schedule(&server, &receiver).await?;
    let sent = storm.end().await?;
    eprintln!("webhook: idle {}; in a storm {}", idle.line(), stormy.line());
    let opened = (REPEATED_SERVICES + IDLE + STORMY) as usize;
    let alerts = (REPEATED + IDLE + STORMY) as usize;
    let incidents = [("incidentd_incidents", r#"status="open""#, opened), ("incidentd_alerts", "", alerts)];
    let metrics = server.balances(&incidents).await?;
    let received = metrics.sum("incidentd_events_received_total", "");
    ensure!(received == (sent as u32 + IDLE + STORMY) as f64, "{received} events received, {sent} of the storm");
    Ok([idle, stormy])
}

async fn alertmanager(disk: &Path) -> anyhow::Result<[Times; 2]> {
    let receiver = Receiver::start()?;
    let config = format!(
        "route: {{ receiver: hook, group_by: [cluster, service], group_wait: 0s }}\nreceivers:\n  - name: hook\n    webhook_configs: [{{ url: 'http://{}/' }}]\n",
        receiver.address
    );
    let server = Server::alertmanager(disk, &config).await?;
    let idle = one_at_a_time(&server, &receiver).await?;
    let address = server.address;
    let over = tokio_util::sync::CancellationToken::new();
    let stop = over.clone();
    let storm = thread::spawn(move || peer_storm(address, &stop));
    let stormy = on_schedule(&server, &receiver).await;
    over.cancel();
    let sent = tokio::task::spawn_blocking(move || storm.join()).await?.map_err(|_| anyhow::anyhow!("a panic"))??;
    let stormy = stormy?;
    eprintln!("Alertmanager: idle {}; in a storm {}", idle.line(), stormy.line());
    let received = server.metrics().await?.sum("alertmanager_alerts_received_total", r#"version="v2""#);
    ensure!(received == (sent + IDLE + STORMY) as f64, "Alertmanager received {received}, {sent} of the storm");
    Ok([idle, stormy])
}

/// One alert of a new incident; the next only when its webhook has come.
async fn one_at_a_time(server: &Server, receiver: &Receiver) -> anyhow::Result<Times> {
    let (address, book) = (server.address, receiver.book.clone());
    server.rest().await?;
    let timed = tokio::task::spawn_blocking(move || {
        let mut lane = Lane::open(address)?;
        let mut times = Vec::new();
        for number in FIRST..FIRST + IDLE {
            let request = Pen::post(address, &timed_alert(number), Clock::system().now());
            let before = book.began.elapsed();
            lane.ask(&request)?;
            times.push(book.arrival(number)?.saturating_sub(before));
            thread::sleep(IDLE_GAP);
        }
        Ok(Times::new(times))
    });
    timed.await?
}

/// Alerts of new incidents, each when it is due.
async fn on_schedule(server: &Server, receiver: &Receiver) -> anyhow::Result<Times> {
    // The storm is to be there already.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let address = server.address;
    let first = FIRST + IDLE;
    let request = move |number: usize| {
        let number = (number as u32).min(STORMY - 1);
        Pen::post(address, &timed_alert(first + number), Clock::system().now())
    };
    let pushes = Pushes::start_some(address, receiver.book.began, EVERY, STORMY as usize, Arc::new(request));
    let (pushes, book) = (pushes.finish().await?, receiver.book.clone());
    let arrived = tokio::task::spawn_blocking(move || {
        let arrivals =
            pushes.iter().zip(first..).map(|(push, number)| Ok(book.arrival(number)?.saturating_sub(push.due)));
        anyhow::Ok(Times::new(arrivals.collect::<anyhow::Result<_>>()?))
    });
    arrived.await?
}

fn timed_alert(number: u32) -> Alert {
    Alert { service: number, host: number, ..Alert::default() }
}

fn repeats() -> Bodies {
    let pen = Pen::default();
    let mut next = 0;
    Box::new(std::iter::repeat_with(move || {
        let first = next;
        next = (next + BATCH as u32) % REPEATED;
        let alert = move |number| {
            let host = (first + number) % REPEATED;
            Alert { host, service: host % REPEATED_SERVICES, ..Alert::default() }
        };
        pen.request((0..BATCH as u32).map(alert), Clock::system().now())
    }))
}

/// Repeats in requests of 500 at a pace, over one connection; says how many went out.
fn peer_storm(address: SocketAddr, over: &tokio_util::sync::CancellationToken) -> anyhow::Result<u32> {
    const A_REQUEST: u32 = 500;
    let mut lane = Lane::open(address)?;
    let (began, mut sent) = (Stopwatch::start(), 0);
    while !over.is_cancelled() {
        let alerts: Vec<String> = (0..A_REQUEST)
            .map(|number| {
                let host = (sent + number) % REPEATED;
                let alert = Alert { host, service: host % REPEATED_SERVICES, ..Alert::default() };
                Pen::json(&alert, Clock::system().now())
            })
            .collect();
        thread::sleep((Duration::from_secs(1) / PEER_STORM * sent).saturating_sub(began.elapsed()));
        lane.ask(&Pen::post_body(address, &format!("[{}]", alerts.join(","))))?;
        sent += A_REQUEST;
    }
    Ok(sent)
}

/// When which service was first told of, from when the receiver began.
struct Book {
    began: Stopwatch,
    arrivals: Mutex<HashMap<u32, Duration>>,
    arrived: Condvar,
}

impl Book {
    /// Waits for it.
    fn arrival(&self, service: u32) -> anyhow::Result<Duration> {
        let arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        let (arrivals, _) = self
            .arrived
            .wait_timeout_while(arrivals, ARRIVES_WITHIN, |arrivals| !arrivals.contains_key(&service))
            .unwrap_or_else(PoisonError::into_inner);
        arrivals.get(&service).copied().with_context(|| format!("nobody was told of service {service}"))
    }
}

/// See the module. Its threads end with the connections.
struct Receiver {
    address: SocketAddr,
    book: Arc<Book>,
}

impl Receiver {
    fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let book = Arc::new(Book { began: Stopwatch::start(), arrivals: Mutex::default(), arrived: Condvar::new() });
        let shared = book.clone();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let book = shared.clone();
                thread::spawn(move || receive(connection, &book));
            }
        });
        Ok(Self { address, book })
    }
}

/// Reads requests until the connection is closed.
fn receive(mut connection: TcpStream, book: &Book) -> anyhow::Result<()> {
    connection.set_nodelay(true)?;
    let (mut buffer, mut piece) = (Vec::new(), [0; 16 << 10]);
    loop {
        let end = request_end(&buffer)?;
        if let Some(end) = end.filter(|end| *end <= buffer.len()) {
            let at = book.began.elapsed();
            connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
            for service in services(&buffer[..end]) {
                book.arrivals.lock().unwrap_or_else(PoisonError::into_inner).entry(service).or_insert(at);
            }
            book.arrived.notify_all();
            buffer.drain(..end);
            continue;
        }
        match connection.read(&mut piece)? {
            0 => return Ok(()),
            read => buffer.extend_from_slice(&piece[..read]),
        }
    }
}

/// Where the first request ends, once its head is there.
fn request_end(buffer: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(head) = memchr::memmem::find(buffer, b"\r\n\r\n") else { return Ok(None) };
    let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")).context("no length")?;
    Ok(Some(head + 4 + length.trim().parse::<usize>()?))
}

fn services(request: &[u8]) -> impl Iterator<Item = u32> {
    const NAME: &[u8] = b"service-";
    let numbers =
        memchr::memmem::find_iter(request, NAME).filter_map(|at| request.get(at + NAME.len()..at + NAME.len() + 6));
    numbers.filter_map(|digits| std::str::from_utf8(digits).ok()?.parse().ok())
}
