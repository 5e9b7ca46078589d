//! Turns the `[ledger]` section into the settings of the crates that keep the ledger.

use ledger::{Durability, Settings};
use lifecycle::Node;
use state::Retention;

/// How the ledger is written.
pub(crate) fn settings(config: &config::Ledger, node: &Node) -> Settings {
    let mut settings = Settings::new(node.as_str());
    settings.segment_bytes = config.segment_size;
    settings.block_bytes =
        settings.block_bytes.min(usize::try_from(config.segment_size / 4).unwrap_or(usize::MAX));
    settings.spare_bytes = settings.spare_bytes.min(config.segment_size);
    settings.durability = match config.durability {
        config::Durability::Memory => Durability::Memory,
        config::Durability::Disk => Durability::Disk,
    };
    settings
}

/// How long the ledger is kept, and for which sinks.
pub(crate) fn retention(config: &config::Ledger, sinks: &[config::Sink]) -> Retention {
    Retention {
        keep_for: config.keep_for,
        keep_size: config.keep_size,
        sinks: sinks.iter().map(|sink| sink.name.as_str().to_owned()).collect(),
        drop_unread_of: config.drop_unread_of.iter().map(|name| name.as_str().to_owned()).collect(),
    }
}
