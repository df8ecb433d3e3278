//! Files with the members of known sets, read with the configuration that names them: CSV and YAML.
//!
//! A file is read whole, at most 64 MiB, with no more members than all sets may have; what is wrong in it is a problem of
//! the key that names it, with the line.

use std::path::Path;
use std::sync::Arc;

use super::Config;
use super::file::read_regular;
use crate::rules::{MEMBERS_MAX, Members, Problem};

const FILE_BYTES_MAX: u64 = 64 << 20;
/// What a CSV file may begin with.
const HEADER: [&str; 2] = ["key", "member"];

/// Reads the file of every set that names one.
pub(super) fn read(config: &mut Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (place, set) in config.sets.iter_mut().enumerate() {
        let Some(file) = &set.file else { continue };
        match read_members(file) {
            Ok(members) => set.read = Some(Arc::new(members)),
            Err(wrong) => {
                let message = format!("{}: {wrong}", file.display());
                problems.push(Problem::error(format!("sets[{place}].file"), message));
            }
        }
    }
    problems
}

fn read_members(path: &Path) -> Result<Members, String> {
    let format = path.extension().and_then(|extension| extension.to_str());
    let parse = match format {
        Some("csv") => from_csv,
        Some("yaml" | "yml") => from_yaml,
        _ => return Err("a file of members ends in .csv or .yaml".to_owned()),
    };
    let text =
        String::from_utf8(read_regular(path, FILE_BYTES_MAX)?).map_err(|_| "the file is not UTF-8".to_owned())?;
    parse(text.strip_prefix('\u{feff}').unwrap_or(&text))
}

fn from_csv(text: &str) -> Result<Members, String> {
    let mut members = Members::new();
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .comment(Some(b'#'))
        .from_reader(text.as_bytes());
    let (mut record, mut count) = (csv::StringRecord::new(), 0);
    while reader.read_record(&mut record).map_err(|error| error.to_string())? {
        let line = record.position().map_or(0, csv::Position::line);
        let (Some(key), Some(member), 2) = (record.get(0), record.get(1), record.len()) else {
            return Err(format!("line {line}: a line is `key,member`, not {} fields", record.len()));
        };
        if count == 0 && [key, member] == HEADER {
            continue;
        }
        count += 1;
        if count > MEMBERS_MAX {
            return Err(format!("line {line}: more than {MEMBERS_MAX} members"));
        }
        members.entry(key.to_owned()).or_default().push(member.to_owned());
    }
    Ok(members)
}

fn from_yaml(text: &str) -> Result<Members, String> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: 3 * MEMBERS_MAX,
            max_events: 4 * MEMBERS_MAX,
            max_aliases: 0,
        },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string().replace('\n', " "))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn expected() -> Members {
        [("r1", vec!["h1", "h2"]), ("r2", vec!["h,3"])]
            .map(|(key, members)| (key.to_owned(), members.into_iter().map(str::to_owned).collect()))
            .into()
    }

    #[test]
    fn a_file_of_members_is_csv_or_yaml() {
        assert_eq!(from_csv("key,member\n# the old hall\nr1,h1\r\nr1, h2\n\nr2,\"h,3\""), Ok(expected()));
        assert_eq!(from_csv("r1,h1\nr1,h2\nr2,\"h,3\"\n"), Ok(expected()));
        assert_eq!(from_yaml("r1: [h1, h2]\nr2:\n  - 'h,3'\n"), Ok(expected()));
        assert_eq!(from_csv(""), Ok(Members::new()));
    }

    #[test]
    fn a_file_that_cannot_be_read_as_members_is_an_error_at_the_key_that_names_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let (config, file) = (dir.path().join("a.yaml"), |name: &str| dir.path().join(name));
        for (name, content, said) in [
            ("racks.csv", "r1,h1\nr1\n", "line 2: a line is `key,member`, not 1 fields"),
            ("racks.txt", "", "a file of members ends in .csv or .yaml"),
            ("gone.csv", "", "cannot read the file: it does not exist"),
            ("bad.csv", "r1,\u{0}", ""),
        ] {
            let path = file(name);
            if name != "gone.csv" {
                fs::write(&path, content).expect("written");
            }
            let text = format!("sets:\n  - {{name: racks, label: rack, file: {}}}\n", path.display());
            fs::write(&config, text).expect("written");
            let problems = Config::load(&config).map_or_else(|problems| problems, |loaded| loaded.warnings);
            let problems: Vec<String> = problems.iter().map(|problem| problem.message.clone()).collect();
            let expected = if said.is_empty() { vec![] } else { vec![format!("{}: {said}", path.display())] };
            assert_eq!(problems, expected);
        }
        assert!(from_yaml("r1: h1").is_err());
    }

    #[test]
    fn a_hundred_thousand_members_are_read() {
        let csv: String = (0..100_000).map(|host| format!("r{},h{host}\n", host % 100)).collect();
        let yaml: String = (0..100)
            .map(|rack| {
                let hosts: Vec<String> = (0..1_000).map(|host| format!("h{}", host * 100 + rack)).collect();
                format!("r{rack}: [{}]\n", hosts.join(", "))
            })
            .collect();
        assert_eq!(from_csv(&csv), from_yaml(&yaml));
        assert_eq!(from_csv(&csv).map(|members| members["r7"].len()), Ok(1_000));
    }

    #[test]
    fn what_a_file_says_now_is_what_a_share_is_of() {
        let dir = tempfile::tempdir().expect("a directory");
        let (config, file) = (dir.path().join("a.yaml"), dir.path().join("racks.csv"));
        let text = format!(
            "sets: [{{name: racks, label: rack, file: {}}}]\nrules:\n  - name: rack-down\n    group_by: [rack]\n    \
             open_when: {{ratio: {{label: host, share: 50%, of: racks}}}}\n",
            file.display()
        );
        fs::write(&config, text).expect("written");
        let correlation = |members: &str| {
            fs::write(&file, members).expect("written");
            let (rules, problems) = Config::load(&config).expect("valid").config.rule_set();
            assert_eq!(problems, []);
            rules.rules[0].correlation
        };
        let before = correlation("r1,h1\nr1,h2\n");
        assert_eq!(before, correlation("key,member\nr1,h2\nr1,h1\n"), "the same members");
        assert_ne!(before, correlation("r1,h1\nr1,h2\nr1,h3\n"), "windows of another set start over");
    }
}
