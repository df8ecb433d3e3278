//! What holds of priorities, whatever breaks, whoever says what, and whatever is configured later.

use std::collections::BTreeMap;

use incidentd::engine::decision::Reason;
use incidentd::identity::IncidentId;
use incidentd::rules::Priority;
use proptest::prelude::*;
use proptest::sample::Index;

use super::{Rig, compiled_with_services, config, eventful_steps, rules_of_all_sorts_and_unions};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_priority_never_falls_unless_a_person_says_so_and_a_rise_that_is_told_is_one(
        (config, before, after) in (config(), rules_of_all_sorts_and_unions(), rules_of_all_sorts_and_unions()),
        steps in eventful_steps(),
        reload_at in any::<Index>(),
    ) {
        let mut rig = Rig::new(&config, compiled_with_services(&before), &[]);
        let reload_at = reload_at.index(steps.len());
        let mut known: BTreeMap<IncidentId, Priority> = BTreeMap::new();
        for (number, step) in steps.iter().enumerate() {
            if number == reload_at {
                rig.shard.reload(compiled_with_services(&after), config.clone());
            }
            for decision in rig.step(step).decisions {
                let doc = &decision.incident;
                let fits = match (decision.reason, known.insert(doc.id, doc.priority)) {
                    (Reason::PrioritySet, _) | (_, None) => true,
                    (Reason::PriorityRaised, Some(before)) => doc.priority < before,
                    (_, Some(before)) => doc.priority <= before,
                };
                prop_assert!(fits, "{:?}", decision);
                prop_assert!(doc.priority_reason.starts_with(doc.priority.as_str()), "{}", doc.priority_reason);
            }
        }
    }
}
