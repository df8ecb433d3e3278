//! The pure half of a door, and the rules, as the daemon has them.

use std::sync::Arc;

use bytes::Bytes;
use incidentd::clock::Clock;
use incidentd::event::{Batch, Limits, Reject, Text};
use incidentd::formats::{Decoder, Format, Payload, SeverityMap, Shape};
use incidentd::normalise::{IdentifiedBy, NormaliseConfig, Normaliser, Scratch};
use incidentd::rules::{Definition, RuleConfig, RuleSet, compile};

use crate::rules::rules_yaml;

/// Compiles so many rules of which one matches.
pub fn rule_set(count: usize) -> Arc<RuleSet> {
    compiled(&rules_yaml(count))
}

/// Compiles the `rules:` of a configuration.
pub fn compiled(yaml: &str) -> Arc<RuleSet> {
    #[derive(serde::Deserialize)]
    struct Rules {
        rules: Vec<RuleConfig>,
    }
    let rules: Rules = serde_saphyr::from_str(yaml).expect("the rules are valid");
    let (set, problems) = compile(&Definition::of(&rules.rules, &[]));
    assert!(problems.iter().all(|problem| problem.warning), "{problems:?}");
    Arc::new(set)
}

/// The front half, as the doors have it.
pub struct Front {
    decoder: Decoder,
    normaliser: Normaliser,
    scratch: Scratch,
    clock: Clock,
}

impl Default for Front {
    fn default() -> Self {
        let decoder = Decoder::new(Limits::default(), SeverityMap::default());
        let normaliser = Normaliser::new(NormaliseConfig::default());
        Self { decoder, normaliser, scratch: Scratch::default(), clock: Clock::system() }
    }
}

impl Front {
    /// Bytes to records.
    pub fn decode(&self, body: &Bytes, format: Format) -> Batch {
        let mut batch = Batch::new(body.clone(), self.clock.now());
        let mut rejects: Vec<Reject> = Vec::new();
        let (span, received_at) = (0..body.len(), batch.received_at);
        let payload =
            Payload { format, shape: Shape::Many, span, first_index: 0, source: Text::default(), received_at };
        self.decoder.decode(&payload, &mut batch, &mut rejects).expect("the body is readable");
        assert!(rejects.is_empty(), "{rejects:?}");
        batch
    }

    /// Records to comparable records.
    pub fn normalise(&mut self, batch: &mut Batch, format: Format) {
        let by = match format {
            Format::Alertmanager => IdentifiedBy::AllLabels,
            Format::Event | Format::EventProtobuf => IdentifiedBy::ConfiguredLabels,
        };
        let mut rejects = Vec::new();
        self.normaliser.normalise(&mut self.scratch, batch, batch.received_at, by, &mut rejects);
        assert!(rejects.is_empty(), "{rejects:?}");
    }
}
