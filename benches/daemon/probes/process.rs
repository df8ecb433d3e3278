//! What a probe does with a server beside sending to it: a configuration of its own, an end, another start.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use incidentd::clock::Stopwatch;

use crate::server::{Exposition, ITS_CONFIG, LOOK_EVERY, OUR_CONFIG, Program, Server, free_address, our_config, spawn};

const END_MAX: Duration = Duration::from_secs(60);
const BALANCED_WITHIN: Duration = Duration::from_secs(30);

impl Server {
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
        let (dir, address) = (tempfile::tempdir_in(disk)?, free_address()?);
        fs::write(dir.path().join(OUR_CONFIG), our_config(dir.path(), address, rule, &more(dir.path())))?;
        Self::begin(Program::Incidentd, dir, address).await
    }

    /// Alertmanager with a configuration.
    pub async fn alertmanager(disk: &Path, config: &str) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir_in(disk)?;
        fs::write(dir.path().join(ITS_CONFIG), config)?;
        Self::begin(Program::Alertmanager, dir, free_address()?).await
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

    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.dir.path().join(OUR_CONFIG)
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
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
