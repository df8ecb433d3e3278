//! A real Alertmanager in a folder of its own, and the real `amtool`.

use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use super::{PATIENCE, attempt, free_port, http_client, servers};

/// A server. Killed when it is dropped.
pub struct Alertmanager {
    pub address: String,
    child: Child,
    folder: TempDir,
}

impl Alertmanager {
    /// Starts one with this configuration, without a cluster.
    pub async fn start(config: &str) -> Self {
        servers::fetched();
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("alertmanager.yml"), config).expect("written");
        let address = format!("127.0.0.1:{}", free_port());
        let log = std::fs::File::create(folder.path().join("log")).expect("a file");
        let child = Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", folder.path().join("alertmanager.yml").display()))
            .arg(format!("--storage.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus-alertmanager runs");
        let server = Self { address, child, folder };
        server.is_ready().await;
        server
    }

    async fn is_ready(&self) {
        let (http, url) = (http_client(), self.url("/-/ready"));
        attempt("alertmanager is ready", PATIENCE, async || {
            let response = http.get(&url).send().await.map_err(|error| error.to_string());
            let logged = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            response.map(|response| response.status().is_success()).map_err(|error| format!("{error} {}", logged()))
        })
        .await;
    }

    /// Its address as a URL.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `amtool` against whoever listens at an address.
pub fn amtool(address: &str, arguments: &[&str]) -> Output {
    servers::fetched();
    let mut command = Command::new("amtool");
    command.arg(format!("--alertmanager.url=http://{address}")).args(arguments).stdin(Stdio::null());
    command.output().expect("amtool runs")
}
