//! A running server's own audit, asked for now.

use std::{thread, time::Duration};

use event_text::counted;
use serde_json::Value;

use crate::{
    admin_place::{Admin, AdminPlace},
    command::Audit,
    flows::span,
    outcome::Outcome,
    speech::say,
};

/// Looks, while something may only be on its way: what lasts is certain by then.
const LOOKS: usize = 3;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(2);

pub(super) fn run(audit: &Audit) -> Outcome {
    let place = AdminPlace::at(audit.admin.clone(), audit.place.config().cloned());
    match place.find().and_then(|admin| look(&admin)) {
        Ok(view) => report(&view),
        Err(outcome) => outcome,
    }
}

fn look(admin: &Admin) -> Result<Value, Outcome> {
    let mut view = admin.ask("POST", "/api/audit")?;
    for _ in 1..LOOKS {
        if view["certain"] != 0 || view["suspected"] == 0 {
            break;
        }
        thread::sleep(PAUSE);
        view = admin.ask("POST", "/api/audit")?;
    }
    Ok(view)
}

fn report(view: &Value) -> Outcome {
    lines(view).iter().for_each(|line| say!("{line}"));
    let Some(certain) = view["certain"].as_u64() else {
        return Outcome::failed("the server's answer is no audit: is it another version?");
    };
    if certain > 0 {
        let are = if certain == 1 { "is" } else { "are" };
        return Outcome::failed(format!(
            "{} {are} certain: the kernel, the server and the ledger do not agree; please report it",
            counted(certain, "difference")
        ));
    }
    // Half a look proves half.
    view["kernel_error"].as_str().map_or(Outcome::Done, |error| {
        Outcome::failed(format!("the kernel's sockets were not looked at: {error}"))
    })
}

fn lines(view: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let number = |name: &str| view[name].as_u64().map_or_else(|| "-".to_owned(), |number| number.to_string());
    let mut lines = vec![
        format!(
            "looked at {}, in {} ms; the ledger up to {}",
            text(&view["at"]),
            number("took_ms"),
            text(&view["ledger_at"])
        ),
        format!("sockets the kernel has   {:>9}", number("sockets")),
        format!("  of them no flow (yet)  {:>9}", number("sockets_between")),
        format!("flows the server has     {:>9}", number("flows")),
        format!("flows the ledger has     {:>9}", number("flows_in_ledger")),
        format!("users online             {:>9}", number("users")),
        format!("users online, by ledger  {:>9}", number("users_in_ledger")),
        format!("calls the server has     {:>9}", number("calls")),
        format!("calls the ledger has     {:>9}", number("calls_in_ledger")),
        format!("differences, certain     {:>9}", number("certain")),
        format!("  perhaps on their way   {:>9}", number("suspected")),
    ];
    let named = view["differences"].as_array().map(Vec::as_slice).unwrap_or_default();
    for one in named {
        let sure = if one["certain"] == true { "certain" } else { "perhaps" };
        let lasted = Duration::from_millis(one["lasted_ms"].as_u64().unwrap_or_default());
        lines.push(format!(
            "    {sure}, for {}: {} ({})",
            span(lasted),
            text(&one["evidence"]),
            text(&one["kind"])
        ));
    }
    let all = view["certain"].as_u64().unwrap_or(0) + view["suspected"].as_u64().unwrap_or(0);
    let more = all.saturating_sub(named.len() as u64);
    if more > 0 {
        lines.push(format!("    and {more} more"));
    }
    if view["certain"] == 0 && view["kernel_error"].is_null() {
        let agree =
            if view["suspected"] == 0 { "they agree" } else { "they agree, but for what may be on its way" };
        lines.push(agree.to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn code(outcome: Outcome) -> Result<(), String> {
        match outcome {
            Outcome::Done => Ok(()),
            other => Err(other.words()),
        }
    }

    #[test]
    fn a_certain_difference_is_shown_and_fails() {
        let mut view = json!({
            "at": "2026-01-01T00:00:00Z", "ledger_at": "edge1.3.77", "flows": 10, "flows_in_ledger": 11, "sockets": 12,
            "sockets_between": 2, "certain": 1, "suspected": 150, "took_ms": 4, "longest_hold_us": 90,
            "differences": [{
                "kind": "ledger_without_flow", "certain": true, "flow": "edge1.3.f9", "lasted_ms": 65_000,
                "evidence": "edge1.3.f9 is open in the ledger and in no shard's table",
            }],
        });
        let shown = lines(&view).join("\n");
        assert!(shown.contains("certain, for 1m05s: edge1.3.f9 is open in the ledger"), "{shown}");
        assert!(shown.contains("and 150 more") && !shown.contains("they agree"), "{shown}");
        assert!(code(report(&view)).unwrap_err().contains("1 difference is certain"));
        view["certain"] = json!(0);
        view["suspected"] = json!(0);
        view["differences"] = json!([]);
        assert_eq!(lines(&view).last().unwrap(), "they agree");
        assert_eq!(code(report(&view)), Ok(()));
        view["kernel_error"] = json!("/proc/self cannot be read");
        view["sockets"] = Value::Null;
        assert!(code(report(&view)).unwrap_err().contains("/proc/self"));
        assert!(code(report(&json!(null))).unwrap_err().contains("no audit"));
    }
}
