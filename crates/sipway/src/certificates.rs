//! Remarks about certificates for the log of a server.

use config::Config;
use edge::certificate_remarks;

use crate::now::now;

/// Warns of it.
pub(crate) fn warn(config: &Config) {
    for remark in certificate_remarks(config, now() / 1_000_000) {
        tracing::warn!("{remark}");
    }
}
