//! A server of a probe: its configuration is the probe's, and it may be ended and started again on what it has written.
//!
//! It is killed and its directory removed when it is dropped.

use std::collections::HashMap;
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
use crate::server::{Exposition, Program, cpu_seconds};

const START_MAX: Duration = Duration::from_secs(120);
const END_MAX: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(2);
const REST: Duration = Duration::from_millis(500);
const REST_SHARE: f64 = 0.04;
const REST_MAX: Duration = Duration::from_secs(60);
const BALANCED_WITHIN: Duration = Duration::from_secs(30);

/// See the module.
pub struct Process {
    pub address: SocketAddr,
    program: Program,
    child: Child,
    dir: TempDir,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing of it may stay.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Our daemon under the ten rules, with what a probe adds, which may name its folder. Waits until it is ready.
    pub async fn incidentd(disk: &Path, more: impl FnOnce(&Path) -> String) -> anyhow::Result<Self> {
        Self::incidentd_whose_rule(disk, "", more).await
    }

    /// The same with more lines of the rule that matches.
    pub async fn incidentd_whose_rule(
        disk: &Path,
        rule: &str,
        more: impl FnOnce(&Path) -> String,
    ) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir_in(disk)?;
        let (address, at) = (free_address()?, dir.path().display());
        let config = format!(
            "listen: {address}\ndata_dir: {at}/data\nmax_alerts: 16000000\nlog: {{ format: text }}\n{}{}{rule}",
            more(dir.path()),
            rules_yaml(RULES)
        );
        fs::write(dir.path().join("incidentd.yaml"), config)?;
        Self::begin(Program::Incidentd, dir, address).await
    }

    /// Alertmanager with a configuration.
    pub async fn alertmanager(disk: &Path, config: &str) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir_in(disk)?;
        fs::write(dir.path().join("alertmanager.yml"), config)?;
        Self::begin(Program::Alertmanager, dir, free_address()?).await
    }

    async fn begin(program: Program, dir: TempDir, address: SocketAddr) -> anyhow::Result<Self> {
        let child = spawn(program, dir.path(), address)?;
        let mut process = Self { address, program, child, dir };
        process.wait_until_ready().await?;
        Ok(process)
    }

    /// Sends a signal, waits until the process is gone, and says how long that took.
    pub async fn end(&mut self, signal: &str) -> anyhow::Result<Duration> {
        let stopwatch = Stopwatch::start();
        let status = Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status()?;
        ensure!(status.success(), "kill -s {signal}");
        while self.child.try_wait()?.is_none() {
            ensure!(stopwatch.elapsed() < END_MAX, "it does not end after SIG{signal}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(stopwatch.elapsed())
    }

    /// Starts it again on what it has written, and says how long it took until it was ready.
    pub async fn start_again(&mut self) -> anyhow::Result<Duration> {
        let stopwatch = Stopwatch::start();
        self.child = spawn(self.program, self.dir.path(), self.address)?;
        self.wait_until_ready().await?;
        Ok(stopwatch.elapsed())
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let stopwatch = Stopwatch::start();
        loop {
            let answer = http::get(self.address, "/-/ready").await;
            if answer.is_ok_and(|answer| answer.status == 200) {
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

    /// The configuration file.
    pub fn config_file(&self) -> std::path::PathBuf {
        self.dir.path().join("incidentd.yaml")
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// CPU seconds since its start.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        cpu_seconds(&self.pid().to_string())
    }

    /// Resident memory.
    pub fn rss_bytes(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0)
    }

    /// Waits until it has nothing left to do.
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

    /// Waits until every event that came in is decided and no law was broken, and until gauges show what is expected of
    /// them. Gauges follow by the second, so it may take some.
    pub async fn balances(&self, expected: &[(&str, &str, usize)]) -> anyhow::Result<Exposition> {
        let stopwatch = Stopwatch::start();
        loop {
            match self.metrics().await.and_then(|metrics| balanced(metrics, expected)) {
                Err(_) if stopwatch.elapsed() < BALANCED_WITHIN => tokio::time::sleep(LOOK_EVERY * 50).await,
                result => return result,
            }
        }
    }
}

fn balanced(metrics: Exposition, expected: &[(&str, &str, usize)]) -> anyhow::Result<Exposition> {
    let received = metrics.sum("incidentd_events_received_total", "");
    let decided = metrics.sum("incidentd_events_total", "");
    ensure!(received == decided, "{received} events received, {decided} decided");
    let never = [
        ("incidentd_events_in_flight", "", 0),
        ("incidentd_events_total", r#"verdict="rejected""#, 0),
        ("incidentd_limit_reached_total", "", 0),
        ("incidentd_invariant_violations_total", "", 0),
    ];
    for (name, label, count) in never.iter().chain(expected) {
        let found = metrics.sum(name, label);
        ensure!(found == *count as f64, "{name} {label}: {found}, expected {count}");
    }
    Ok(metrics)
}

fn spawn(program: Program, dir: &Path, address: SocketAddr) -> anyhow::Result<Child> {
    let mut command = match program {
        Program::Incidentd => {
            let mut command = Command::new(env!("CARGO_BIN_EXE_incidentd"));
            command.arg("run").arg("--config").arg(dir.join("incidentd.yaml"));
            command
        }
        _ => {
            let mut command = Command::new("prometheus-alertmanager");
            command
                .arg(format!("--config.file={}", dir.join("alertmanager.yml").display()))
                .arg(format!("--storage.path={}", dir.join("data").display()))
                .arg(format!("--web.listen-address={address}"))
                .args(["--cluster.listen-address=", "--log.level=warn"]);
            command
        }
    };
    let log = fs::OpenOptions::new().create(true).append(true).open(dir.join("log"))?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))
}

/// A sink that writes to the folder.
pub fn file_sink(dir: &Path) -> String {
    format!("sinks:\n  - name: journal\n    type: file\n    path: {}/incidents.jsonl\n", dir.display())
}

/// Time that this thread was on a core, in seconds.
pub fn thread_cpu_seconds() -> anyhow::Result<f64> {
    let schedstat = fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(schedstat.split_whitespace().next().context("a schedstat line")?.parse::<f64>()? / 1e9)
}

/// How long each thread of a process has waited for a core while it could have run.
pub fn waited_for_a_core(pid: u32) -> HashMap<u32, Duration> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return HashMap::new() };
    // A thread may end while it is looked at.
    let waited = threads.flatten().filter_map(|thread| {
        let schedstat = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        let nanos = schedstat.split_whitespace().nth(1)?.parse().ok()?;
        Some((thread.file_name().to_str()?.parse().ok()?, Duration::from_nanos(nanos)))
    });
    waited.collect()
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
