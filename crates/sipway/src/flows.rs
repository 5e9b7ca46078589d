//! `sipway flows`: the connections that are open on a running server.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    admin_place::{Admin, encoded},
    command::{Flows, FlowsList, FlowsOrder},
    outcome::Outcome,
    speech::say,
};

/// Flows asked for at once.
const PAGE: usize = 1000;

pub(crate) fn run(flows: &Flows) -> Outcome {
    let done = match &flows.order {
        FlowsOrder::List(list) => list.place.find().and_then(|admin| show_list(&admin, list)),
        FlowsOrder::Show { place, flow } => place.find().and_then(|admin| show_one(&admin, flow)),
        FlowsOrder::Close { place, flow, reason } => {
            place.find().and_then(|admin| close(&admin, flow, reason.as_deref()))
        }
        FlowsOrder::Ping { place, flow, timeout } => {
            place.find().and_then(|admin| ping(&admin, flow, timeout.as_deref()))
        }
    };
    done.err().unwrap_or(Outcome::Done)
}

fn show_list(admin: &Admin, list: &FlowsList) -> Result<(), Outcome> {
    let mut filters = String::new();
    let given = [
        ("aor", &list.aor),
        ("remote", &list.remote),
        ("listener", &list.listener),
        ("user_agent", &list.user_agent),
    ];
    for (name, value) in given {
        if let Some(value) = value {
            filters.push_str(&format!("&{name}={}", encoded(value)));
        }
    }
    let mut flows: Vec<Value> = Vec::new();
    let mut after = String::new();
    let more = loop {
        let wanted = PAGE.min(list.limit.saturating_sub(flows.len()).max(1));
        let mut page = admin.ask("GET", &format!("/api/flows?limit={wanted}{filters}{after}"))?;
        if let Value::Array(some) = page["flows"].take() {
            flows.extend(some);
        }
        match page["next"].as_str() {
            None => break false,
            Some(_) if flows.len() >= list.limit => break true,
            Some(next) => after = format!("&after={}", encoded(next)),
        }
    };
    if list.json {
        for flow in &flows {
            say!("{flow}");
        }
        return Ok(());
    }
    if flows.is_empty() {
        say!("no connection is open{}", if filters.is_empty() { "" } else { " that fits" });
        return Ok(());
    }
    print_table(&flows);
    if more {
        say!("… and perhaps more: the first {} are shown, --limit shows others", flows.len());
    }
    Ok(())
}

fn print_table(flows: &[Value]) {
    let now = Timestamp::now();
    let rows = flows.iter().map(|flow| {
        let rtt = flow["ping_rtt_us"].as_u64();
        [
            text(&flow["flow"]).to_owned(),
            age(&flow["opened_at"], now),
            text(&flow["transport"]).to_owned(),
            // What a proxy in front told says more than the proxy's own address.
            flow["forwarded"].as_str().unwrap_or(text(&flow["remote"])).to_owned(),
            rtt.map_or_else(|| "-".to_owned(), milliseconds),
            users(flow),
            text(&flow["user_agent"]).to_owned(),
        ]
    });
    let head = ["FLOW", "OPEN FOR", "VIA", "REMOTE", "ROUND TRIP", "USERS", "USER AGENT"].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    let mut widths = [0; 7];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        say!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

fn users(flow: &Value) -> String {
    let bindings = flow["bindings"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut aors: Vec<_> = bindings.iter().map(|binding| text(&binding["aor"])).collect();
    aors.dedup();
    if aors.is_empty() { "-".to_owned() } else { aors.join(",") }
}

fn show_one(admin: &Admin, flow: &str) -> Result<(), Outcome> {
    let flow = admin.ask("GET", &format!("/api/flows/{}", encoded(flow)))?;
    let Some(facts) = flow.as_object() else { return Err(Outcome::failed("the server told nothing of it")) };
    for (name, value) in facts {
        match value {
            Value::Array(bindings) if name == "bindings" => {
                for binding in bindings {
                    let (aor, contact) = (text(&binding["aor"]), text(&binding["contact"]));
                    say!("{:<17} {aor} at {contact}, for {} s more", "binding", binding["expires_in"]);
                }
            }
            Value::String(value) => say!("{name:<17} {value}"),
            Value::Object(parts) => {
                let parts = parts.values().map(|part| part.as_str().map_or(part.to_string(), str::to_owned));
                say!("{name:<17} {}", parts.collect::<Vec<_>>().join(" "));
            }
            Value::Null => {}
            value => say!("{name:<17} {value}"),
        }
    }
    Ok(())
}

fn close(admin: &Admin, flow: &str, reason: Option<&str>) -> Result<(), Outcome> {
    let reason = reason.map(|reason| format!("?reason={}", encoded(reason))).unwrap_or_default();
    admin.ask("DELETE", &format!("/api/flows/{}{reason}", encoded(flow)))?;
    say!("{flow} is being closed; `sipway why {flow}` tells what became of it");
    Ok(())
}

fn ping(admin: &Admin, flow: &str, timeout: Option<&str>) -> Result<(), Outcome> {
    let timeout = timeout.map(|timeout| format!("?timeout={}", encoded(timeout))).unwrap_or_default();
    let answer = admin.ask("POST", &format!("/api/flows/{}/ping{timeout}", encoded(flow)))?;
    say!("{flow} answered after {}", milliseconds(answer["rtt_us"].as_u64().unwrap_or_default()));
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

fn milliseconds(micros: u64) -> String {
    format!("{:.1} ms", micros as f64 / 1000.0)
}

fn age(since: &Value, now: Timestamp) -> String {
    let since = text(since).parse::<Timestamp>().ok();
    let age = since.and_then(|since| Duration::try_from(now.duration_since(since)).ok());
    age.map_or_else(|| "-".to_owned(), span)
}

/// A length of time in its two largest units.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        let shown = |seconds| span(Duration::from_secs(seconds));
        assert_eq!([5, 65, 3_700, 90_000].map(shown), ["5s", "1m05s", "1h01m", "1d01h"]);
    }
}
