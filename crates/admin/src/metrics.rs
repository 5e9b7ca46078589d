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

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, path::Path};

    use super::*;
    use crate::{Access, test_server::Served};

    /// Every name on the page, as it is written there: that of a counter with `_total`.
    async fn names() -> BTreeMap<String, usize> {
        let served = Served::new("metrics", Access::Anyone);
        let page = page(&served.server.handle(), &Sinks::default(), 0).unwrap();
        served.end().await;
        let mut names = BTreeMap::new();
        for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, kind) = line.split_once(' ').unwrap();
            let ending = if kind == "counter" { "_total" } else { "" };
            *names.entry(format!("{name}{ending}")).or_default() += 1;
        }
        names
    }

    #[tokio::test]
    async fn each_name_is_on_the_page_once() {
        let names = names().await;
        assert!(names.len() > Count::ALL.len() + Gauge::ALL.len(), "{names:?}");
        assert!(names.values().all(|times| *times == 1), "{names:?}");
    }

    /// `sipway_NAME` in a document is a name on the page, `sipway_NAME…` the beginning of one.
    #[tokio::test]
    async fn documents_name_only_metrics_that_there_are() {
        let names = names().await;
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let rooms = ["", "docs", "docs/internals"].map(|room| root.join(room));
        let mut found = 0;
        for document in rooms.iter().flat_map(|room| fs::read_dir(room).unwrap()) {
            let document = document.unwrap().path();
            if document.extension().is_none_or(|ending| ending != "md") {
                continue;
            }
            let content = fs::read_to_string(&document).unwrap();
            for (at, _) in content.match_indices("sipway_") {
                let rest = &content[at..];
                let end = rest.find(|next: char| next != '_' && !next.is_ascii_alphanumeric());
                let (name, behind) = rest.split_at(end.unwrap_or(rest.len()));
                let is_known = if behind.starts_with('…') {
                    names.keys().any(|known| known.starts_with(name))
                } else {
                    names.contains_key(name)
                };
                assert!(is_known, "{}: there is no metric {name}", document.display());
                found += 1;
            }
        }
        assert!(found > 10, "{found}");
    }
}
