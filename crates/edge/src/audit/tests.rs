//! The comparison against connections whose whole life is known: nothing is found in what only comes and
//! goes, however the looks fall, and everything that is planted is.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use lifecycle::{DifferenceKind, FlowId, Text};
use proptest::prelude::*;

use super::comparison::{
    Accounts, Comparison, Confidence, Counted, Kernel, LedgerTotals, Patience, Subject, Tally, UsersAndCalls,
    Views,
};
use super::sockets::Socket;
use super::{Listed, Stage};

/// The longest handshake and the longest parting, in milliseconds.
const HANDSHAKE: u64 = 10_000;
const PARTING: u64 = 5_000;

/// Faults of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// Its descriptor is never let go.
    Leak,
    /// Its close is never written.
    CloseLost,
    /// Its opening was never written.
    OpeningLost,
    /// Its socket is gone while it is open, and nobody notices.
    Unnoticed,
}

/// One connection; times are milliseconds of the run.
#[derive(Clone, Debug)]
struct Connection {
    accepted: u64,
    /// How long the handshake took; then it asked to be a flow.
    handshake: u64,
    becomes: Becomes,
    /// How long it parted.
    parting: u64,
    fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Becomes {
    Refused,
    /// A flow for so long once it was open. Its peer is gone so long before the end is noticed.
    Flow {
        lives: u64,
        unnoticed: u64,
    },
}

/// A run: its connections, and the time in which the disk took nothing.
#[derive(Clone, Debug)]
struct Run {
    connections: Vec<Connection>,
    stall: (u64, u64),
}

struct Life {
    asked: u64,
    open: u64,
    closed: u64,
    gone: u64,
    is_flow: bool,
    peer_gone: u64,
}

impl Run {
    fn durable(&self, appended: u64) -> u64 {
        let (from, length) = self.stall;
        if (from..from + length).contains(&appended) { from + length } else { appended + 1 }
    }

    fn life(&self, connection: &Connection) -> Life {
        let asked = connection.accepted + connection.handshake;
        match connection.becomes {
            Becomes::Refused => {
                let gone = asked + connection.parting;
                Life { asked, open: u64::MAX, closed: u64::MAX, gone, is_flow: false, peer_gone: u64::MAX }
            }
            Becomes::Flow { lives, unnoticed } => {
                let open = self.durable(asked);
                let closed = open + lives;
                let gone = closed + connection.parting;
                Life { asked, open, closed, gone, is_flow: true, peer_gone: closed.saturating_sub(unnoticed) }
            }
        }
    }

    /// Every record with the time it was appended, in order.
    fn records(&self) -> Vec<(u64, FlowId, bool)> {
        let mut records = Vec::new();
        for (number, connection) in self.connections.iter().enumerate() {
            let life = self.life(connection);
            if life.is_flow && connection.fault != Fault::OpeningLost {
                records.push((life.asked, flow(number), true));
                if connection.fault != Fault::CloseLost {
                    records.push((life.closed, flow(number), false));
                }
            }
        }
        records.sort();
        records
    }

    /// A look whose views are taken at these times.
    fn views(&self, began: Instant, [books, tables, kernel]: [u64; 3]) -> Views {
        let records = self.records();
        let mut view = Views {
            at: began + Duration::from_millis(kernel),
            books: LedgerTotals::default(),
            tables: Vec::new(),
            tallies: Vec::new(),
            appended: records.iter().filter(|(at, ..)| *at <= tables).count() as u64,
            kernel: None,
            pages: HashSet::new(),
            kept: UsersAndCalls::default(),
        };
        for (at, flow, opened) in records {
            if self.durable(at) > books {
                break;
            }
            view.books.to += 1;
            if opened {
                view.books.open.insert(flow);
                view.books.tally.opened += 1;
            } else {
                view.books.open.remove(&flow);
                view.books.tally.closed += 1;
            }
        }
        view.books.tally.held = view.books.open.len() as u64;
        let mut seen = Kernel::default();
        for (number, connection) in self.connections.iter().enumerate() {
            let life = self.life(connection);
            let inode = number as u64 + 1;
            if life.is_flow && (life.asked..life.closed).contains(&tables) {
                let stage = if tables < life.open { Stage::Opening } else { Stage::Open };
                view.tables.push(Listed { flow: flow(number), socket: Some(inode), stage });
            }
            let held =
                connection.accepted <= kernel && (kernel < life.gone || connection.fault == Fault::Leak);
            if held {
                seen.held.insert(inode);
            }
            let unnoticed = connection.fault == Fault::Unnoticed && kernel > life.open;
            if held && kernel < life.peer_gone && !unnoticed {
                seen.connected.push(socket(inode));
            }
        }
        let held = view.tables.len() as u64;
        view.tallies.push(Tally { opened: held + 7, closed: 7, held });
        view.kernel = Some(seen);
        view
    }

    /// Every kind that is certain, and of which connection, after looks at these times.
    fn certain(&self, looks: &[[u64; 3]]) -> HashSet<(DifferenceKind, u64)> {
        let (began, mut comparison) = (Instant::now(), comparison());
        let mut certain = HashSet::new();
        for &look in looks {
            for difference in comparison.compare(&self.views(began, look)) {
                if difference.confidence == Confidence::Confirmed {
                    let number = match difference.subject {
                        Subject::Flow(_, flow) => flow.counter,
                        Subject::Socket(inode) => inode - 1,
                        _ => u64::MAX,
                    };
                    certain.insert((difference.subject.kind(), number));
                }
            }
        }
        certain
    }
}

fn flow(number: usize) -> FlowId {
    FlowId { incarnation: 1, counter: number as u64 }
}

fn socket(inode: u64) -> Socket {
    Socket { inode, local: "127.0.0.1:80".parse().unwrap(), remote: "127.0.0.1:40000".parse().unwrap() }
}

fn comparison() -> Comparison {
    let millis = Duration::from_millis;
    Comparison::new(Patience { before: millis(HANDSHAKE), after: millis(PARTING) })
}

fn connection() -> impl Strategy<Value = Connection> {
    let becomes = prop_oneof![
        1 => Just(Becomes::Refused),
        3 => (0..200_000u64, 0..900u64).prop_map(|(lives, unnoticed)| Becomes::Flow { lives, unnoticed }),
        1 => (0..50u64, 0..900u64).prop_map(|(lives, unnoticed)| Becomes::Flow { lives, unnoticed }),
    ];
    (0..200_000u64, 0..HANDSHAKE, becomes, 0..PARTING).prop_map(|(accepted, handshake, becomes, parting)| {
        Connection { accepted, handshake, becomes, parting, fault: Fault::None }
    })
}

fn run() -> impl Strategy<Value = Run> {
    let stall = (0..200_000u64, 0..40_000u64);
    (prop::collection::vec(connection(), 1..30), stall)
        .prop_map(|(connections, stall)| Run { connections, stall })
}

/// Times of looks: their distance, and how far apart their views are.
fn looks() -> impl Strategy<Value = Vec<[u64; 3]>> {
    prop::collection::vec((1..45_000u64, 0..50u64, 0..50u64), 2..40).prop_map(|steps| {
        let mut at = 0;
        let look = |(distance, tables, kernel)| {
            at += distance + 100;
            [at, at + tables, at + tables + kernel]
        };
        steps.into_iter().map(look).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_only_comes_and_goes_is_never_certain(run in run(), looks in looks()) {
        prop_assert_eq!(run.certain(&looks), HashSet::new());
    }

    #[test]
    fn what_is_planted_is_found_and_nothing_else(mut run in run(), planted in 1..5usize) {
        let (fault, kind) = [
            (Fault::Leak, DifferenceKind::SocketWithoutFlow),
            (Fault::CloseLost, DifferenceKind::LedgerWithoutFlow),
            (Fault::OpeningLost, DifferenceKind::FlowNotInLedger),
            (Fault::Unnoticed, DifferenceKind::FlowWithoutSocket),
        ][planted - 1];
        run.connections[0] = Connection {
            accepted: 1000,
            handshake: 10,
            becomes: Becomes::Flow { lives: 200_000, unnoticed: 0 },
            parting: 10,
            fault,
        };
        let looks: Vec<[u64; 3]> = (1..20).map(|look| [look * 30_000, look * 30_000 + 5, look * 30_000 + 9]).collect();
        prop_assert_eq!(run.certain(&looks), HashSet::from([(kind, 0)]));
    }
}

/// The views of one healthy flow and of whatever `plant` makes of them, look after look, a second and a half
/// apart.
fn planted(plant: impl Fn(&mut Views)) -> Vec<(Subject, Confidence)> {
    let (began, mut comparison) = (Instant::now(), comparison());
    let mut last = Vec::new();
    for look in 0..3 {
        let mut views = Views {
            at: began + Duration::from_millis(1500 * look),
            books: LedgerTotals {
                to: 1,
                open: [flow(0)].into(),
                tally: Tally { opened: 1, closed: 0, held: 1 },
            },
            tables: vec![Listed { flow: flow(0), socket: Some(1), stage: Stage::Open }],
            tallies: vec![Tally { opened: 1, closed: 0, held: 1 }],
            appended: 1,
            kernel: Some(Kernel { held: [1].into(), connected: vec![socket(1)] }),
            pages: HashSet::new(),
            kept: UsersAndCalls::default(),
        };
        plant(&mut views);
        last = comparison.compare(&views).iter().map(|one| (one.subject.clone(), one.confidence)).collect();
        for (subject, _) in
            last.iter().filter(|(_, confidence)| look == 1 && *confidence == Confidence::Confirmed)
        {
            comparison.told(subject);
        }
    }
    last
}

#[test]
fn counters_that_do_not_add_up_are_told_once() {
    assert_eq!(planted(|_| {}), []);
    assert_eq!(planted(|views| views.tallies[0].closed = 1), [(Subject::Shard(0), Confidence::Reported)]);
    assert_eq!(planted(|views| views.books.tally.opened = 3), [(Subject::Ledger, Confidence::Reported)]);
}

#[test]
fn users_and_calls_of_which_table_and_ledger_tell_differently_are_told_once() {
    let found = |plant: &dyn Fn(&mut UsersAndCalls), subject: Subject| {
        assert_eq!(planted(|views| plant(&mut views.kept)), [(subject, Confidence::Reported)]);
    };
    let (ada, call): (Text<160>, Box<str>) = (Text::new("ada@x"), "e.1.c1".into());
    fn both<Id: Ord + Clone>(accounts: &mut Accounts<Id>, id: &Id) {
        accounts.here.insert(id.clone());
        accounts.in_ledger.insert(id.clone());
    }
    assert_eq!(
        planted(|views| {
            both(&mut views.kept.users, &ada);
            both(&mut views.kept.calls, &call);
        }),
        []
    );
    let user = |kind| Subject::User(kind, ada.clone());
    found(
        &|kept| {
            kept.users.here.insert(ada.clone());
        },
        user(DifferenceKind::UserNotInLedger),
    );
    found(
        &|kept| {
            kept.users.in_ledger.insert(ada.clone());
        },
        user(DifferenceKind::LedgerWithoutUser),
    );
    let of_call = |kind| Subject::Call(kind, call.clone());
    found(
        &|kept| {
            kept.calls.here.insert(call.clone());
        },
        of_call(DifferenceKind::CallNotInLedger),
    );
    found(
        &|kept| {
            kept.calls.in_ledger.insert(call.clone());
        },
        of_call(DifferenceKind::LedgerWithoutCall),
    );
    let counted = Subject::Counted;
    found(&|kept| kept.calls_here.opened = 1, counted(Counted::CallsHere));
    found(&|kept| kept.calls.tally.closed = 1, counted(Counted::CallsInLedger));
    found(&|kept| kept.users.tally.held = 1, counted(Counted::UsersInLedger));
}

#[test]
fn without_the_kernels_view_the_other_two_are_compared() {
    assert_eq!(planted(|views| views.kernel = None), []);
    let missing = |views: &mut Views| {
        views.kernel = None;
        views.books.open.clear();
        views.books.tally = Tally::default();
    };
    let subject = Subject::Flow(DifferenceKind::FlowNotInLedger, flow(0));
    assert_eq!(planted(missing), [(subject, Confidence::Reported)]);
}

/// An EventSource of the development page stays for hours on a `ws` listener.
#[test]
fn a_connection_that_reads_a_page_is_no_leak() {
    let (began, mut comparison) = (Instant::now(), comparison());
    for minute in 0..60 {
        let views = Views {
            at: began + Duration::from_secs(60 * minute),
            books: LedgerTotals::default(),
            tables: Vec::new(),
            tallies: Vec::new(),
            appended: 0,
            kernel: Some(Kernel { held: [9].into(), connected: vec![socket(9)] }),
            pages: [9].into(),
            kept: UsersAndCalls::default(),
        };
        assert_eq!(comparison.compare(&views), []);
    }
}

/// Once its peer has reset it, a socket that is still held shows in no table of the kernel's.
#[test]
fn a_leak_is_found_when_its_connection_is_gone() {
    let (began, mut comparison) = (Instant::now(), comparison());
    let mut confidences = Vec::new();
    for look in 0..4 {
        let views = Views {
            at: began + Duration::from_secs(30 * look),
            books: LedgerTotals::default(),
            tables: Vec::new(),
            tallies: Vec::new(),
            appended: 0,
            kernel: Some(Kernel {
                held: [9].into(),
                connected: if look == 0 { vec![socket(9)] } else { Vec::new() },
            }),
            pages: HashSet::new(),
            kept: UsersAndCalls::default(),
        };
        confidences.extend(comparison.compare(&views).iter().map(|one| one.confidence));
    }
    assert_eq!(
        confidences,
        [Confidence::Suspected, Confidence::Suspected, Confidence::Confirmed, Confidence::Confirmed]
    );
}
