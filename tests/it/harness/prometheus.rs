//! A real Prometheus server in a folder of its own.

use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{PATIENCE, attempt, free_port, http_client, servers};

/// A server. Killed when it is dropped.
pub struct Prometheus {
    pub address: String,
    child: Child,
    folder: TempDir,
}

impl Prometheus {
    /// Starts one that scrapes `target` as the job `test`, evaluates `rules` and sends alerts to `alertmanager`.
    pub async fn start(target: &str, rules: &str, alertmanager: &str) -> Self {
        servers::fetched();
        let folder = tempfile::tempdir().expect("a folder");
        let config = format!(
            "global: {{ scrape_interval: 200ms, evaluation_interval: 200ms }}\n\
             rule_files: ['{}/rules.yml']\n\
             scrape_configs: [{{ job_name: test, static_configs: [{{ targets: ['{target}'] }}] }}]\n\
             alerting: {{ alertmanagers: [{{ static_configs: [{{ targets: ['{alertmanager}'] }}] }}] }}\n",
            folder.path().display()
        );
        std::fs::write(folder.path().join("prometheus.yml"), config).expect("written");
        std::fs::write(folder.path().join("rules.yml"), rules).expect("written");
        let address = format!("127.0.0.1:{}", free_port());
        let log = std::fs::File::create(folder.path().join("log")).expect("a file");
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--rules.alert.resend-delay=500ms", "--rules.alert.for-grace-period=0s"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus runs");
        let server = Self { address, child, folder };
        server.is_ready().await;
        server
    }

    async fn is_ready(&self) {
        let (http, url) = (http_client(), format!("http://{}/-/ready", self.address));
        let log = self.folder.path().join("log");
        attempt("prometheus is ready", PATIENCE, async || {
            let response = http.get(&url).send().await.map_err(|error| error.to_string());
            let logged = || std::fs::read_to_string(&log).unwrap_or_default();
            response.map(|response| response.status().is_success()).map_err(|error| format!("{error} {}", logged()))
        })
        .await;
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
