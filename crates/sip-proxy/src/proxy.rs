//! One shard's proxy: its state, time, and the ends of transactions.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use sip_message::{Message, Method, Rewrite};
use sip_transaction::{
    ClientEnd, ClientId, ClientKey, Event, KeyMaker, MethodClass, ServerEnd, ServerId, Timers, Transactions,
    TryingReminder,
};

use smallvec::SmallVec;

use crate::{
    Branches, Dialog, Environment, Notice, QuotedRequest,
    branch::BEGINS_HERE,
    context::{AnswerProgress, Branch, Cancel, Context, Purpose, Rang, Reason},
    failover::{BranchProgress, Failure, next_alternative},
    forward::Splices,
    reconnect::reconnect_target,
    response::FailoverTried,
    retained::{RetainedMessage, RetainedMessages},
};

/// Times and limits of a proxy.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// T1, T2, T4 of RFC 3261 §17.
    pub timers: Timers,
    /// How long an INVITE may be without a provisional response (Timer C, RFC 3261 §16.6 step 11).
    pub timer_c: Duration,
    /// How long it may ring at one place, from the first provisional response beyond 100, however many
    /// follow.
    pub ring_timeout: Duration,
    /// Most transactions of each kind; beyond, requests are answered 503.
    pub max_transactions: u32,
    /// Most bytes of messages kept for transactions; beyond, requests are answered 503.
    pub max_kept: u64,
}

/// RFC 3261 §16 (see the [crate] for the contract).
#[derive(Debug)]
pub struct Proxy<H: Copy + Ord> {
    pub(crate) transactions: Transactions<Context<H>, Branch<H>, RetainedMessage>,
    pub(crate) keys: KeyMaker,
    pub(crate) branches: Branches,
    pub(crate) settings: Settings,
    /// The messages that the transactions keep.
    pub(crate) store: RetainedMessages,
    /// What waits for whom: a connection's end concerns only its own.
    pub(crate) waiting_on: BTreeSet<(H, Waiting)>,
    /// Branches that may ring until then.
    pub(crate) ringing: BTreeSet<(Instant, ClientId)>,
    /// Branches that may give no sign of life until then.
    pub(crate) failover_timers: BTreeSet<(Instant, ClientId)>,
    /// Requests whose sender could not be told something: its connection is gone.
    pub(crate) lost: Vec<ServerId>,
    /// Reused for what is written.
    pub(crate) out: Vec<u8>,
    /// The same for an ACK, which is written while a response is at hand.
    pub(crate) ack: Vec<u8>,
    pub(crate) splices: Splices,
}

/// A transaction with its peer on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Waiting {
    /// Sorts before all others: where a hop's range begins. Never stored.
    Lowest,
    Client(ClientId),
    Server(ServerId),
}

impl<H: Copy + Ord + std::fmt::Debug> Proxy<H> {
    /// An idle proxy. `secret` should be random, and the same for all shards of a process.
    #[must_use]
    pub fn new(settings: Settings, secret: [u8; 16], shard: u8, now: Instant) -> Self {
        let table = sip_transaction::Settings {
            timers: settings.timers,
            trying: TryingReminder::Remind,
            max_server: settings.max_transactions,
            max_client: settings.max_transactions,
        };
        Self {
            transactions: Transactions::new(table, now),
            keys: KeyMaker::new(secret),
            branches: Branches::new(secret, shard),
            settings,
            store: RetainedMessages::new(settings.max_kept),
            waiting_on: BTreeSet::new(),
            ringing: BTreeSet::new(),
            failover_timers: BTreeSet::new(),
            lost: Vec::new(),
            out: Vec::new(),
            ack: Vec::new(),
            splices: Splices::default(),
        }
    }

    /// When [`Proxy::expire`] has something to do; none while nothing waits.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let first = |waiting: &BTreeSet<(Instant, ClientId)>| waiting.first().map(|&(at, _)| at);
        [self.transactions.next_deadline(), first(&self.ringing), first(&self.failover_timers)]
            .into_iter()
            .flatten()
            .min()
    }

    /// Transactions under way: server, client.
    #[must_use]
    pub fn transactions(&self) -> (usize, usize) {
        (self.transactions.server_count(), self.transactions.client_count())
    }

    /// Bytes of messages that are kept for transactions under way.
    #[must_use]
    pub fn kept_bytes(&self) -> u64 {
        self.store.kept()
    }

    /// Does what is due by now.
    pub fn expire<E: Environment<Hop = H>>(&mut self, env: &mut E, now: Instant) {
        while let Some(&(at, client)) = self.ringing.first().filter(|&&(at, _)| at <= now) {
            self.ringing.remove(&(at, client));
            self.rang_too_long(env, client, now);
        }
        while let Some(&(at, client)) = self.failover_timers.first().filter(|&&(at, _)| at <= now) {
            self.failover_timers.remove(&(at, client));
            self.on_branch_silent(env, client, now);
        }
        loop {
            if let Some(asker) = self.lost.pop() {
                self.asker_gone(env, asker, now);
            } else if let Some(event) = self.transactions.poll(now) {
                self.happened(env, event, now);
            } else {
                return;
            }
        }
    }

    fn happened<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        event: Event<Context<H>, Branch<H>, RetainedMessage>,
        now: Instant,
    ) {
        match event {
            Event::SendTrying(id) => self.answer_trying(env, id, now),
            Event::ResendResponse { id, message } => {
                if let Some(context) = self.transactions.server(id) {
                    let _ = env.send(context.from, &message);
                }
            }
            Event::ResendRequest { id, message } => {
                if let Some(branch) = self.transactions.client(id) {
                    let unwanted = matches!(branch.purpose, Purpose::Own(own) if !env.is_own_awaited(own));
                    if unwanted || env.send(branch.hop, &message).is_err() {
                        self.transactions.client_transport_error(id);
                    }
                }
            }
            Event::ServerEnded { id, data, end } => {
                self.waiting_on.remove(&(data.from, Waiting::Server(id)));
                if end == ServerEnd::Unanswered {
                    Self::stayed_unanswered(env, &data, now);
                }
            }
            Event::ClientEnded { id, data, end } => self.branch_ended(env, id, data, end, now),
        }
    }

    /// A request other than INVITE had no answer in time, and gets none (RFC 4320 §4.2). Whoever follows
    /// calls hears of a BYE what its sender makes of that: 408, and the dialog is over (RFC 3261 §15.1.1).
    fn stayed_unanswered<E: Environment<Hop = H>>(env: &mut E, context: &Context<H>, now: Instant) {
        // That it timed out further on was told when it was heard.
        if context.progress != AnswerProgress::TimedOut
            && let Some(request) = context.request.as_deref().and_then(Self::kept)
            && request.method() == Some(Method::Bye)
        {
            env.on_answered(408, &request, context.from, None, now);
        }
    }

    /// What hangs on a hop.
    pub(crate) fn hanging(&self, hop: H) -> Vec<Waiting> {
        let from_here = self.waiting_on.range((hop, Waiting::Lowest)..);
        from_here.take_while(|(on, _)| *on == hop).map(|&(_, waiting)| waiting).collect()
    }

    /// A hop is gone: what waits for an answer from it is answered at once, what it waited for itself is
    /// cancelled, or undone should it succeed.
    pub fn hop_gone<E: Environment<Hop = H>>(&mut self, env: &mut E, hop: H, now: Instant) {
        for waiting in self.hanging(hop) {
            self.waiting_on.remove(&(hop, waiting));
            match waiting {
                Waiting::Lowest => {}
                Waiting::Client(client) => self.transactions.client_transport_error(client),
                Waiting::Server(server) => self.asker_gone(env, server, now),
            }
        }
        self.expire(env, now);
    }

    /// A request came back: nobody takes datagrams at a hop (RFC 3261 §18.4). Only one that was sent there
    /// counts.
    pub fn came_back<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        hop: H,
        returned: QuotedRequest,
        now: Instant,
    ) {
        let Some(id) = self.transactions.find_client(&returned.0) else { return };
        if self.transactions.client(id).is_some_and(|branch| branch.hop == hop) {
            env.on_unreachable(hop);
            self.transactions.client_transport_error(id);
            self.expire(env, now);
        }
    }

    fn branch_ended<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        id: ClientId,
        branch: Branch<H>,
        end: ClientEnd,
        now: Instant,
    ) {
        self.waiting_on.remove(&(branch.hop, Waiting::Client(id)));
        if let Some(at) = branch.given_up_at {
            self.ringing.remove(&(at, id));
        }
        if let Some(at) = branch.failover_at {
            self.failover_timers.remove(&(at, id));
        }
        let status = match end {
            ClientEnd::Timeout => 408,
            ClientEnd::TransportError => branch.when_gone,
            ClientEnd::Done => return,
        };
        if let Purpose::Own(own) = branch.purpose {
            return env.on_own_answered(own, status, None);
        }
        let Some(server) = branch.server else { return };
        if end == ClientEnd::Timeout
            && branch.purpose == Purpose::Forward
            && branch.heard == BranchProgress::Nothing
        {
            env.on_no_response(branch.hop);
        }
        let failure = match end {
            ClientEnd::TransportError => Failure::Unreachable,
            ClientEnd::Timeout | ClientEnd::Done => Failure::NoResponse,
        };
        // A phone that rang for too long must not ring again.
        let otherwise = branch.otherwise.filter(|_| branch.rang == Rang::InTime);
        let next = otherwise.and_then(|target| next_alternative(&target, failure, branch.heard));
        if self.try_alternative(env, server, id, next, now) == FailoverTried::Nothing {
            self.branch_failed(env, server, id, status, (branch.hop, None), now);
        }
    }

    /// Sends a request of our own, whole but for its Via, which is no INVITE. It is repeated where that is
    /// needed; what becomes of it is told by [`Observer::on_own_answered`](crate::Observer::on_own_answered)
    /// under the number `own`.
    pub fn originate<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        hop: H,
        request: &Message<'_>,
        own: u64,
        now: Instant,
    ) {
        let number = self.branches.number(env.random());
        let (mut via, mut out) = (Vec::new(), Vec::new());
        env.write_via(hop, &mut via);
        self.branches.write(number, BEGINS_HERE, &mut via);
        let mut rewrite = Rewrite::new(request);
        rewrite.push_via(&via);
        if rewrite.write(&mut out).is_err() {
            env.notice(Notice::Unwritable);
            return env.on_own_answered(own, 503, None);
        }
        let branch = Branch {
            server: None,
            echo: self.branches.echo_of_own(request),
            hop,
            sent: env.reconnect_hop(hop).map(|_| self.store.keep(&out)),
            reconnect: reconnect_target(env, hop),
            when_gone: 503,
            otherwise: None,
            heard: BranchProgress::Nothing,
            purpose: Purpose::Own(own),
            failover_at: None,
            given_up_at: None,
            rings_until: None,
            rang: Rang::InTime,
            cancel: Cancel::No,
            dialog: Dialog::Outside,
            recorded: 0,
            successes: SmallVec::new(),
        };
        let key = ClientKey { branch: number, class: MethodClass::NonInvite };
        let keep = || self.store.keep(&out);
        let Ok(client) = self.transactions.start_client(key, env.reliability(hop), now, branch, keep) else {
            env.notice(Notice::Full);
            return env.on_own_answered(own, 503, None);
        };
        if env.send(hop, &out).is_err() {
            self.transactions.abandon_client(client);
            return env.on_own_answered(own, 503, None);
        }
        self.waiting_on.insert((hop, Waiting::Client(client)));
    }

    /// A request whose bytes we kept; it was parsed before.
    pub(crate) fn kept(bytes: &[u8]) -> Option<Message<'_>> {
        Message::parse(bytes).ok()
    }
}

/// Reason (RFC 3326) of a CANCEL that we send because the caller's connection ended.
pub(crate) const CALLER_GONE: Reason = Reason::Borrowed(b"SIP;cause=487;text=\"Caller's connection ended\"");
