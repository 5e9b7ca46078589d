use super::*;

fn event(id: &str, kind: &str, data: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"edge.{id}","type":"{kind}","time":"2026-01-01T00:00:00.000001Z","data":{data}}}"#
    )
}

fn opened(id: &str, flow: &str) -> String {
    event(id, "flow.opened", &format!(r#"{{"flow":"{flow}","remote":"127.0.0.2:4000"}}"#))
}

fn closed(id: &str, flow: &str) -> String {
    let data = format!(r#"{{"flow":"{flow}","by":"client","cause":"eof","certainty":"observed"}}"#);
    event(id, "flow.closed", &data)
}

fn binding(id: &str, kind: &str, flow: &str) -> String {
    let data = format!(r#"{{"flow":"{flow}","aor":"a@b","contact":"sip:c","cause":"unregistered"}}"#);
    event(id, kind, &data)
}

fn log(lines: &[String]) -> EventLog {
    let mut log = EventLog::default();
    lines.iter().for_each(|line| log.line(line, 5));
    log
}

#[test]
fn a_whole_life_is_without_fault() {
    let log = log(&[
        event("1.1", "node.started", "{}"),
        opened("1.2", "f"),
        binding("1.3", "binding.added", "f"),
        binding("1.4", "binding.removed", "f"),
        closed("1.5", "f"),
        event("1.6", "something.new", "[]"),
        event("1.7", "node.stopped", "{}"),
    ]);
    assert_eq!(log.faults.count(), 0, "{:?}", log.faults);
    assert_eq!((log.opened_count(), log.closed_count(), log.open_count()), (1, 1, 0));
    assert_eq!(log.flows()["f"].removals, ["unregistered"]);
    assert_eq!(log.flows()["f"].closes[0].at, 1_767_225_600_000_001);
    assert_eq!(log.runs().collect::<Vec<_>>(), [("edge", 1, 7)]);
}

#[test]
fn the_same_event_again_is_no_fault_but_another_close_is() {
    let log = log(&[opened("1.1", "f"), closed("1.2", "f"), closed("1.2", "f"), closed("1.3", "f")]);
    assert_eq!(log.redelivered().examples(), ["edge.1.2"]);
    assert_eq!((log.faults.count(), log.faults.closed_twice.count()), (1, 1));
    assert_eq!(log.flows()["f"].closes.len(), 2);
}

#[test]
fn each_fault_is_found() {
    let found = |lines: &[String], which: fn(&StreamFaults) -> &Findings| {
        let faults = log(lines).faults;
        assert_eq!((faults.count(), which(&faults).count()), (1, 1), "{faults:?}");
    };
    found(&[opened("1.1", "f"), opened("1.3", "g")], |faults| &faults.gaps);
    found(&[opened("1.2", "f")], |faults| &faults.gaps);
    found(&[opened("1.1", "f"), opened("1.2", "f")], |faults| &faults.opened_twice);
    found(&[closed("1.1", "f")], |faults| &faults.closed_without_open);
    found(&[String::from("nonsense")], |faults| &faults.unreadable);
    found(&[event("x", "flow.opened", "{}")], |faults| &faults.unreadable);
    let [open, add] = [opened("1.1", "f"), binding("1.2", "binding.added", "f")];
    found(&[open.clone(), add, closed("1.3", "f")], |faults| &faults.binding_outlived);
    let late = binding("1.3", "binding.added", "f");
    found(&[open.clone(), closed("1.2", "f"), late], |faults| &faults.after_close);
    let false_by = closed("1.2", "f").replace("client", "server");
    found(&[open.clone(), false_by], |faults| &faults.contradictions);
    let false_certainty = closed("1.2", "f").replace("observed", "journal_replay");
    found(&[open.clone(), false_certainty], |faults| &faults.contradictions);
    found(&[open, binding("1.2", "binding.removed", "f")], |faults| &faults.contradictions);
    let user = |id: &str, kind: &str, aor: &str| event(id, kind, &format!(r#"{{"aor":"{aor}"}}"#));
    let [online, offline] = [user("1.1", "user.online", "a@b"), user("1.2", "user.offline", "a@b")];
    found(&[online.clone(), user("1.2", "user.online", "a@b")], |faults| &faults.out_of_turn);
    found(&[user("1.1", "user.offline", "a@b")], |faults| &faults.out_of_turn);
    let again = user("1.3", "user.offline", "a@b");
    found(&[online.clone(), offline.clone(), again], |faults| &faults.out_of_turn);
    assert_eq!(log(&[online, offline, user("1.3", "user.online", "a@b")]).faults.count(), 0);
}

#[test]
fn incarnations_count_apart() {
    let log = log(&[opened("1.1", "f"), event("2.1", "node.started", "{}"), closed("2.2", "f")]);
    assert_eq!(log.faults.count(), 0, "{:?}", log.faults);
    assert_eq!(log.runs().count(), 2);
}

#[test]
fn whoever_joins_a_stream_has_missed_nothing_before() {
    let mut log = EventLog::joining();
    [
        opened("1.7", "f"),
        closed("1.8", "f"),
        event("1.10", "node.stopped", "{}"),
        event("2.2", "node.started", "{}"),
    ]
    .iter()
    .for_each(|line| log.line(line, 5));
    assert_eq!(
        log.faults.gaps.count(),
        2,
        "within the run, and at the beginning of the next: {:?}",
        log.faults
    );
}

#[test]
fn events_without_ids_are_told_apart_by_address_and_order() {
    let told = |kind: &str, port: u16| {
        format!(r#"{{"type":"{kind}","data":{{"remote":"127.0.0.2:{port}","transport":"ws"}}}}"#)
    };
    let log = log(&[
        told("flow.opened", 4000),
        told("flow.closed", 4000),
        // The same port again.
        told("flow.opened", 4000),
        told("flow.closed", 4000),
        told("flow.opened", 4001),
        told("flow.closed", 4001),
        told("flow.closed", 4001),
        told("flow.closed", 4002),
        told("something.else", 4003),
    ]);
    assert_eq!((log.opened_count(), log.closed_count(), log.open_count()), (3, 3, 0));
    let StreamFaults { closed_twice, closed_without_open, .. } = &log.faults;
    assert_eq!((closed_twice.count(), closed_without_open.count(), log.faults.count()), (1, 1, 2));
    assert!(log.flows().values().flat_map(|flow| &flow.closes).all(|close| close.cause.is_none()));
}
