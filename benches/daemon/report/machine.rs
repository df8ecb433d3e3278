//! Where and of what the figures were taken. What cannot be found out is left empty.

use std::fmt;
use std::fs;
use std::process::Command;

use incidentd::clock::Clock;
use serde::Serialize;

/// See the module.
#[derive(Debug, Serialize)]
pub struct Machine {
    cores: usize,
    cpu: String,
    memory_gib: f64,
    kernel: String,
    /// Processes that wanted a core in the minute before: what else is going on.
    load: String,
    version: &'static str,
    /// Of the sources; with `+` when they were changed since.
    commit: String,
    /// Which profile of cargo the benches were built with.
    profile: String,
    date: String,
}

impl Machine {
    /// Looks around.
    pub fn look() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let kib: f64 = memory.trim_end_matches(" kB").parse().unwrap_or_default();
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
            memory_gib: (kib / 1024.0 / 1024.0 * 10.0).round() / 10.0,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
            version: env!("CARGO_PKG_VERSION"),
            commit: commit().unwrap_or_default(),
            profile: profile().unwrap_or_default(),
            date: Clock::system().now().to_string(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cores, cpu, memory_gib, kernel, load, version, commit, profile, date } = self;
        write!(f, "incidentd {version} {commit}, profile {profile}, {date}: {cores} cores of {cpu}, ")?;
        write!(f, "{memory_gib} GiB, Linux {kernel}, load before {load}")
    }
}

fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let mut commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    if git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|changes| !changes.is_empty()) {
        commit.push('+');
    }
    Some(commit)
}

/// The benches lie in `target/PROFILE/deps`.
fn profile() -> Option<String> {
    let program = std::env::current_exe().ok()?;
    Some(program.parent()?.parent()?.file_name()?.to_string_lossy().into_owned())
}
