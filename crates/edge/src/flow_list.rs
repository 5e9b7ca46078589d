//! What operators ask about open flows: a list of them, and whether a peer answers.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use lifecycle::FlowId;
use location::BindingHop;
use sip_message::address_of_record_of;
use tokio::sync::oneshot;
use upstream::FlowNumber;

use crate::{FlowQuery, FlowView, Handle, Pinged, RegisteredView, inbox::ShardMessage};

impl Handle {
    /// The first flows that are asked for, by their ids. Without an address-of-record every flow is looked
    /// at, so this takes the shards a moment that grows with what they hold.
    pub async fn flows(&self, query: FlowQuery) -> Vec<FlowView> {
        if let Some(aor) = &query.aor {
            return self.flows_of(aor, &query).await;
        }
        let query = Arc::new(query);
        let mut found: Vec<(FlowNumber, FlowView)> = Vec::new();
        for shard in 0..self.0.inboxes.shards() {
            let (answer, listed) = oneshot::channel();
            if self.0.tell(shard, ShardMessage::List { wanted: Arc::clone(&query), answer }).is_ok() {
                found.extend(listed.await.unwrap_or_default());
            }
        }
        found.sort_unstable_by_key(|(number, _)| *number);
        found.truncate(query.limit);
        found.into_iter().map(|(_, view)| view).collect()
    }

    async fn flows_of(&self, aor: &str, query: &FlowQuery) -> Vec<FlowView> {
        let aor = address_of_record_of(aor);
        let mut ids: Vec<FlowId> = {
            let location = self.0.state.location();
            let ways = location.bindings(&aor, Instant::now()).map(|binding| binding.way());
            ways.filter_map(|way| match way {
                BindingHop::Flow(flow) => Some(flow),
                BindingHop::Udp { .. } => None,
            })
            .filter(|&flow| query.after.is_none_or(|after| flow > after))
            .collect()
        };
        ids.sort_unstable();
        ids.dedup();
        let mut found = Vec::new();
        for id in ids {
            if found.len() < query.limit
                && let Some(view) = self.look(id).await
                && query.fits(&view.facts)
            {
                found.push(view);
            }
        }
        found
    }

    /// The bindings of an address-of-record, most wanted first.
    #[must_use]
    pub fn look_up(&self, aor: &str) -> Vec<RegisteredView> {
        let (location, now) = (self.0.state.location(), Instant::now());
        location
            .bindings(&address_of_record_of(aor), now)
            .map(|binding| RegisteredView::new(binding, self.node(), now))
            .collect()
    }

    /// Some of all bindings, at most so many, and how many more there are. The table is locked meanwhile.
    #[must_use]
    pub fn some_bindings(&self, most: usize) -> (Vec<RegisteredView>, usize) {
        let (location, now) = (self.0.state.location(), Instant::now());
        let some = location.all().take(most).map(|binding| RegisteredView::new(binding, self.node(), now));
        let some: Vec<_> = some.collect();
        let left_off = location.len() - some.len();
        (some, left_off)
    }

    /// Pings a flow's peer (WebSocket Ping, or CRLF CRLF on a stream, RFC 5626 §4.4.1) and waits for its
    /// answer.
    pub async fn ping(&self, flow: FlowId, patience: Duration) -> Pinged {
        let Some(number) = self.own(flow) else { return Pinged::NoSuchFlow };
        let (answer, answered) = oneshot::channel();
        if self.0.tell(number.shard(), ShardMessage::Ping { flow: number, answer, patience }).is_err() {
            return Pinged::NoSuchFlow;
        }
        answered.await.unwrap_or(Pinged::NoSuchFlow)
    }
}
