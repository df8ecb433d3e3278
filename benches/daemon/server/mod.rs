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

use anyhow::{Context, bail, ensure};
use incidentd::clock::Stopwatch;
use tempfile::TempDir;

use crate::http;
use crate::rules::{RULES, rules_yaml};
use receiver::Receiver;

/// Ticks of `/proc/PID/stat` in a second; fixed on Linux, whatever the kernel's own tick.
const TICKS_PER_SECOND: f64 = 100.0;
const ALERTMANAGER: &str = "prometheus-alertmanager";
/// The files that they are configured by.
pub const OUR_CONFIG: &str = "incidentd.yaml";
pub const ITS_CONFIG: &str = "alertmanager.yml";
/// Grouped as our rule groups, with a receiver that is told nothing.
const TELLS_NOBODY: &str = "route: { receiver: nobody, group_by: [cluster, service] }\nreceivers: [{ name: nobody }]\n";
/// A start on a million alerts has its time in this.
const START_MAX: Duration = Duration::from_secs(120);
/// More than any work has, so that none is refused.
const MAX_ALERTS: u32 = 16_000_000;
pub const LOOK_EVERY: Duration = Duration::from_millis(2);
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
    pub program: Program,
    pub child: Child,
    pub dir: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing of it may stay.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts a program in a new directory below `disk`, configured for a row of the table, and waits until it is ready.
    pub async fn start(program: Program, disk: &Path) -> anyhow::Result<Self> {
        let (dir, address) = (tempfile::tempdir_in(disk)?, free_address()?);
        match program {
            Program::Incidentd | Program::Other => {
                fs::write(dir.path().join(OUR_CONFIG), our_config(dir.path(), address, "", &file_sink(dir.path())))?;
            }
            Program::Alertmanager => fs::write(dir.path().join(ITS_CONFIG), TELLS_NOBODY)?,
            Program::Receiver(_) => {}
        }
        Self::begin(program, dir, address).await
    }

    /// Starts a program in a directory that holds its configuration, and waits until it is ready.
    pub async fn begin(program: Program, dir: TempDir, address: SocketAddr) -> anyhow::Result<Self> {
        let child = spawn(program, dir.path(), address)?;
        let mut server = Self { address, program, child, dir };
        server.wait_until_ready().await?;
        Ok(server)
    }

    /// Waits until it takes what is sent.
    pub async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let stopwatch = Stopwatch::start();
        loop {
            let is_ready = match self.program {
                Program::Receiver(Receiver::Grpc) => tokio::net::TcpStream::connect(self.address).await.is_ok(),
                _ => http::get(self.address, "/-/ready").await.is_ok_and(|answer| answer.status == 200),
            };
            if is_ready {
                return Ok(());
            }
            let ended = self.child.try_wait()?;
            if ended.is_some() || stopwatch.elapsed() > START_MAX {
                bail!("not ready after {:?} ({ended:?}):\n{}", stopwatch.elapsed(), self.log());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// All that it said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
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

/// A port that was free a moment ago.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Our daemon under the ten rules, with more lines of the one that matches, and more beside the rules.
pub fn our_config(dir: &Path, address: SocketAddr, rule: &str, more: &str) -> String {
    let (at, rules) = (dir.display(), rules_yaml(RULES));
    format!(
        "listen: {address}\ndata_dir: {at}/data\nmax_alerts: {MAX_ALERTS}\nlog: {{ format: text }}\n{more}{rules}{rule}"
    )
}

/// A sink that writes to the folder.
pub fn file_sink(dir: &Path) -> String {
    format!("sinks:\n  - name: journal\n    type: file\n    path: {}/incidents.jsonl\n", dir.display())
}

/// Starts a program in a directory that holds its configuration.
pub fn spawn(program: Program, dir: &Path, address: SocketAddr) -> anyhow::Result<Child> {
    let mut command = match program {
        Program::Incidentd | Program::Other => incidentd(program, dir)?,
        Program::Alertmanager => alertmanager(dir, address),
        Program::Receiver(receiver) => receiver.command(dir, address)?,
    };
    // It may be started again on what it has written.
    let log = fs::OpenOptions::new().create(true).append(true).open(dir.join("log"))?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))
}

fn incidentd(program: Program, dir: &Path) -> anyhow::Result<Command> {
    let path = match program {
        Program::Other => std::env::var_os("BENCH_PROGRAM").context("BENCH_PROGRAM is not set")?,
        _ => env!("CARGO_BIN_EXE_incidentd").into(),
    };
    let mut command = Command::new(path);
    command.arg("run").arg("--config").arg(dir.join(OUR_CONFIG));
    Ok(command)
}

fn alertmanager(dir: &Path, address: SocketAddr) -> Command {
    let mut command = Command::new(ALERTMANAGER);
    command
        .arg(format!("--config.file={}", dir.join(ITS_CONFIG).display()))
        .arg(format!("--storage.path={}", dir.join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .args(["--cluster.listen-address=", "--log.level=warn"]);
    command
}
