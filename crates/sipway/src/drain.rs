//! `sipway drain`: empties a running server, and shows how far it is.

use std::{
    io::{self, IsTerminal as _, Write as _},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    admin_place::{Admin, encoded},
    command::Drain,
    flows::span,
    outcome::Outcome,
    speech::say,
};
use event_text::counted;

/// How often the server is asked.
const LOOK: Duration = Duration::from_millis(250);

/// How often a line is said where no terminal shows a bar.
const LINE: Duration = Duration::from_secs(5);

/// Cells of the bar.
const BAR: usize = 30;

pub(crate) fn run(drain: &Drain) -> Outcome {
    let done =
        drain.place.find().and_then(|admin| if drain.cancel { cancel(&admin) } else { begin(&admin, drain) });
    done.err().unwrap_or(Outcome::Done)
}

fn cancel(admin: &Admin) -> Result<(), Outcome> {
    let progress = admin.ask("DELETE", "/api/drain")?;
    say!("new connections are accepted again; {}", open(&progress));
    Ok(())
}

fn open(progress: &Value) -> String {
    let left = progress["left"].as_u64().unwrap_or_default();
    format!("{} {} open", counted(left, "connection"), if left == 1 { "is" } else { "are" })
}

fn begin(admin: &Admin, drain: &Drain) -> Result<(), Outcome> {
    let over = if drain.now { "0s" } else { &drain.over };
    let progress = admin.ask("POST", &format!("/api/drain?over={}", encoded(over)))?;
    let bar = io::stdout().is_terminal();
    say!("draining over {over}: {}, and no new ones are let in", open(&progress));
    if bar {
        say!("Ctrl-C ends this command, not the drain; `sipway drain --cancel` does.");
    }
    let shown = watch(admin, progress, bar);
    if bar {
        say!("");
    }
    let last = shown?;
    say!(
        "drained: {} closed, none open; `sipway drain --cancel` lets new connections in again",
        last["closed"]
    );
    Ok(())
}

/// Shows how far it is until nothing is left; gives the last news.
fn watch(admin: &Admin, mut progress: Value, bar: bool) -> Result<Value, Outcome> {
    let mut next_line = Instant::now() + LINE;
    loop {
        if bar {
            // An unseen bar is no reason to end.
            let mut out = io::stdout().lock();
            let _ = write!(out, "\r{}\x1b[K", line(&progress, Bar::Drawn)).and_then(|()| out.flush());
        } else if Instant::now() >= next_line {
            say!("{}", line(&progress, Bar::None));
            next_line = Instant::now() + LINE;
        }
        match progress["state"].as_str() {
            Some("drained") => return Ok(progress),
            Some("draining") => {}
            Some("shutting_down") => {
                return Err(Outcome::failed("the server is shutting down: it closes the rest on its own"));
            }
            _ => {
                return Err(Outcome::failed(
                    "someone cancelled the drain: new connections are accepted again",
                ));
            }
        }
        thread::sleep(LOOK);
        progress = admin.ask("GET", "/api/drain")?;
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bar {
    Drawn,
    None,
}

fn line(progress: &Value, bar: Bar) -> String {
    let number = |name: &str| progress[name].as_u64().unwrap_or_default();
    let (closed, left) = (number("closed"), number("left"));
    let all = (closed + left).max(1);
    let time = Duration::from_secs_f64(progress["seconds_left"].as_f64().unwrap_or_default().max(0.0));
    let percent = if left == 0 { 100 } else { closed * 100 / all };
    let news = format!("{percent:>3} %  {closed} closed, {left} left, {} to go", span(time));
    if bar == Bar::None {
        return news;
    }
    let full = usize::try_from(percent).unwrap_or_default() * BAR / 100;
    format!("{}{}  {news}", "█".repeat(full), "░".repeat(BAR - full))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines() {
        let half = json!({ "closed": 30, "left": 30, "seconds_left": 61.2 });
        assert_eq!(line(&half, Bar::None), " 50 %  30 closed, 30 left, 1m01s to go");
        let drawn = line(&half, Bar::Drawn);
        assert_eq!((drawn.matches('█').count(), drawn.matches('░').count()), (15, 15), "{drawn}");
        let none = json!({ "closed": 0, "left": 0, "seconds_left": 0.0 });
        assert!(line(&none, Bar::None).starts_with("100 %"));
    }
}
