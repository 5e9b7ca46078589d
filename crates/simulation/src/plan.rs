//! What one run is to be: everything follows from it.

use ledger::storage::sim::End;

use crate::planted::Planted;

/// One run. The same plan gives the same run, record for record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Decides all that is left to chance.
    pub seed: u64,
    /// Connections that ask for a flow, until the run comes to its orderly end.
    pub flows: u64,
    /// How rough the world is.
    pub weather: DiskFaults,
    /// One crash at a chosen place.
    pub crash: Option<(At, End)>,
    /// A bug to be found.
    pub planted: Option<Planted>,
    /// Whether every step is printed.
    pub trace: Trace,
}

/// How rough the world is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFaults {
    /// Disk faults, a full disk, stalls, crashes, several in a row, and bad destinations.
    Rough,
    /// Nothing goes wrong but what the plan says.
    Calm,
}

/// A place in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// After so many changes of the disk: it happens, and nothing after it.
    Change(u64),
    /// After so many steps of all tasks together.
    Step(u64),
}

/// Whether a run tells what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// Every step, on standard output.
    Told,
    /// Nothing.
    Silent,
}

impl Plan {
    /// A run of this many connections in rough weather.
    #[must_use]
    pub fn rough(seed: u64, flows: u64) -> Self {
        Self { seed, flows, weather: DiskFaults::Rough, crash: None, planted: None, trace: Trace::Silent }
    }

    /// The same with a bug planted.
    #[must_use]
    pub fn with(self, planted: Planted) -> Self {
        Self { planted: Some(planted), ..self }
    }
}

/// As the command takes it.
impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "--seed {} --run {}", self.seed, self.flows)?;
        if self.weather == DiskFaults::Calm {
            f.write_str(" --calm")?;
        }
        match self.crash {
            Some((At::Change(change), _)) => write!(f, " --crash-at-change {change}")?,
            Some((At::Step(step), _)) => write!(f, " --crash-at-step {step}")?,
            None => {}
        }
        if let Some((_, End::Kill)) = self.crash {
            f.write_str(" --kill")?;
        }
        if let Some(planted) = self.planted {
            write!(f, " --planted {planted}")?;
        }
        Ok(())
    }
}
