//! Measures the lag of each partition: the end of the log, asked of the brokers, less our stored position.
//!
//! On a thread of its own, because a broker answers such a question only after the fetch that it is holding back,
//! up to half a second later. While it cannot be answered the gauges stay as they are.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::Offset;

use super::assignment::{Context, list};
use crate::metrics::Metrics;

const INTERVAL: Duration = Duration::from_secs(2);
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Measures until the sender of `stop` is gone.
pub(super) fn run(consumer: &BaseConsumer<Context>, metrics: &Arc<Metrics>, stop: &Receiver<()>) {
    while stop.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
        measure(consumer, metrics);
    }
}

fn measure(consumer: &BaseConsumer<Context>, metrics: &Metrics) {
    let context = consumer.context();
    let assigned = context.assignment().partitions.clone();
    if assigned.is_empty() {
        return;
    }
    let question = list(assigned.keys().map(|partition| (partition.clone(), Offset::End)));
    let Ok(answer) = consumer.offsets_for_times(question, ANSWER_MAX) else { return };
    for element in answer.elements() {
        let Offset::Offset(end) = element.offset() else { continue };
        let found = assigned
            .iter()
            .find(|((topic, partition), _)| *partition == element.partition() && &**topic == element.topic());
        let Some((partition, known)) = found else { continue };
        // Where nothing is stored yet, what was read is the nearest there is.
        let Some(position) = context.stored(partition).or(known.next) else { continue };
        metrics.set_kafka_lag(&partition.0, partition.1, (end - position).max(0) as f64);
    }
}
