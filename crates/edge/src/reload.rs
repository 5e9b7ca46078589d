//! A reload of a running server: certificates, users and the limits of one address are read again.

use config::{Config, TlsMaterial};
use tls_settings::certificate::{CertificateError, Fitting, Replaced};

use crate::{Handle, UsersError};

/// A configuration that was read again and cannot be used. All is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// A listener's certificate cannot be used.
    #[error("listener `{listener}`: {error}")]
    Certificate {
        /// Its name.
        listener: String,
        /// Why not.
        error: CertificateError,
    },
    /// A users file cannot be used.
    #[error(transparent)]
    Users(#[from] UsersError),
}

impl Handle {
    /// Takes over the certificates of listeners that are there by the same name, the users of domains, and
    /// `[defence]`: all or none. New handshakes and new proofs are judged by them; open flows stay. Gives the
    /// names of the listeners that have another certificate now.
    ///
    /// # Errors
    /// The first certificate or users file that cannot be used.
    pub fn reload(&self, config: &Config) -> Result<Vec<String>, ReloadError> {
        let users = self.0.domains.read_again(&config.domains)?;
        let mut ready = Vec::new();
        for bound in &self.0.listeners {
            let listener = config.listeners.iter().find(|listener| listener.name.as_str() == bound.name);
            let files = listener.and_then(|listener| listener.transport.tls());
            if let (Some(place), Some(TlsMaterial::Files(files))) = (&bound.certificate, files) {
                let fitting = Fitting::new(&files.chain, &files.key)
                    .map_err(|error| ReloadError::Certificate { listener: bound.name.clone(), error })?;
                ready.push((bound, place, fitting));
            }
        }
        users.take_over();
        self.0.admission.take_over(&config.defence);
        let replaced = ready.into_iter().filter_map(|(bound, place, fitting)| {
            (place.replace(fitting) == Replaced::Other).then(|| bound.name.clone())
        });
        Ok(replaced.collect())
    }
}
