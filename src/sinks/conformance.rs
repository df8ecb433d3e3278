//! What every sink must do, whatever it is: one suite, run by each sink's tests.

use std::sync::Arc;

use super::Sink;
use crate::delivery::{Action, Delivery};
use crate::event::Timestamp;
use crate::identity::IncidentId;

/// A small delivery of incident `incident`.
pub(super) fn delivery(incident: u64, sequence: u64) -> Delivery {
    let mut delivery = Delivery {
        sink: Arc::from("ops"),
        incident: IncidentId(incident),
        sequence,
        action: Action::Opened,
        body: Vec::new(),
        created_at: Timestamp::from_parts(1_700_000_000, 0),
    };
    let id = delivery.id();
    let body = format!(r#"{{"delivery_id":"{id}","message":"we work on it\nnext: 12:00","title":"päger ✓"}}"#);
    delivery.body = body.into_bytes();
    delivery
}

/// Runs the suite; `received` tells the bodies that arrived so far.
pub(super) async fn check(sink: &dyn Sink, received: impl AsyncFn() -> Vec<Vec<u8>>) {
    let arrived = async |delivery: &Delivery| received().await.iter().filter(|body| **body == delivery.body).count();

    // What is confirmed has arrived, byte for byte, and an incident's deliveries in the order they were sent.
    for sequence in 1..=3 {
        sink.deliver(&delivery(1, sequence)).await.expect("confirmed");
        assert_eq!(arrived(&delivery(1, sequence)).await, 1, "confirmed means arrived");
    }
    let bodies = received().await;
    let place = |sequence| bodies.iter().position(|body| *body == delivery(1, sequence).body);
    assert!(place(1) < place(2) && place(2) < place(3), "in order");

    // A repeat is taken, with the same bytes.
    sink.deliver(&delivery(1, 3)).await.expect("a repeat is no error");
    assert_eq!(arrived(&delivery(1, 3)).await, 2, "repeats are byte-identical");

    // Different incidents at once.
    let many: Vec<Delivery> = (10..26).map(|incident| delivery(incident, 1)).collect();
    let results = futures_util::future::join_all(many.iter().map(|delivery| sink.deliver(delivery))).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let bodies = received().await;
    let once = |delivery: &&Delivery| bodies.iter().filter(|body| **body == delivery.body).count() == 1;
    assert_eq!(many.iter().filter(once).count(), many.len(), "each once");

    // A dropped attempt damages nothing.
    drop(sink.deliver(&delivery(2, 1)));
    sink.deliver(&delivery(2, 1)).await.expect("usable after a dropped attempt");
    assert!(arrived(&delivery(2, 1)).await >= 1);
}
