//! The metrics page, in OpenMetrics text.

mod sinks;

use std::fmt;

use ::metrics::{Count, Gauge};
use ::sinks::Sinks;
use edge::Handle;
use ledger::Health;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text::encode},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use self::sinks::SinkStatuses;

/// The page as of now.
pub(crate) fn page(server: &Handle, sinks: &Sinks, event_readers: usize) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("sipway");
    registry.register_collector(Box::new(Snapshot { server: server.clone(), event_readers }));
    registry.register_collector(Box::new(SinkStatuses(sinks.status())));
    let mut page = String::new();
    encode(&mut page, &registry)?;
    Ok(page)
}

#[derive(Debug)]
struct Snapshot {
    server: Handle,
    event_readers: usize,
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let server = &self.server;
        for &count in Count::ALL {
            let counter = ConstCounter::new(server.metrics().get(count));
            counter.encode(encoder.encode_descriptor(
                count.name(),
                count.help(),
                None,
                counter.metric_type(),
            )?)?;
        }
        let help = "SIP messages understood although they break the grammar, by how";
        let mut family = encoder.encode_descriptor("messages_forgiven", help, None, MetricType::Counter)?;
        for (what, count) in server.metrics().forgiven() {
            ConstCounter::new(count).encode(family.encode_family(&[("what", what)])?)?;
        }
        let help = "Bindings that an upstream did not take back when their connection had ended";
        let mut family =
            encoder.encode_descriptor("upstream_unregisters_failed", help, None, MetricType::Counter)?;
        for (upstream, count) in server.unregisters_failed() {
            ConstCounter::new(count).encode(family.encode_family(&[("upstream", upstream)])?)?;
        }
        let help = "When the certificate of a listener expires, seconds since the Unix epoch";
        let name = "certificate_expires_timestamp_seconds";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (listener, at) in server.certificates() {
            ConstGauge::new(at).encode(family.encode_family(&[("listener", listener)])?)?;
        }
        let status = server.ledger().status();
        let (bindings, users) = server.bindings();
        let health = match status.health {
            Health::Good => 0,
            Health::Stalled { .. } => 1,
            Health::Failed { .. } => 2,
            Health::Closed => 3,
        };
        let gauges: [(&str, &str, u64); 13] = [
            ("flows_live", "Flows that are open", server.live()),
            ("flows_max", "Flows that may be open", server.max_flows()),
            ("bindings", "Bindings there are", bindings as u64),
            ("users_registered", "Addresses-of-record with a binding", users as u64),
            ("event_readers", "Readers of /api/events", self.event_readers as u64),
            ("ledger_health", "0 good, 1 stalled, 2 failed, 3 closed", health),
            ("ledger_pending_bytes", "Bytes that wait for the disk", status.pending_bytes),
            ("ledger_reserved_bytes", "Bytes promised to the closes of open flows", status.reserved_bytes),
            ("ledger_available_bytes", "Bytes that could be promised now", status.available_bytes),
            ("ledger_sequence", "The last sequence given out in this incarnation", status.appended),
            ("ledger_durable_sequence", "The last durable sequence of this incarnation", status.durable),
            ("ledger_commits", "Commits, one sync each", status.commits),
            ("ledger_bytes", "Bytes of all segments and spares", server.ledger().bytes_on_disk()),
        ];
        let measured =
            Gauge::ALL.iter().map(|&gauge| (gauge.name(), gauge.help(), server.metrics().gauge(gauge)));
        for (name, what, value) in gauges.into_iter().chain(measured) {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, what, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
