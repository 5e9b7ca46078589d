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
    /// Connections refused because the ledger had no room, the disk stalled, or there were too many flows.
    FlowsRefused = "flows_refused",
    /// Handshakes refused for what they asked.
    HandshakesRefused = "handshakes_refused",
    /// WebSockets opened with a token.
    TokensAccepted = "tokens_accepted",
    /// WebSockets and requests refused because their token was missing or not valid.
    TokensRefused = "tokens_refused",
    /// Connections whose user sent a token in a REGISTER, the first or a newer one.
    TokensRenewed = "tokens_renewed",
    /// Fetches of token keys from the address in the configuration that succeeded.
    KeysFetched = "token_keys_fetched",
    /// Fetches of token keys that failed. Known keys stay in use.
    KeysFailed = "token_keys_failed",
    /// Users read from a database, at the start and after changes.
    UsersRead = "users_read",
    /// Reads of user databases that failed. Known users stay in use.
    UsersUnread = "users_unread",
    /// Connections whose client certificate names a user of a domain.
    CertificatesAccepted = "client_certificates_accepted",
    /// Connections whose client certificate is valid and names no user.
    CertificatesOfNobody = "client_certificates_of_nobody",
    /// Connections that sent nothing complete in time.
    HandshakeTimeouts = "handshake_timeouts",
    /// Connections whose TLS failed before they were flows.
    TlsFailures = "tls_handshake_failures",
    /// Connections that the peer left before it had asked for anything.
    LeftEarly = "left_early",
    /// Connections that did not come through the proxy of their listener, or without its PROXY header.
    NotByProxy = "not_by_proxy",
    /// Connections to TLS listeners whose first bytes were not TLS. They count as failed TLS handshakes, too.
    NotTls = "not_tls",
    /// Connections closed during the handshake to make room for newer ones.
    CrowdedOut = "handshakes_crowded_out",
    /// Connections, and messages of unauthenticated clients, refused because their address is banned.
    TurnedBanned = "turned_away_banned",
    /// Connections refused because their address had too many open.
    TurnedConnections = "turned_away_connections",
    /// Connections refused because their address had too many handshakes under way.
    TurnedHandshakes = "turned_away_handshakes",
    /// Connections refused because their address opened them too fast.
    TurnedHandshakeRate = "turned_away_handshake_rate",
    /// Messages of unauthenticated clients dropped because their address sent them too fast.
    TurnedMessageRate = "turned_away_message_rate",
    /// Connections accepted without counting because the address table was full.
    Uncounted = "arrivals_uncounted",
    /// Connections and registrations refused, and connections closed, because their user had too many.
    HinderedConnections = "hindered_user_connections",
    /// Requests refused, and connections closed, because their user sent too many messages.
    HinderedMessageRate = "hindered_user_message_rate",
    /// Calls refused because their user had too many.
    HinderedCalls = "hindered_user_calls",
    /// Credentials not checked because too many for that user were wrong.
    HinderedFailures = "hindered_user_failures",
    /// Connections, calls and messages not counted for a user because the user table was full.
    UsersUncounted = "users_uncounted",
    /// Addresses banned.
    Bans = "bans",
    /// Wrong credentials and tokens of unauthenticated clients.
    OffencesCredentials = "offences_credentials",
    /// Refused handshakes of unauthenticated clients.
    OffencesHandshake = "offences_handshake",
    /// Bytes of unauthenticated clients that are not SIP, WebSocket frames or TLS.
    OffencesMalformed = "offences_malformed",
    /// Refused requests of unauthenticated clients.
    OffencesRefused = "offences_refused",
    /// Requests of unauthenticated clients that were challenged.
    OffencesUnproved = "offences_unproved",
    /// Requests of scanners.
    OffencesScanner = "offences_scanner",
    /// Streams that began with something other than SIP.
    NotSip = "not_sip",
    /// Accepts that failed because descriptors or memory ran out.
    AcceptsStarved = "accepts_starved",
    /// SIP messages received.
    MessagesReceived = "messages_received",
    /// SIP messages sent.
    MessagesSent = "messages_sent",
    /// Datagrams and WebSocket messages dropped because they are not SIP: keepalives, other protocols.
    MessagesNotSip = "messages_not_sip",
    /// SIP messages that could not be parsed.
    MessagesUnparsed = "messages_unparsed",
    /// SIP messages that were not valid.
    MessagesInvalid = "messages_invalid",
    /// Responses that match no request.
    ResponsesStray = "responses_stray",
    /// Responses dropped because they did not come from where their request went.
    ResponsesForeign = "responses_foreign",
    /// ACKs that match no call and lead nowhere.
    AcksStray = "acks_stray",
    /// Retransmitted requests that were absorbed.
    RequestsRepeated = "requests_repeated",
    /// Requests rejected as loops (482).
    Loops = "loops",
    /// Requests refused because the transaction table was full.
    TransactionsFull = "transactions_full",
    /// Requests refused because the messages kept for transactions took too much memory.
    TransactionMemoryFull = "transaction_memory_full",
    /// Requests sent again to an upstream server because the connection that they had gone over ended.
    RequestsSentAnew = "requests_sent_anew",
    /// Ended connections of upstream servers that were forgotten. Requests for one of them are answered 430.
    ServerConnectionsForgotten = "server_connections_forgotten",
    /// Messages that could not be rewritten.
    Unwritable = "messages_unwritable",
    /// Messages for a hop that was gone.
    SendsFailed = "sends_failed",
    /// Messages between shards dropped because the inbox was full.
    InboxFull = "inbox_full",
    /// Registrations accepted, refreshes and removals included.
    RegistersAccepted = "registers_accepted",
    /// Registrations refused.
    RegistersRefused = "registers_refused",
    /// Users that came online.
    UsersCameOnline = "users_came_online",
    /// Users that went offline: they had no binding for the hold-off.
    UsersWentOffline = "users_went_offline",
    /// Users reported offline before the hold-off was over, because there were too many users.
    UsersOfflineEarly = "users_offline_early",
    /// Changes of UDP bindings not stored for the next start because the disk was too slow.
    BindingsUnkept = "bindings_unkept",
    /// Bindings that a registrar behind removed because their connection had ended.
    Unregistered = "unregistered",
    /// Bindings left at registrars behind because their device was registered here by another connection.
    UnregistersSpared = "unregisters_spared",
    /// Bindings that a registrar behind did not remove. It keeps them until they expire.
    UnregistersFailed = "unregisters_failed",
    /// Connections made to peers.
    Dialled = "connections_made",
    /// Connections to peers that could not be made.
    DialsFailed = "connections_failed",
    /// Names of upstream servers that could not be looked up.
    LookUpsFailed = "upstream_lookups_failed",
    /// Requests answered 503 because no name of their upstream has led to a server yet.
    UpstreamsUnknown = "upstream_unknown",
    /// Requests answered 503 because no server of their upstream answers probes.
    UpstreamsSilent = "upstream_silent",
    /// Probes that an upstream server did not answer, or answered 503.
    ProbesFailed = "upstream_probes_failed",
    /// Requests that an upstream server did not answer in time or answered 503, or that did not reach it.
    UpstreamFailures = "upstream_failures",
    /// Contacts of redirections (3xx) that were followed.
    RedirectsFollowed = "redirects_followed",
    /// Contacts of redirections that were not followed: requests may not go there, or nobody is there.
    RedirectsLeft = "redirects_left",
    /// Challenges sent.
    Challenges = "challenges",
    /// Wrong credentials, those for unknown users included. They are challenged again.
    WrongCredentials = "wrong_credentials",
    /// Valid credentials that had been used before.
    CredentialsReplayed = "credentials_replayed",
    /// Requests to the outside refused because their sender may not make any.
    OutsideRefused = "outside_refused",
    /// Panics outside of a flow, which are bugs. A panic in a flow ends it with internal_error.
    Panics = "panics",
    /// Flows closed by a drain or for the end of the process.
    FlowsSentAway = "flows_sent_away",
    /// Calls started.
    CallsStarted = "calls_started",
    /// Calls answered.
    CallsAnswered = "calls_answered",
    /// Calls that ended because a side hung up.
    CallsHungUp = "calls_ended_hangup",
    /// Calls cancelled by the caller.
    CallsCancelled = "calls_ended_cancelled",
    /// Calls rejected by the callee.
    CallsRejected = "calls_ended_rejected",
    /// Calls not answered in time.
    CallsUnanswered = "calls_ended_no_answer",
    /// Calls that could not be put through.
    CallsFailed = "calls_ended_failed",
    /// Calls that ended because a side lost its connection and did not come back.
    CallsLost = "calls_ended_flow_lost",
    /// Calls that ended because a side's user agent did not know them any more.
    CallsForgotten = "calls_ended_dialog_lost",
    /// Calls that ended because nothing was heard of them any more.
    CallsExpired = "calls_ended_expired",
    /// Calls that ended with the process.
    CallsShutDown = "calls_ended_shutdown",
    /// Calls that passed untracked: too many were under way, or the ledger had no room.
    CallsUntracked = "calls_untracked",
    /// Calls refused here before they went anywhere. Challenges do not count; a repeated call counts again.
    CallsRefused = "calls_refused",
    /// Refused calls that were not recorded: an unknown sender, too many of one sender, or no room.
    CallsRefusedUnwritten = "calls_refused_unwritten",
    /// Changes of hold not recorded because the ledger had no room.
    CallHoldsUnwritten = "call_holds_unwritten",
    /// BYEs sent for a side that could not send one.
    ByesMade = "byes_made",
    /// Checkpoints written.
    Checkpoints = "ledger_checkpoints",
    /// Records that retention dropped.
    RecordsTrimmed = "ledger_records_trimmed",
    /// Runs of the running audit.
    Audits = "audits",
    /// Runs of the running audit that failed.
    AuditsFailed = "audits_failed",
    /// Flows found open for which the kernel has no connection.
    FlowWithoutSocket = "audit_differences_flow_without_socket",
    /// Sockets found open that belong to no flow.
    SocketWithoutFlow = "audit_differences_socket_without_flow",
    /// Flows found open that are not open in the ledger.
    FlowNotInLedger = "audit_differences_flow_not_in_ledger",
    /// Flows found open in the ledger that are not open.
    LedgerWithoutFlow = "audit_differences_ledger_without_flow",
    /// Users found online that are not online in the ledger.
    UserNotInLedger = "audit_differences_user_not_in_ledger",
    /// Users found online in the ledger that are not online.
    LedgerWithoutUser = "audit_differences_ledger_without_user",
    /// Calls found that are not open in the ledger.
    CallNotInLedger = "audit_differences_call_not_in_ledger",
    /// Calls found open in the ledger that do not exist.
    LedgerWithoutCall = "audit_differences_ledger_without_call",
    /// Counters found that do not add up.
    CountersOff = "audit_differences_counters",
}
}

figures! {
/// A gauge: the value that was measured last.
Gauge {
    /// 1 while the node drains, else 0.
    Draining = "draining",
    /// Bytes of the ledger past retention that are kept because a sink has not read them.
    HeldBack = "ledger_held_back_bytes",
    /// Bytes of the last checkpoint.
    CheckpointBytes = "ledger_checkpoint_bytes",
    /// Bytes free on the disk under the ledger.
    DiskFree = "ledger_disk_free_bytes",
    /// Bytes of messages kept for transactions.
    TransactionMemory = "transaction_memory_bytes",
    /// Addresses remembered: connections, rates, failures, bans.
    Addresses = "addresses",
    /// Users remembered: connections, calls, recent messages.
    Users = "users_remembered",
    /// Users online, those in their hold-off included.
    UsersOnline = "users_online",
    /// Calls under way.
    CallsLive = "calls_live",
    /// Calls with a side that lost its connection and is expected back.
    CallsHeld = "calls_held",
    /// Milliseconds that the start took to read the ledger and to write what the last process owed.
    RecoveryTime = "ledger_recovery_ms",
    /// Records that the start read.
    RecoveryRecords = "ledger_recovery_records",
    /// Flows open now for which the kernel has no connection.
    FlowsWithoutSocket = "audit_flows_without_socket",
    /// Sockets open now that belong to no flow.
    SocketsWithoutFlow = "audit_sockets_without_flow",
    /// Flows open now that are not open in the ledger.
    FlowsNotInLedger = "audit_flows_not_in_ledger",
    /// Flows open in the ledger now that are not open in the server.
    LedgerWithoutFlow = "audit_ledger_without_flow",
    /// Users online now that are not online in the ledger.
    UsersNotInLedger = "audit_users_not_in_ledger",
    /// Users online in the ledger now that are not online in the server.
    LedgerWithoutUser = "audit_ledger_without_user",
    /// Calls under way now that are not open in the ledger.
    CallsNotInLedger = "audit_calls_not_in_ledger",
    /// Calls open in the ledger now that are not under way in the server.
    LedgerWithoutCall = "audit_ledger_without_call",
    /// Counters that do not add up now.
    CountersOff = "audit_counters_off",
    /// Connections that were no flow at the last run of the audit: handshakes, closing ones, HTTP.
    SocketsBetween = "sockets_between",
    /// Milliseconds that the last run of the audit took.
    AuditTime = "audit_ms",
    /// Microseconds for which the last run of the audit kept a shard busy, at most.
    AuditHold = "audit_hold_us",
}
}
