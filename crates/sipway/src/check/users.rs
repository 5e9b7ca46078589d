//! Users and keys of domains, read as the server would.

use config::{Config, Host, WebhookUrl};
use event_text::counted;
use identity::UsersFound;

use super::Findings;
use crate::speech::say;

/// Gives the addresses where keys are to be fetched from.
pub(super) fn look<'c>(config: &'c Config, findings: &mut Findings) -> Vec<(&'c Host, WebhookUrl)> {
    let mut remote = Vec::new();
    for domain in &config.domains {
        let name = &domain.name;
        match UsersFound::of(domain, &config.domains) {
            Err(error) => findings.error(error),
            Ok(UsersFound::NotAsked) => {}
            Ok(UsersFound::Users { count, remarks }) => {
                say!("domain {name}: {}", counted(count as u64, "user"));
                for remark in remarks {
                    findings.warning(format_args!("domain {name}: {remark}"));
                }
            }
            Ok(UsersFound::Keys(keys)) => say!("domain {name}: tokens by {}", keys.join(", ")),
            Ok(UsersFound::Remote(url)) => remote.push((name, url)),
        }
    }
    remote
}
