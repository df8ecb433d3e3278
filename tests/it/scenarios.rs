//! Every scenario in `tests/scenarios` holds: as it is written, with each event in a batch of its own, and with a
//! restart after every step, from the journal as well as from a snapshot.

mod documents;
pub mod parts;
mod problems;
pub mod runner;
pub mod seen;

use std::fmt::Write;
use std::path::Path;

use runner::{Mode, Scenario};

fn scenarios() -> Vec<(String, Scenario)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("a text file");
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        let scenarios = runner::read(&text).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
        found.extend(scenarios.into_iter().map(|scenario| (name.clone(), scenario)));
    }
    found
}

#[test]
fn every_scenario_holds_however_it_is_batched_and_wherever_it_is_restarted() {
    let mut failures = String::new();
    let scenarios = scenarios();
    for (file, scenario) in &scenarios {
        for mode in Mode::ALL {
            if let Err(wrong) = scenario.check(mode) {
                let _ = writeln!(failures, "\n{file}: {} ({mode:?})\n{wrong}", scenario.description);
                break;
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
    assert!(scenarios.len() >= 30, "{} scenarios were found", scenarios.len());
}

#[test]
fn no_two_scenarios_claim_the_same() {
    let mut claims: Vec<String> = scenarios().into_iter().map(|(_, scenario)| scenario.description).collect();
    claims.sort();
    let twice = claims.windows(2).find(|pair| pair[0] == pair[1]);
    assert_eq!(twice, None);
}

#[test]
fn an_incident_has_the_same_id_in_every_mode() {
    for (file, scenario) in scenarios() {
        let mut runs = Mode::ALL.map(|mode| scenario.run(mode).expect("a scenario that holds").incidents).into_iter();
        let written = runs.next().expect("a mode");
        assert!(runs.all(|ids| ids == written), "{file}: {}", scenario.description);
    }
}
