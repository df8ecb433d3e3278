//! The Prometheus text exposition, read back.

use std::collections::BTreeMap;

/// All series of one scrape.
#[derive(Clone, Debug)]
pub struct Exposition {
    /// As it was served.
    pub text: String,
    series: BTreeMap<String, f64>,
}

impl Exposition {
    pub fn parse(text: String) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        let series = lines.map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            (name.to_owned(), value.parse().expect("a number"))
        });
        Self { series: series.collect(), text }
    }

    /// One series, written as it is served; 0 where it is missing.
    pub fn value(&self, series: &str) -> f64 {
        self.series.get(series).copied().unwrap_or_default()
    }

    /// All series of a name that have this text among their labels.
    pub fn sum_where(&self, name: &str, label: &str) -> f64 {
        let of_name = |series: &&String| {
            series.strip_prefix(name).is_some_and(|rest| matches!(rest.chars().next(), None | Some('{')))
        };
        self.series.iter().filter(|(series, _)| of_name(series) && series.contains(label)).map(|(_, value)| value).sum()
    }

    /// All series of a name.
    pub fn sum(&self, name: &str) -> f64 {
        self.sum_where(name, "")
    }

    /// Events by verdict.
    pub fn verdicts(&self) -> BTreeMap<String, u64> {
        let of = |series: &str| {
            series.strip_prefix("incidentd_events_total{verdict=\"")?.strip_suffix("\"}").map(str::to_owned)
        };
        self.series.iter().filter_map(|(series, value)| Some((of(series)?, *value as u64))).collect()
    }

    /// What is wrong with the laws of the daemon, once it is at rest.
    pub fn broken_laws(&self) -> Result<(), String> {
        let (received, decided) = (self.sum("incidentd_events_received_total"), self.sum("incidentd_events_total"));
        let in_flight = self.value("incidentd_events_in_flight");
        if in_flight != 0.0 || received != decided {
            return Err(format!("received {received}, verdicts {decided}, in flight {in_flight}"));
        }
        if !self.text.contains("incidentd_invariant_violations_total{") {
            return Err("there are no series of incidentd_invariant_violations_total".to_owned());
        }
        match self.sum("incidentd_invariant_violations_total") {
            0.0 => Ok(()),
            violations => Err(format!("{violations} violations of invariants")),
        }
    }
}

#[test]
fn series_are_read_with_their_labels() {
    let text = "# TYPE a counter\na{x=\"1 2\"} 3\na{x=\"2\"} 4\na_b 5\nincidentd_events_total{verdict=\"opened\"} 2\n";
    let scrape = Exposition::parse(text.to_owned());
    assert_eq!(
        (scrape.value("a{x=\"1 2\"}"), scrape.sum("a"), scrape.sum("a_b"), scrape.value("c")),
        (3.0, 7.0, 5.0, 0.0)
    );
    assert_eq!(scrape.verdicts(), [("opened".to_owned(), 2)].into());
}
