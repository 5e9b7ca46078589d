//! Which ledger a command reads.

use std::{io::ErrorKind, path::PathBuf};

use clap::Args;
use config::{Config, Machine};
use ledger::{LogReader, ReadError, ReadFrom};
use lifecycle::Node;

use crate::{dev, outcome::Outcome};

/// Where the ledger is.
#[derive(Debug, Args)]
pub(crate) struct LedgerPlace {
    /// The ledger's directory [default: that of `sipway dev`]
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "config")]
    ledger: Option<PathBuf>,
    /// The configuration file that names the ledger's directory
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl LedgerPlace {
    /// The ledger in this directory.
    pub(crate) const fn at(directory: PathBuf) -> Self {
        Self { ledger: Some(directory), config: None }
    }

    /// The configuration file, if that names it.
    pub(crate) const fn config(&self) -> Option<&PathBuf> {
        self.config.as_ref()
    }

    /// Opens it for reading from its beginning, whether or not a node is running on it.
    pub(crate) fn open(&self) -> Result<(LogReader, Node), Outcome> {
        let directory = match (&self.ledger, &self.config) {
            (Some(directory), _) => directory.clone(),
            (None, Some(file)) => {
                Config::load(file, &Machine).map_err(Outcome::Misconfigured)?.ledger.directory
            }
            (None, None) => dev::ledger_directory().map_err(Outcome::failed)?,
        };
        let place = directory.display();
        let none = || {
            Outcome::failed(format!(
                "{place}: there is no ledger here. Name its directory with --ledger, or the server's configuration with --config"
            ))
        };
        let mut reader = match LogReader::open(&directory, ReadFrom::Oldest) {
            Ok(reader) => reader,
            Err(ReadError::Fault(fault)) if fault.source.kind() == ErrorKind::NotFound => return Err(none()),
            Err(error) => return Err(Outcome::failed(format!("{place}: {error}"))),
        };
        let Some(name) = reader.node().map_err(Outcome::failed)? else { return Err(none()) };
        let node = Node::new(&name).map_err(Outcome::failed)?;
        Ok((reader, node))
    }
}
