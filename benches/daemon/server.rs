//! The servers under test, each a process of its own on a directory of its own, and what the system says of them.
//!
//! A server is killed and its directory removed when it is dropped. CPU is `utime + stime` of `/proc/PID/stat`, so the
//! load generator's share is not in it.

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

/// Ticks of `/proc/PID/stat` in a second; fixed on Linux, whatever the kernel's own tick.
const TICKS_PER_SECOND: f64 = 100.0;
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
    /// Debian's `prometheus-alertmanager`.
    Alertmanager,
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
        let dir = tempfile::tempdir_in(disk)?;
        let address = free_address()?;
        let log = fs::File::create(dir.path().join("log"))?;
        let mut command = match program {
            Program::Incidentd => incidentd(dir.path(), address)?,
            Program::Alertmanager => alertmanager(dir.path(), address)?,
        };
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;
        let mut server = Self { address, child, dir };
        server.wait_until_ready().await?;
        Ok(server)
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let stopwatch = Stopwatch::start();
        loop {
            if let Ok(answer) = http::get(self.address, "/-/ready").await
                && answer.status == 200
            {
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
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name, the second field, may hold anything but ends with the last parenthesis.
        let (_, rest) = stat.rsplit_once(')').context("a stat line")?;
        let ticks = |place: usize| -> anyhow::Result<f64> {
            Ok(rest.split_whitespace().nth(place).context("a field of stat")?.parse()?)
        };
        Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
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

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn incidentd(dir: &Path, address: SocketAddr) -> anyhow::Result<Command> {
    let at = dir.display();
    let sink = format!("sinks:\n  - name: journal\n    type: file\n    path: {at}/incidents.jsonl\n");
    let limits = format!("max_alerts: {MAX_ALERTS}\n");
    let config = format!("listen: {address}\ndata_dir: {at}/data\n{limits}{sink}{}", rules_yaml(RULES));
    fs::write(dir.join("incidentd.yaml"), config)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_incidentd"));
    command.arg("run").arg("--config").arg(dir.join("incidentd.yaml"));
    Ok(command)
}

/// Grouped as our rule groups, with a receiver that is told nothing, and alone.
fn alertmanager(dir: &Path, address: SocketAddr) -> anyhow::Result<Command> {
    let config = "route: { receiver: nobody, group_by: [cluster, service] }\nreceivers: [{ name: nobody }]\n";
    fs::write(dir.join("alertmanager.yml"), config)?;
    let mut command = Command::new("prometheus-alertmanager");
    command
        .arg(format!("--config.file={}", dir.join("alertmanager.yml").display()))
        .arg(format!("--storage.path={}", dir.join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .args(["--cluster.listen-address=", "--log.level=warn"]);
    Ok(command)
}
