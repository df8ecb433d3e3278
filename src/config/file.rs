//! Reading the file itself, and looking at the files that it names. Never waits: only regular files are opened.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use super::diagnostic::Place;
use super::document::Fault;
use super::services::ListedServices;
use super::{Config, services};
use crate::rules::{HOLIDAYS_FILE_BYTES_MAX, Holidays, Problem};

const FILE_BYTES_MAX: u64 = 10 << 20;

/// The text of a configuration file.
///
/// # Errors
/// What keeps it from being read.
pub(super) fn read(path: &Path) -> Result<String, Fault> {
    let fault = |message: String| Fault { place: Place::START, message };
    let bytes = read_regular(path, FILE_BYTES_MAX).map_err(fault)?;
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(fault("the file is UTF-16; save it as UTF-8".to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]).into_owned();
        let (line, last) = (valid.matches('\n').count() + 1, valid.rsplit('\n').next().unwrap_or_default());
        let place = Place { line, column: last.chars().count() + 1 };
        Fault { place, message: "the file is not UTF-8 from here on".to_owned() }
    })
}

fn read_services(path: &Path) -> Result<ListedServices, String> {
    let bytes = read_regular(path, services::FILE_BYTES_MAX).map_err(|wrong| format!("{}: {wrong}", path.display()))?;
    ListedServices::parse(path, &bytes)
}

/// Opening a pipe would wait for whoever writes to it, so the kind of file is looked at first.
pub(super) fn read_regular(path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let cannot = |error: io::Error| format!("cannot read the file: {}", in_plain_words(&error));
    let metadata = fs::metadata(path).map_err(cannot)?;
    if metadata.is_dir() {
        return Err("this is a directory, not a file".to_owned());
    }
    if !metadata.is_file() {
        return Err("this is a pipe or a device, not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    fs::File::open(path).and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes)).map_err(cannot)?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("the file is larger than {} KiB", bytes_max >> 10));
    }
    Ok(bytes)
}

fn in_plain_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// Takes in the services that stand in a file of their own, and says what is wrong or unwise about the files that a
/// configuration names: a secret is for few eyes.
pub(super) fn read_named_files(config: &mut Config) -> Vec<Problem> {
    let mut problems = super::sets::read(config);
    if let Some(path) = &config.services_file {
        match read_services(path) {
            Ok(listed) => config.listed = Some(Arc::new(listed)),
            Err(wrong) => problems.push(Problem::error("services_file", wrong)),
        }
    }
    problems.extend(read_holidays(config));
    for (place, sink) in config.sinks.iter().enumerate() {
        let crate::sinks::Kind::Webhook(webhook) = &sink.kind else { continue };
        let Some(secret) = &webhook.secret_file else { continue };
        let path = format!("sinks[{place}].secret_file");
        if is_world_readable(secret) {
            let message = format!("{}: every user of this machine can read the secret", secret.display());
            problems.push(Problem::warning(path, message));
        }
    }
    problems
}

/// Takes in the holidays of every calendar that names a file.
fn read_holidays(config: &mut Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (place, calendar) in config.calendars.iter_mut().enumerate() {
        let Some(file) = &calendar.holidays_file else { continue };
        let text = read_regular(file, HOLIDAYS_FILE_BYTES_MAX);
        let text = text.and_then(|bytes| String::from_utf8(bytes).map_err(|_| "the file is not UTF-8".to_owned()));
        match text.and_then(|text| Holidays::parse(&text)) {
            Ok(holidays) => calendar.read = Some(Arc::new(holidays)),
            Err(wrong) => {
                let message = format!("{}: {wrong}", file.display());
                problems.push(Problem::error(format!("calendars[{place}].holidays_file"), message));
            }
        }
    }
    problems
}

#[cfg(unix)]
fn is_world_readable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn is_world_readable(_path: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(path: &Path) -> Vec<String> {
        let problems = Config::load(path).map_or_else(|problems| problems, |loaded| loaded.warnings);
        let name = format!("{}:", path.display());
        problems.iter().map(|problem| problem.to_string().replace(&name, "")).collect()
    }

    #[test]
    fn only_a_regular_file_of_honest_size_is_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("a.yaml");
        for (content, message) in [
            (&b""[..], "1:1: the file is empty; without --config the daemon runs on its defaults"),
            (b"\xff\xfea\0", "1:1: the file is UTF-16; save it as UTF-8"),
            (b"a: 1\nb: \xc3\xa4\xff", "2:5: the file is not UTF-8 from here on"),
            (&vec![b'#'; (10 << 20) + 1], "1:1: the file is larger than 10240 KiB"),
        ] {
            fs::write(&file, content).expect("written");
            assert_eq!(load(&file), [message]);
        }
        assert_eq!(load(dir.path()), ["1:1: this is a directory, not a file"]);
        assert_eq!(load(&dir.path().join("b")), ["1:1: cannot read the file: it does not exist"]);
        fs::write(&file, b"\xef\xbb\xbflog: { level: warn }\n").expect("written");
        assert_eq!(load(&file), [""; 0], "a byte order mark is no fault");
    }

    #[test]
    fn a_file_of_holidays_is_read_with_the_configuration_that_names_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let (file, holidays) = (dir.path().join("a.yaml"), dir.path().join("holidays.txt"));
        let calendar =
            format!("{{name: a, zone: UTC, hours: {{fri: ['09:00-10:00']}}, holidays_file: {}}}", holidays.display());
        fs::write(&file, format!("calendars:\n  - {calendar}\n")).expect("written");
        let shown = holidays.display();
        let wrong = |content: &str| {
            fs::write(&holidays, content).expect("written");
            load(&file)
        };
        assert_eq!(load(&file).len(), 1, "it does not exist");
        let place = format!("2:{}", calendar.find("/").expect("a path") + 5);
        assert_eq!(
            wrong("2026-12-25 Christmas\n26.12.2026"),
            [format!("{place}: {shown}: line 2: a holiday is a date such as 2026-12-25, not \"26.12.2026\"")]
        );
        assert_eq!(wrong("2026-12-25 Christmas\n"), [""; 0]);
        let (rules, _) = Config::load(&file).expect("valid").config.rule_set();
        let calendar = rules.calendars.named("a").expect("the calendar");
        let eve = crate::event::Timestamp::parse_rfc3339(b"2026-12-24T00:00:00Z").expect("a time");
        assert_eq!(calendar.next_open(eve).map(|open| open.to_string()).as_deref(), Some("2027-01-01T09:00:00Z"));
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
        assert!(made.success());
        assert_eq!(load(&pipe), ["1:1: this is a pipe or a device, not a regular file"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_secret_is_there_and_for_few_eyes() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a directory");
        let (file, secret) = (dir.path().join("a.yaml"), dir.path().join("secret"));
        let shown = secret.display();
        let sink = "{name: a, type: webhook, url: 'https://example.org', secret_file: ";
        fs::write(&file, format!("sinks:\n  - {sink}{shown}}}\n")).expect("written");
        assert_eq!(
            load(&file),
            [format!("2:71: secret_file: cannot read {shown}: No such file or directory (os error 2)")]
        );
        fs::write(&secret, "\n").expect("written");
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("set");
        assert_eq!(load(&file), [format!("2:71: secret_file: {shown} is empty")]);
        fs::write(&secret, "secret\n").expect("written");
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).expect("set");
        let warning = format!("2:71: warning: {shown}: every user of this machine can read the secret");
        assert_eq!(load(&file), [warning]);
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("set");
        assert_eq!(load(&file), [""; 0]);
    }
}
