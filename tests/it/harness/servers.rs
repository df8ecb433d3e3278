//! The real programs beside the daemon, fetched once per run of the tests. See `tests/servers/README.md`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use super::root;

static FETCHED: LazyLock<Result<(), String>> = LazyLock::new(|| run(Command::new(script("fetch.sh"))).map(|_said| ()));

/// A script of `tests/servers`.
pub fn script(name: &str) -> PathBuf {
    root().join("tests/servers").join(name)
}

/// Makes sure that every server is there, once per process.
pub fn fetched() {
    if let Err(error) = &*FETCHED {
        panic!("the servers of the tests cannot be fetched: {error}");
    }
}

/// Runs a command to its end and gives what it printed.
pub fn run(mut command: Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match output.status.success() {
        true => Ok(said),
        false => {
            Err(format!("{command:?}: {} {said} {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
        }
    }
}

/// Runs a tool of `tests/servers/requirements.txt` to its end, below a folder, and gives what it printed.
pub fn python_tool(folder: &Path, tool: &str, arguments: &[&str]) -> Result<String, String> {
    fetched();
    let mut command = Command::new(script("python.sh"));
    command.arg(tool).args(arguments).current_dir(folder);
    run(command)
}

/// What `promtool check metrics` finds wrong with an exposition.
pub fn promtool_check_metrics(exposition: &str) -> Result<(), String> {
    fetched();
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let mut stdin = child.stdin.take().expect("piped");
    let text = exposition.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    writer.join().expect("no panic").map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()),
    }
}

/// A folder for a server below the target folder. Those of processes that are gone are removed first.
pub fn server_folder(name: &str) -> PathBuf {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR")).join("servers");
    std::fs::create_dir_all(&parent).expect("a folder for servers");
    for entry in std::fs::read_dir(&parent).expect("readable").flatten() {
        let name = entry.file_name();
        let owner = name.to_string_lossy().rsplit('-').next().map(str::to_owned).unwrap_or_default();
        if !Path::new("/proc").join(owner).exists() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    parent.join(format!("{name}-{}", std::process::id()))
}
