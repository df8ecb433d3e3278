//! The servers under test, each a process of its own on a directory of its own, and what the system says of them.
//! `receiver` is the floor that they stand beside, `books` what they must have done in the end.
//!
//! A server is killed and its directory removed when it is dropped. CPU is `utime + stime` of `/proc/PID/stat`, so the
//! load generator's share is not in it.

pub mod books;
pub mod receiver;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use incidentd::clock::Stopwatch;
use tempfile::TempDir;

use crate::http;
use crate::rules::{RULES, rules_yaml};
use receiver::Receiver;

/// Ticks of `/proc/PID/stat` in a second; fixed on Linux, whatever the kernel's own tick.
const TICKS_PER_SECOND: f64 = 100.0;
const ALERTMANAGER: &str = "prometheus-alertmanager";
const START_MAX: Duration = Duration::from_secs(30);
/// More than any work has, so that none is refused.
const MAX_ALERTS: u32 = 16_000_000;
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A server that uses less of a core than this over [`REST`] is at rest.
const REST_SHARE: f64 = 0.04;
const REST: Duration = Duration::from_millis(500);
const REST_MAX: Duration = Duration::from_secs(60);

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Ours.
    Incidentd,
    /// Another build of ours, at the path in `BENCH_PROGRAM`.
    Other,
    /// Debian's `prometheus-alertmanager`.
    Alertmanager,
    /// This program itself, as a server that does nothing with what it gets.
    Receiver(Receiver),
}

/// A server that runs.
pub struct Server {
    pub address: SocketAddr,
    child: Child,
    dir: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing of it may stay.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts a program in a new directory below `disk`, and waits until it is ready.
    pub async fn start(program: Program, disk: &Path) -> anyhow::Result<Self> {
        let (dir, address) = (tempfile::tempdir_in(disk)?, free_address()?);
        let mut command = match program {
            Program::Incidentd | Program::Other => incidentd(program, dir.path(), address)?,
            Program::Alertmanager => alertmanager(dir.path(), address)?,
            Program::Receiver(receiver) => receiver.command(dir.path(), address)?,
        };
        let log = fs::File::create(dir.path().join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;
        let mut server = Self { address, child, dir };
        let ready = if program == Program::Receiver(Receiver::Grpc) { Ready::Port } else { Ready::Page };
        server.wait_until_ready(ready).await?;
        Ok(server)
    }

    async fn wait_until_ready(&mut self, ready: Ready) -> anyhow::Result<()> {
        let stopwatch = Stopwatch::start();
        loop {
            let is_ready = match ready {
                Ready::Page => http::get(self.address, "/-/ready").await.is_ok_and(|answer| answer.status == 200),
                Ready::Port => tokio::net::TcpStream::connect(self.address).await.is_ok(),
            };
            if is_ready {
                return Ok(());
            }
            let ended = self.child.try_wait()?;
            if ended.is_some() || stopwatch.elapsed() > START_MAX {
                let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
                anyhow::bail!("not ready after {:?} ({ended:?}):\n{log}", stopwatch.elapsed());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// CPU seconds since its start.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        cpu_seconds(&self.child.id().to_string())
    }

    /// Resident memory.
    pub fn rss_bytes(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0)
    }

    /// Waits until it has nothing left to do, so that all it does for the work is counted.
    pub async fn rest(&self) -> anyhow::Result<()> {
        let stopwatch = Stopwatch::start();
        while stopwatch.elapsed() < REST_MAX {
            let before = self.cpu_seconds()?;
            tokio::time::sleep(REST).await;
            if self.cpu_seconds()? - before <= REST_SHARE * REST.as_secs_f64() {
                break;
            }
        }
        Ok(())
    }

    /// Its metrics.
    pub async fn metrics(&self) -> anyhow::Result<Exposition> {
        let answer = http::get(self.address, "/metrics").await?;
        ensure!(answer.status == 200, "/metrics answers {}", answer.status);
        Ok(Exposition(String::from_utf8(answer.body)?))
    }

    /// How many deliveries of an action the file sink has written.
    pub fn told(&self, action: &str) -> usize {
        let wanted = format!(r#""action":"{action}""#);
        let lines = fs::read_to_string(self.dir.path().join("incidents.jsonl")).unwrap_or_default();
        lines.lines().filter(|line| line.contains(&wanted)).count()
    }
}

/// Prometheus text.
pub struct Exposition(pub String);

impl Exposition {
    /// The sum of all series of a metric whose labels contain `label` (such as `state="firing"`; all when empty).
    pub fn sum(&self, name: &str, label: &str) -> f64 {
        let series = self.0.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = rest.rsplit_once(' ')?;
            let whole = labels.is_empty() || labels.starts_with('{');
            (whole && labels.contains(label)).then(|| value.parse::<f64>().ok())?
        });
        series.sum()
    }
}

/// How a server shows that it is ready.
#[derive(Clone, Copy)]
enum Ready {
    /// `/-/ready` answers 200.
    Page,
    /// It takes connections.
    Port,
}

/// CPU seconds of a process by its number, or of this one by `self`.
pub fn cpu_seconds(process: &str) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name, the second field, may hold anything but ends with the last parenthesis.
    let (_, rest) = stat.rsplit_once(')').context("a stat line")?;
    let ticks = |place: usize| -> anyhow::Result<f64> {
        Ok(rest.split_whitespace().nth(place).context("a field of stat")?.parse()?)
    };
    Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

/// Whether Debian's Alertmanager can be started; without it there is no peer to stand beside.
pub fn has_alertmanager() -> bool {
    let mut command = Command::new(ALERTMANAGER);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn incidentd(program: Program, dir: &Path, address: SocketAddr) -> anyhow::Result<Command> {
    let at = dir.display();
    let sink = format!("sinks:\n  - name: journal\n    type: file\n    path: {at}/incidents.jsonl\n");
    let limits = format!("max_alerts: {MAX_ALERTS}\n");
    let config = format!("listen: {address}\ndata_dir: {at}/data\n{limits}{sink}{}", rules_yaml(RULES));
    fs::write(dir.join("incidentd.yaml"), config)?;
    let path = match program {
        Program::Other => std::env::var_os("BENCH_PROGRAM").context("BENCH_PROGRAM is not set")?,
        _ => env!("CARGO_BIN_EXE_incidentd").into(),
    };
    let mut command = Command::new(path);
    command.arg("run").arg("--config").arg(dir.join("incidentd.yaml"));
    Ok(command)
}

/// Grouped as our rule groups, with a receiver that is told nothing, and alone.
fn alertmanager(dir: &Path, address: SocketAddr) -> anyhow::Result<Command> {
    let config = "route: { receiver: nobody, group_by: [cluster, service] }\nreceivers: [{ name: nobody }]\n";
    fs::write(dir.join("alertmanager.yml"), config)?;
    let mut command = Command::new(ALERTMANAGER);
    command
        .arg(format!("--config.file={}", dir.join("alertmanager.yml").display()))
        .arg(format!("--storage.path={}", dir.join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .args(["--cluster.listen-address=", "--log.level=warn"]);
    Ok(command)
}
