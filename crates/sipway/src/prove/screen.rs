//! What is seen while it runs: a bar on a terminal, and a line for each round.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::{Duration, Instant};

use prove::Progress;

use crate::speech::{complain, say};

/// The bar is drawn no more often.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// Characters of the bar.
const WIDTH: usize = 24;

/// Where the lines of rounds go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lines {
    /// To standard output.
    Out,
    /// To standard error: standard output is for the report.
    Err,
}

pub(super) struct Screen {
    lines: Lines,
    /// A terminal to draw on.
    drawn: Option<Instant>,
    is_terminal: bool,
}

impl Screen {
    pub(super) fn new(lines: Lines) -> Self {
        Self { lines, drawn: None, is_terminal: stderr().is_terminal() }
    }

    /// Draws how far a round is.
    pub(super) fn progress(&mut self, round: u64, what: &str, flows: u64, progress: Progress) {
        let is_step = !matches!(progress, Progress::Ready(_) | Progress::Ended(_));
        if !self.is_terminal || (!is_step && self.drawn.is_some_and(|at| at.elapsed() < DRAW_EVERY)) {
            return;
        }
        let (doing, done) = match progress {
            Progress::Ready(done) => ("opening", done as u64),
            Progress::Ending => ("ending", 0),
            Progress::Striking => ("the server dies and comes back", flows),
            Progress::Ended(done) => ("ending", done as u64),
            Progress::AwaitingEvents => ("waiting for the last events", flows),
        };
        let done = done.min(flows);
        let filled = usize::try_from(done * WIDTH as u64 / flows.max(1)).unwrap_or(WIDTH);
        let bar: String = (0..WIDTH).map(|at| if at < filled { '█' } else { '░' }).collect();
        let mut err = stderr().lock();
        // Carriage return, erase to the end of the line.
        let _ = write!(err, "\r\x1b[K{round:>4}  {what:<36} {bar} {done:>6}/{flows}  {doing}");
        let _ = err.flush();
        self.drawn = Some(Instant::now());
    }

    /// A line that stays.
    pub(super) fn line(&mut self, line: &str) {
        if self.drawn.take().is_some() {
            let mut err = stderr().lock();
            let _ = write!(err, "\r\x1b[K");
            let _ = err.flush();
        }
        match self.lines {
            Lines::Out => say!("{line}"),
            Lines::Err => complain!("{line}"),
        }
    }
}
