use super::*;
use crate::{AfterClose, CloseWord, Outcome, Verdict};

const EPOCH: u64 = 1_767_225_600_000_000;

fn attempt(ending: Ending, started: u64) -> Attempt {
    Attempt {
        transport: Transport::Ws,
        remote: "127.0.0.2:4000".parse().unwrap(),
        started: EPOCH + started,
        became: Became::Flow,
        registered: Registered::No,
        ending: Some(ending),
        farewell: Farewell::Nothing,
        acted_at: Some(EPOCH + started + 2_000_000),
        expected: ending.expected(),
    }
}

struct Told {
    log: EventLog,
    sequence: u64,
}

impl Told {
    fn new() -> Self {
        Self { log: EventLog::default(), sequence: 0 }
    }

    fn event(mut self, kind: &str, seconds: u64, data: &str) -> Self {
        self.sequence += 1;
        let line = format!(
            r#"{{"id":"edge.1.{}","type":"{kind}","time":"2026-01-01T00:00:{seconds:02}.000000Z","data":{data}}}"#,
            self.sequence
        );
        self.log.line(&line, EPOCH + seconds * 1_000_000 + 500_000);
        self
    }

    fn opened(self, flow: &str, seconds: u64) -> Self {
        self.event("flow.opened", seconds, &format!(r#"{{"flow":"{flow}","remote":"127.0.0.2:4000"}}"#))
    }

    fn closed(self, flow: &str, seconds: u64, cause: Cause, code: &str) -> Self {
        let by = cause.by();
        let data =
            format!(r#"{{"flow":"{flow}","by":"{by}","cause":"{cause}","certainty":"observed"{code}}}"#);
        self.event("flow.closed", seconds, &data)
    }

    fn binding(self, what: &str, cause: &str) -> Self {
        let data = format!(r#"{{"flow":"f","aor":"a@b","contact":"sip:c","cause":"{cause}"}}"#);
        self.event(what, 2, &data)
    }
}

#[test]
fn a_port_used_twice_is_two_connections() {
    let normal = Ending::Close(CloseWord::Normal, AfterClose::Fin);
    let told = Told::new().opened("f", 1).closed("f", 3, Cause::Eof, "").opened("g", 11).closed(
        "g",
        13,
        Cause::CloseFrame,
        r#","code":1000"#,
    );
    let report = reconcile(&told.log, &[attempt(normal, 10_500_000), attempt(Ending::Fin, 500_000)]);
    assert_eq!(report.verdict(), Verdict::AddsUp, "{report}");
    let total = report.total();
    assert_eq!((total.connections, total.right), (2, 2));
    // Acted at 2.5 s, recorded at 3 s, read at 3.5 s.
    assert_eq!(total.recorded.longest(), Some(Duration::from_millis(500)));
    assert_eq!(total.delivered.longest(), Some(Duration::from_secs(1)));
    assert!(report.to_string().contains("Close 1000, then FIN"));
}

#[test]
fn what_is_missing_doubled_or_wrong_is_said() {
    let one = [attempt(Ending::Fin, 500_000)];
    let missing = reconcile(&Told::new().log, &one);
    assert_eq!((missing.missing_opened.count(), missing.total().missing), (1, 1));
    let open = reconcile(&Told::new().opened("f", 1).log, &one);
    assert_eq!((open.missing_closed.count(), open.total().missing), (1, 1));
    let wrong = Told::new().opened("f", 1).closed("f", 3, Cause::Reset, "");
    assert_eq!(reconcile(&wrong.log, &one).wrong_cause.count(), 1);
    let coded = Told::new().opened("f", 1).closed("f", 3, Cause::Eof, r#","code":1000"#);
    assert_eq!(reconcile(&coded.log, &one).wrong_cause.count(), 1);
    let two = Told::new().opened("f", 1).closed("f", 3, Cause::Eof, "").opened("g", 3).closed(
        "g",
        4,
        Cause::Eof,
        "",
    );
    assert_eq!(reconcile(&two.log, &one).doubled.count(), 1);
    for report in [missing, open] {
        assert_eq!(report.verdict(), Verdict::DoesNotAddUp);
        assert!(report.to_string().contains("WRONG"), "{report}");
    }
    let unknown = Told::new().opened("f", 1);
    assert_eq!(reconcile(&unknown.log, &[]).unknown_flows.count(), 1);
}

#[test]
fn a_connection_without_101_may_have_a_flow_but_not_an_open_one() {
    let never = [Attempt { became: Became::Nothing, ..attempt(Ending::Fin, 500_000) }];
    assert_eq!(reconcile(&Told::new().log, &never).verdict(), Verdict::AddsUp);
    let told = Told::new().opened("f", 1);
    assert_eq!(reconcile(&told.log, &never).missing_closed.count(), 1);
    let told = told.closed("f", 3, Cause::Reset, "");
    assert_eq!(reconcile(&told.log, &never).verdict(), Verdict::AddsUp);
}

#[test]
fn what_was_sent_before_the_end_must_be_handled() {
    let told = |cause| {
        let told = Told::new().opened("f", 1).binding("binding.added", "").binding("binding.removed", cause);
        told.closed("f", 3, Cause::Eof, "").log
    };
    let registered = Attempt { registered: Registered::Yes, ..attempt(Ending::Fin, 500_000) };
    let leaving = Attempt { farewell: Farewell::Unregister, ..registered.clone() };
    let found = |log: &EventLog, attempt: &Attempt| {
        let report = reconcile(log, std::slice::from_ref(attempt));
        report.wrong_binding.count() + report.unheard.count()
    };
    assert_eq!(found(&told("flow_closed"), &registered), 0);
    assert_eq!(found(&told("unregistered"), &registered), 1);
    assert_eq!(found(&told("unregistered"), &leaving), 0);
    assert_eq!(found(&told("flow_closed"), &leaving), 1);
    let unbound = Told::new().opened("f", 1).closed("f", 3, Cause::Eof, "");
    assert_eq!(found(&unbound.log, &registered), 1);
    // Its first REGISTER was on its way.
    let newcomer = Attempt { farewell: Farewell::Register, registered: Registered::No, ..registered.clone() };
    assert_eq!(found(&told("flow_closed"), &newcomer), 0);
    assert_eq!(found(&unbound.log, &newcomer), 1);
    let ending = Ending::Reset;
    let thrown_away = Attempt { ending: Some(ending), expected: ending.expected(), ..newcomer.clone() };
    let reset = Told::new().opened("f", 1).closed("f", 3, Cause::Reset, "");
    assert_eq!(found(&reset.log, &thrown_away), 0, "a RST may do that");
    let shutdown = Outcome::any(Cause::Shutdown);
    let refused = Attempt { expected: newcomer.expected.clone().or(shutdown, "SIGTERM came"), ..newcomer };
    assert_eq!(found(&unbound.log, &refused), 0, "a server that shuts down takes no REGISTER");
}
