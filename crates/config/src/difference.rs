//! What differs between two configurations, for a server that runs by the first and has read the second.

use crate::{Config, Listener, TlsMaterial, Transport};

impl Config {
    /// The sections in which `newer` says something else, as they are written in the file. What the files
    /// hold that they name (certificates, keys, users) is not compared.
    #[must_use]
    pub fn differences(&self, newer: &Self) -> Vec<&'static str> {
        let Self {
            node,
            ledger,
            listeners,
            domains,
            upstreams,
            registrar,
            keepalive,
            limits,
            dns,
            defence,
            timers,
            calls,
            sinks,
            admin,
            audit,
            shutdown,
            log,
            warnings: _,
        } = self;
        let same_listeners = listeners.len() == newer.listeners.len()
            && listeners.iter().zip(&newer.listeners).all(|(one, other)| *one == without_content(other, one));
        let sections = [
            ("node", *node == newer.node),
            ("[ledger]", *ledger == newer.ledger),
            ("[[listener]]", same_listeners),
            ("[[domain]]", *domains == newer.domains),
            ("[[upstream]]", *upstreams == newer.upstreams),
            ("[registrar]", *registrar == newer.registrar),
            ("[keepalive]", *keepalive == newer.keepalive),
            ("[limits]", *limits == newer.limits),
            ("[dns]", *dns == newer.dns),
            ("[defence]", *defence == newer.defence),
            ("[timers]", *timers == newer.timers),
            ("[calls]", *calls == newer.calls),
            ("[[sink]]", *sinks == newer.sinks),
            ("[admin]", *admin == newer.admin),
            ("[audit]", *audit == newer.audit),
            ("[shutdown]", *shutdown == newer.shutdown),
            ("[log]", *log == newer.log),
        ];
        sections.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
    }
}

/// A listener with what was read from its files taken from another.
fn without_content(listener: &Listener, other: &Listener) -> Listener {
    let mut listener = listener.clone();
    if let (
        Transport::Wss(_, TlsMaterial::Files(files)) | Transport::Tls(TlsMaterial::Files(files)),
        Some(TlsMaterial::Files(old)),
    ) = (&mut listener.transport, other.transport.tls())
    {
        files.chain = old.chain.clone();
        files.key = old.key.clone();
    }
    listener
}
