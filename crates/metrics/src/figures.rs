//! The list of counters and the list of gauges, each with its name and its help text.

/// Makes an enum of figures, with the list of all, their names and their help texts.
macro_rules! figures {
    ($(#[doc = $about:literal])* $kind:ident { $($(#[doc = $help:literal])+ $name:ident = $text:literal,)* }) => {
        $(#[doc = $about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $kind { $($(#[doc = $help])+ $name,)* }

        impl $kind {
            /// Every one, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name on the metrics page, without prefix.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Its help text on the metrics page.
            #[must_use]
            pub fn help(self) -> &'static str {
                match self { $(Self::$name => concat!($($help),+).trim().trim_end_matches('.'),)* }
            }
        }
    };
}

figures! {
/// A counter: it only grows.
Count {
    /// Flows opened.
    FlowsOpened = "flows_opened",
    /// Flows closed.
    FlowsClosed = "flows_closed",
    /// Connections that were not let in: no room in the ledger, a stalled disk, too many flows.
    FlowsRefused = "flows_refused",
    /// Handshakes refused for what they asked.
    HandshakesRefused = "handshakes_refused",
    /// WebSockets let in by their token.
    TokensAccepted = "tokens_accepted",
    /// WebSockets refused for their token, or because they had none, and requests whose token was not good.
    TokensRefused = "tokens_refused",
    /// Connections whose user brought a token in a REGISTER, the first or a newer one.
    TokensRenewed = "tokens_renewed",
    /// Token keys fetched from where the configuration says.
    KeysFetched = "token_keys_fetched",
    /// Fetches of token keys that failed; those that are known stay.
    KeysFailed = "token_keys_failed",
    /// Users read from a database, when the server started and when they had changed.
    UsersRead = "users_read",
    /// Databases of users that could not be read; those that are known stay.
    UsersUnread = "users_unread",
    /// Connections whose client's certificate names a user of a domain.
    CertificatesAccepted = "client_certificates_accepted",
    /// Connections with a client's certificate that is good and names nobody here.
    CertificatesOfNobody = "client_certificates_of_nobody",
    /// Connections that said nothing whole in time.
    HandshakeTimeouts = "handshake_timeouts",
    /// Connections whose TLS failed before they were flows.
    TlsFailures = "tls_handshake_failures",
    /// Connections whose peer left before it had asked for anything.
    LeftEarly = "left_early",
    /// Connections that did not come by the proxy of their listener, or without a header of the PROXY
    /// protocol.
    NotByProxy = "not_by_proxy",
    /// Connections whose first bytes were no TLS where TLS is spoken; they are failed TLS handshakes, too.
    NotTls = "not_tls",
    /// Connections that said nothing whole and gave way to newer ones.
    CrowdedOut = "handshakes_crowded_out",
    /// Connections, and messages of strangers, turned away because their address is banned.
    TurnedBanned = "turned_away_banned",
    /// Connections turned away because their address had as many as it may have.
    TurnedConnections = "turned_away_connections",
    /// Connections turned away because their address had as many handshakes under way as it may have.
    TurnedHandshakes = "turned_away_handshakes",
    /// Connections turned away because those of their address came too fast.
    TurnedHandshakeRate = "turned_away_handshake_rate",
    /// Messages of strangers that were not listened to because those of their address came too fast.
    TurnedMessageRate = "turned_away_message_rate",
    /// Connections let in uncounted because as many addresses as can be were remembered.
    Uncounted = "arrivals_uncounted",
    /// Connections not let in, registrations refused and connections closed because their user had as many as
    /// it may have.
    HinderedConnections = "hindered_user_connections",
    /// Messages of users that said more than they may: requests that begin something were refused, then
    /// connections closed.
    HinderedMessageRate = "hindered_user_message_rate",
    /// Calls refused because their user had as many as it may have.
    HinderedCalls = "hindered_user_calls",
    /// Credentials not looked at because too many in that name were wrong.
    HinderedFailures = "hindered_user_failures",
    /// Connections, calls and messages of users that were not counted because as many users as can be were
    /// remembered.
    UsersUncounted = "users_uncounted",
    /// Addresses banned.
    Bans = "bans",
    /// Wrong credentials and tokens of strangers.
    OffencesCredentials = "offences_credentials",
    /// Refused handshakes of strangers.
    OffencesHandshake = "offences_handshake",
    /// Bytes of strangers that are no SIP, no WebSocket frames or no TLS.
    OffencesMalformed = "offences_malformed",
    /// Refused requests of strangers.
    OffencesRefused = "offences_refused",
    /// Requests of strangers that were asked for credentials.
    OffencesUnproved = "offences_unproved",
    /// Requests of scanners.
    OffencesScanner = "offences_scanner",
    /// Streams that began with something else than SIP.
    NotSip = "not_sip",
    /// Accepts that failed for want of descriptors or memory.
    AcceptsStarved = "accepts_starved",
    /// SIP messages received.
    MessagesReceived = "messages_received",
    /// SIP messages sent.
    MessagesSent = "messages_sent",
    /// Datagrams and WebSocket messages that were dropped because they are no SIP at all: keepalives, other
    /// protocols.
    MessagesNotSip = "messages_not_sip",
    /// SIP messages that could not be parsed.
    MessagesUnparsed = "messages_unparsed",
    /// SIP messages that were not valid.
    MessagesInvalid = "messages_invalid",
    /// Responses to nothing of ours.
    ResponsesStray = "responses_stray",
    /// Responses dropped because they did not come from where their request went.
    ResponsesForeign = "responses_foreign",
    /// ACKs with nowhere to go.
    AcksStray = "acks_stray",
    /// Repeated requests that were absorbed.
    RequestsRepeated = "requests_repeated",
    /// Requests that had been here before.
    Loops = "loops",
    /// Requests refused because the transaction table was full.
    TransactionsFull = "transactions_full",
    /// Requests refused because the messages kept for transactions were as many bytes as they may be.
    TransactionMemoryFull = "transaction_memory_full",
    /// Requests sent again to a server behind this one because the connection that they had gone over ended.
    RequestsSentAnew = "requests_sent_anew",
    /// Ended connections of servers behind this one of which nothing is remembered any more: what is for one
    /// of them is answered 430.
    ServerConnectionsForgotten = "server_connections_forgotten",
    /// Messages that could not be rewritten.
    Unwritable = "messages_unwritable",
    /// Messages for a hop that was gone.
    SendsFailed = "sends_failed",
    /// Messages between shards that found the inbox full.
    InboxFull = "inbox_full",
    /// Registrations accepted, refreshes and removals included.
    RegistersAccepted = "registers_accepted",
    /// Registrations refused.
    RegistersRefused = "registers_refused",
    /// Users who came online.
    UsersCameOnline = "users_came_online",
    /// Users who went offline: they had no binding for the hold-off.
    UsersWentOffline = "users_went_offline",
    /// Users told offline before the hold-off was over, because there were as many users as there may be.
    UsersOfflineEarly = "users_offline_early",
    /// Changes of bindings over UDP that were not kept for the next start: the disk was too slow.
    BindingsUnkept = "bindings_unkept",
    /// Bindings that a registrar behind this server took back because their connection had ended.
    Unregistered = "unregistered",
    /// Bindings that were not taken back from registrars behind: their devices were registered here by
    /// another connection.
    UnregistersSpared = "unregisters_spared",
    /// Bindings that a registrar behind this server did not take back: it keeps them until they expire.
    UnregistersFailed = "unregisters_failed",
    /// Connections made to peers.
    Dialled = "connections_made",
    /// Connections to peers that could not be made.
    DialsFailed = "connections_failed",
    /// Names of servers behind this one that could not be looked up.
    LookUpsFailed = "upstream_lookups_failed",
    /// Requests answered 503 because no name of their upstream had led to a server yet.
    UpstreamsUnknown = "upstream_unknown",
    /// Requests answered 503 because no server of their upstream answers probes.
    UpstreamsSilent = "upstream_silent",
    /// Probes that a server behind this one did not answer, or answered 503.
    ProbesFailed = "upstream_probes_failed",
    /// Requests that a server behind this one did not answer in time or answered 503, or that did not reach
    /// it.
    UpstreamFailures = "upstream_failures",
    /// Contacts of redirections (3xx) that were followed.
    RedirectsFollowed = "redirects_followed",
    /// Contacts of redirections that were not, though the domain follows them: requests may not go there, or
    /// nobody is there.
    RedirectsLeft = "redirects_left",
    /// Credentials asked for.
    Challenges = "challenges",
    /// Wrong passwords, unknown users among them; they are asked again.
    WrongCredentials = "wrong_credentials",
    /// Good credentials that had been used before.
    CredentialsReplayed = "credentials_replayed",
    /// Requests to the outside by somebody who may not make any.
    OutsideRefused = "outside_refused",
    /// Panics that belonged to no flow, which are bugs: one in a flow ends it with internal_error.
    Panics = "panics",
    /// Flows closed by a drain or for the end of the process.
    FlowsSentAway = "flows_sent_away",
    /// Calls started.
    CallsStarted = "calls_started",
    /// Calls answered.
    CallsAnswered = "calls_answered",
    /// Calls that ended because a side hung up.
    CallsHungUp = "calls_ended_hangup",
    /// Calls that the caller gave up.
    CallsCancelled = "calls_ended_cancelled",
    /// Calls that the callee refused.
    CallsRejected = "calls_ended_rejected",
    /// Calls that nobody answered in time.
    CallsUnanswered = "calls_ended_no_answer",
    /// Calls that could not be put through.
    CallsFailed = "calls_ended_failed",
    /// Calls that ended because a side lost its connection and did not come back.
    CallsLost = "calls_ended_flow_lost",
    /// Calls that ended because a side's user agent did not know them any more.
    CallsForgotten = "calls_ended_dialog_lost",
    /// Calls of which nothing was heard any more.
    CallsExpired = "calls_ended_expired",
    /// Calls that ended with the process.
    CallsShutDown = "calls_ended_shutdown",
    /// Calls that passed untracked: as many as there may be were under way, or the ledger had no room.
    CallsUntracked = "calls_untracked",
    /// Calls refused here before they went to anybody; challenges are none, and one that comes again counts
    /// again.
    CallsRefused = "calls_refused",
    /// Those of which nothing was written: their sender had proved nothing, or had more than are written, or
    /// there was no room.
    CallsRefusedUnwritten = "calls_refused_unwritten",
    /// Changes of hold that the ledger had no room for.
    CallHoldsUnwritten = "call_holds_unwritten",
    /// BYEs sent for a side that could not.
    ByesMade = "byes_made",
    /// Checkpoints written.
    Checkpoints = "ledger_checkpoints",
    /// Records that retention dropped.
    RecordsTrimmed = "ledger_records_trimmed",
    /// Looks of the running audit.
    Audits = "audits",
    /// Looks of the running audit that could not be had.
    AuditsFailed = "audits_failed",
    /// Flows found open for which the kernel has no connection.
    FlowWithoutSocket = "audit_differences_flow_without_socket",
    /// Sockets found held that belong to no flow.
    SocketWithoutFlow = "audit_differences_socket_without_flow",
    /// Flows found open that the ledger does not have open.
    FlowNotInLedger = "audit_differences_flow_not_in_ledger",
    /// Flows found open in the ledger that are not open.
    LedgerWithoutFlow = "audit_differences_ledger_without_flow",
    /// Users found online who are not by the ledger.
    UserNotInLedger = "audit_differences_user_not_in_ledger",
    /// Users found online by the ledger who are not.
    LedgerWithoutUser = "audit_differences_ledger_without_user",
    /// Calls found that the ledger does not have open.
    CallNotInLedger = "audit_differences_call_not_in_ledger",
    /// Calls found open in the ledger that there are not.
    LedgerWithoutCall = "audit_differences_ledger_without_call",
    /// Counters found that do not add up.
    CountersOff = "audit_differences_counters",
}
}

figures! {
/// A gauge: the value that was measured last.
Gauge {
    /// 1 while no flow is let in and the open ones are closed, else 0.
    Draining = "draining",
    /// Bytes of the ledger that are past retention and kept because a sink has not read them.
    HeldBack = "ledger_held_back_bytes",
    /// Bytes of the last checkpoint.
    CheckpointBytes = "ledger_checkpoint_bytes",
    /// Bytes free on the disk under the ledger.
    DiskFree = "ledger_disk_free_bytes",
    /// Bytes of messages kept for transactions.
    TransactionMemory = "transaction_memory_bytes",
    /// Addresses of which something is remembered: connections, rates, failures, bans.
    Addresses = "addresses",
    /// Users of whom something is remembered: connections, calls, messages just now.
    Users = "users_remembered",
    /// Users who are online, those in their hold-off included.
    UsersOnline = "users_online",
    /// Calls under way.
    CallsLive = "calls_live",
    /// Calls with a side that lost its connection and is expected back.
    CallsHeld = "calls_held",
    /// Milliseconds that the start took to read the ledger and to write what an earlier process owed.
    RecoveryTime = "ledger_recovery_ms",
    /// Records that the start read.
    RecoveryRecords = "ledger_recovery_records",
    /// Flows that are open now and for which the kernel has no connection.
    FlowsWithoutSocket = "audit_flows_without_socket",
    /// Sockets that are held now and belong to no flow.
    SocketsWithoutFlow = "audit_sockets_without_flow",
    /// Flows that are open now and that the ledger does not have open.
    FlowsNotInLedger = "audit_flows_not_in_ledger",
    /// Flows that are open in the ledger now and not in the server.
    LedgerWithoutFlow = "audit_ledger_without_flow",
    /// Users who are online now and not by the ledger.
    UsersNotInLedger = "audit_users_not_in_ledger",
    /// Users who are online by the ledger now and not in the server.
    LedgerWithoutUser = "audit_ledger_without_user",
    /// Calls that go on now and that the ledger does not have open.
    CallsNotInLedger = "audit_calls_not_in_ledger",
    /// Calls that are open in the ledger now and not in the server.
    LedgerWithoutCall = "audit_ledger_without_call",
    /// Counters that do not add up now.
    CountersOff = "audit_counters_off",
    /// Connections that were no flow at the last look of the audit: shaking hands, parting, or reading a
    /// page.
    SocketsBetween = "sockets_between",
    /// Milliseconds that the last look of the audit took.
    AuditTime = "audit_ms",
    /// The longest that the last look of the audit kept a shard busy, in microseconds.
    AuditHold = "audit_hold_us",
}
}
