//! What the metrics page says of each sink, by its name.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use sinks::{State, Status};

/// Name, what it says, and where it comes from.
type Measured = (&'static str, &'static str, fn(&Status, SystemTime) -> f64);
type Counted = (&'static str, &'static str, fn(&Status) -> u64);

const GAUGES: &[Measured] = &[
    ("sink_state", "0 working, 1 retrying, 2 blocked by an event that is refused, 3 stopped", |status, _| {
        match status.state {
            State::Working => 0.0,
            State::Retrying => 1.0,
            State::Blocked => 2.0,
            State::Stopped => 3.0,
        }
    }),
    ("sink_lag_events", "Records in the ledger that the sink has not got over", |status, _| {
        status.lag as f64
    }),
    ("sink_lag_seconds", "Age of the oldest event that waits for the sink", |status, now| {
        status.delay(now).as_secs_f64()
    }),
    ("sink_last_delivery_timestamp_seconds", "When the sink last took something; 0 if never", |status, _| {
        let since = status.last_delivery.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        since.map_or(0.0, |since| since.as_secs_f64())
    }),
];

const COUNTERS: &[Counted] = &[
    ("sink_delivered", "Events that the sink took", |status| status.delivered),
    ("sink_deliveries", "Requests or writes with events that the sink took", |status| status.deliveries),
    ("sink_retries", "Attempts after a failure", |status| status.retries),
    ("sink_dead_lettered", "Refused events put into the dead-letter file", |status| status.dead_lettered),
    ("sink_gaps", "Times that events may be missing at the sink", |status| status.gaps),
];

/// All sinks as of now.
#[derive(Debug)]
pub(super) struct SinkStatuses(pub(super) Vec<Status>);

impl Collector for SinkStatuses {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let now = SystemTime::now();
        for &(name, help, value) in GAUGES {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for status in &self.0 {
                let labels = [("sink", status.name.as_str())];
                ConstGauge::new(value(status, now)).encode(family.encode_family(&labels)?)?;
            }
        }
        for &(name, help, value) in COUNTERS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for status in &self.0 {
                let labels = [("sink", status.name.as_str())];
                ConstCounter::new(value(status)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
