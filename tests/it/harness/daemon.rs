//! The real binary as a process of its own: started, asked, killed, started again on the same state.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use incidentd::proto::event_service_client::EventServiceClient;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

use super::exposition::Exposition;
use super::servers::promtool_check_metrics;
use super::{PATIENCE, attempt, free_port, http_client};

/// What a process wrote, line by line.
type Lines = Arc<Mutex<Vec<String>>>;

/// A daemon with a folder of its own. Killed when it is dropped.
pub struct Daemon {
    /// Where it listens; the same after a restart.
    pub address: String,
    folder: TempDir,
    child: Option<Child>,
    /// They read what the process writes, and end with it.
    readers: Vec<JoinHandle<()>>,
    port: u16,
    log: Lines,
    printed: Lines,
    http: reqwest::Client,
}

/// The command under test.
pub fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_incidentd")
}

/// Runs a command of the binary to its end.
pub async fn incidentd(arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).env_remove("INCIDENTD_URL").env_remove("INCIDENTD_TOKEN").stdin(Stdio::null());
    tokio::time::timeout(PATIENCE, command.output()).await.expect("the command ends").expect("the binary runs")
}

/// What a command printed.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Daemon {
    /// Starts one with this configuration, on a free port and an empty data directory.
    pub async fn start(config: &str) -> Self {
        Self::start_on(config, free_port()).await
    }

    /// Starts one on this port; 0 lets the system choose.
    pub async fn start_on(config: &str, port: u16) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut daemon = Self {
            address: String::new(),
            folder,
            child: None,
            readers: Vec::new(),
            port,
            log: Lines::default(),
            printed: Lines::default(),
            http: http_client(),
        };
        daemon.write_config(config);
        daemon.restart().await;
        daemon
    }

    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("incidentd.yaml")
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A folder for whatever belongs to this daemon.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Replaces the configuration file at once.
    pub fn write_config(&self, config: &str) {
        let new = self.folder.path().join("new.yaml");
        std::fs::write(&new, config).expect("written");
        std::fs::rename(new, self.config_file()).expect("renamed");
    }

    fn command(&self) -> Command {
        let mut command = Command::new(binary());
        command.arg("run").arg("--config").arg(self.config_file()).arg("--data-dir").arg(self.data_dir());
        command.arg("--listen").arg(format!("127.0.0.1:{}", self.port)).args(["--log-format", "json"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Starts the process on what is there, and waits until it takes events.
    pub async fn restart(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let seen = self.log_lines().len();
        let mut child = self.command().spawn().expect("the binary runs");
        self.readers = vec![
            tokio::spawn(collect(child.stderr.take().expect("piped"), self.log.clone())),
            tokio::spawn(collect(child.stdout.take().expect("piped"), self.printed.clone())),
        ];
        self.child = Some(child);
        let address = attempt("the daemon is ready", PATIENCE, async || {
            let lines = self.log_lines();
            let ready = lines[seen..].iter().rev().find_map(|line| ready_address(line));
            if let (None, Some(Ok(Some(status)))) = (&ready, self.child.as_mut().map(Child::try_wait)) {
                panic!("the daemon ended with {status}:\n{}", self.log_lines()[seen..].join("\n"));
            }
            ready.ok_or_else(|| lines[seen..].join("\n"))
        });
        self.address = address.await;
    }

    /// Starts the process and kills it so soon that it may not have come up.
    pub async fn die_young(&mut self, age: Duration) {
        let mut child = self.command().spawn().expect("the binary runs");
        tokio::spawn(collect(child.stderr.take().expect("piped"), self.log.clone()));
        drop(child.stdout.take());
        super::pass(age).await;
        child.start_kill().expect("killed");
        child.wait().await.expect("it ended");
    }

    /// How long the journal of the first shard was at each start.
    pub fn journals(&self) -> Vec<u64> {
        let lines = self.log_lines();
        let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let recovered = lines.filter(|line| line["message"] == "recovered" && line["shard"] == 0);
        recovered.filter_map(|line| line["journal_bytes"].as_u64()).collect()
    }

    /// Tries to start a second process on the same data directory, and gives how it ended.
    pub async fn start_a_second(&self) -> Output {
        let mut command = Command::new(binary());
        command.arg("run").arg("--config").arg(self.config_file()).arg("--data-dir").arg(self.data_dir());
        command.args(["--listen", "127.0.0.1:0"]).kill_on_drop(true);
        tokio::time::timeout(PATIENCE, command.output()).await.expect("it ends").expect("the binary runs")
    }

    /// The number of the process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().and_then(Child::id).expect("it runs")
    }

    /// Ends it at once, as a crash does.
    pub async fn kill9(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.start_kill().expect("killed");
        child.wait().await.expect("it ended");
        self.read_to_the_end().await;
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let status = std::process::Command::new("kill").args(["-s", name, &pid]).status().expect("kill runs");
        assert!(status.success(), "kill -s {name} {pid}");
    }

    /// Asks it to stop, and waits until it has.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        let mut child = self.child.take().expect("it runs");
        let status = tokio::time::timeout(PATIENCE, child.wait()).await.expect("it stops in time").expect("it ended");
        self.read_to_the_end().await;
        status
    }

    /// Waits until the last words of a process that has ended are read.
    async fn read_to_the_end(&mut self) {
        for reader in self.readers.drain(..) {
            tokio::time::timeout(PATIENCE, reader).await.expect("its output ends").expect("it is read");
        }
    }

    /// What all its processes logged so far.
    pub fn log_lines(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What all its processes printed so far.
    pub fn printed_lines(&self) -> Vec<String> {
        self.printed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its address as a URL.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A client for HTTP.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// A page, whatever its status.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let response = self.http.get(self.url(path)).send().await.expect("an answer");
        (response.status().as_u16(), response.text().await.expect("a text"))
    }

    /// A document that must be there.
    pub async fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// Posts a body of a kind.
    pub async fn post(&self, path: &str, kind: &str, body: impl Into<reqwest::Body>) -> (u16, String) {
        let request = self.http.post(self.url(path)).header("content-type", kind).body(body);
        let response = request.send().await.expect("an answer");
        (response.status().as_u16(), response.text().await.expect("a text"))
    }

    /// Posts events as JSON; all of them must be taken.
    pub async fn push_json(&self, events: &[String]) -> Value {
        let (status, body) = self.post("/api/v1/events", "application/json", format!("[{}]", events.join(","))).await;
        assert_eq!(status, 200, "{body}");
        let answer: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(answer["rejected"], 0, "{body}");
        answer
    }

    /// A connection for gRPC.
    pub async fn channel(&self) -> Channel {
        attempt("a connection for gRPC", PATIENCE, async || self.try_channel().await).await
    }

    /// One try at a connection for gRPC.
    pub async fn try_channel(&self) -> Result<Channel, String> {
        let endpoint = Endpoint::from_shared(self.url("")).expect("a URL").connect_timeout(Duration::from_secs(5));
        endpoint.connect().await.map_err(|error| error.to_string())
    }

    /// A client for gRPC.
    pub async fn grpc(&self) -> EventServiceClient<Channel> {
        EventServiceClient::new(self.channel().await)
    }

    /// Its metrics.
    pub async fn metrics(&self) -> Exposition {
        let (status, text) = self.get("/metrics").await;
        assert_eq!(status, 200);
        Exposition::parse(text)
    }

    /// All incidents that a query finds, page by page.
    pub async fn incidents(&self, query: &str) -> Vec<Value> {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        let limit = if query.contains("limit=") { "" } else { "limit=200&" };
        loop {
            let page = self.json(&format!("/api/v1/incidents?{limit}cursor={cursor}&{query}")).await;
            found.extend(page["incidents"].as_array().expect("a list").iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = next.to_owned(),
                None => return found,
            }
        }
    }

    /// How many events all incidents stand for.
    pub async fn counted(&self) -> u64 {
        self.incidents("").await.iter().map(|incident| incident["events"].as_u64().expect("a count")).sum()
    }

    /// Waits until so many events are counted, and not one more.
    pub async fn counts(&self, events: u64) {
        attempt(&format!("{events} events are counted"), 2 * PATIENCE, async || {
            let counted = self.counted().await;
            if counted >= events { Ok(()) } else { Err(format!("{counted}")) }
        })
        .await;
        assert_eq!(self.counted().await, events);
    }

    /// One incident with its alerts.
    pub async fn incident(&self, id: &str) -> Value {
        self.json(&format!("/api/v1/incidents/{id}")).await
    }

    /// What holds after every test: the law of conservation, no broken invariant, metrics in good order, no panic.
    pub async fn is_sound(&self) -> Exposition {
        let metrics = attempt("all events are accounted for", PATIENCE, async || {
            let metrics = self.metrics().await;
            metrics.broken_laws().map(|()| metrics)
        });
        let metrics = metrics.await;
        if let Err(problems) = promtool_check_metrics(&metrics.text) {
            panic!("promtool finds fault with the metrics:\n{problems}");
        }
        self.has_not_panicked();
        metrics
    }

    /// No process of it ever panicked.
    pub fn has_not_panicked(&self) {
        let panics: Vec<String> = self.log_lines().into_iter().filter(|line| line.contains("panicked")).collect();
        assert!(panics.is_empty(), "{panics:#?}");
    }
}

fn ready_address(line: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    (line["message"] == "ready for events").then(|| line["address"].as_str().map(str::to_owned))?
}

async fn collect(stream: impl AsyncRead + Unpin, lines: Lines) {
    let mut reader = BufReader::new(stream).lines();
    while let Ok(Some(line)) = reader.next_line().await {
        lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}
