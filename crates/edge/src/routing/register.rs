//! REGISTER: which senders may register a user (RFC 3261 §10). The shard makes the
//! bindings (`shard::registering`).

use identity::{DomainRef, Proof, brought};
use sip_auth::Role;
use sip_message::HeaderId;
use sip_proxy::Answer;
use transport::VerifiedClient;
use upstream::Hop;

use crate::routing::{
    Incoming, Routing,
    flow_lookup::{By, FlowLookup, SenderProof},
    gruu,
    own_contacts::{LeftOut, Most, Source, left_out},
};

/// What a REGISTER may bind, after its sender was accepted.
#[derive(Debug)]
pub(crate) struct Permission {
    /// The user.
    pub(crate) aor: String,
    /// Whether it has proved to be that user.
    pub(crate) proof: RegistrantProof,
    /// How long its bindings may last, and how many there may be.
    pub(crate) policy: sip_registrar::Policy,
    /// Contact values that lead elsewhere.
    pub(crate) left_out: LeftOut,
}

/// How the sender of a REGISTER has proved to be the user that it registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RegistrantProof {
    /// Not at all: the domain is open.
    None,
    /// What vouches for its flow holds.
    Flow,
    /// A password in this request.
    Password,
    /// Credentials in this request that are good for a while.
    Voucher(VerifiedClient),
}

impl<F: FlowLookup + SenderProof> Routing<'_, F> {
    /// Whether the sender of a REGISTER may register the user that To names (RFC 3261 §10.3 steps 3 to 5).
    ///
    /// # Errors
    /// The answer to a sender that may not.
    pub(crate) fn may_register(
        &self,
        domain: DomainRef<'_>,
        Incoming { request, from, now }: Incoming<'_>,
    ) -> Result<Permission, Answer> {
        let tables = &self.tables;
        // Only users of the domain that judges the request.
        let to = request.to().ok().and_then(|to| to.uri().ok());
        let asked = request.request_uri().ok().and_then(|uri| uri.host());
        let home = to.filter(|to| to.is_sip()).and_then(|to| to.host());
        if !home.zip(asked).is_some_and(|(home, asked)| home.same(&asked)) {
            return Err(Answer::new(404, "Not A User Of This Domain"));
        }
        if let Some(unsupported) = sip_registrar::unsupported(request, tables.policy.gruu) {
            return Err(Answer::new(420, "Bad Extension").header("Unsupported", unsupported));
        }
        let aor = sip_registrar::address_of_record(request).map_err(|refusal| refused(&refusal))?;
        if aor.len() > lifecycle::Identity::LONGEST {
            return Err(Answer::new(403, "Address Too Long"));
        }
        if gruu::is_registered(tables, request, &aor) {
            return Err(Answer::new(403, "Contact Is A GRUU"));
        }
        // A token or a certificate vouches for a flow: it is its user's, and no other's.
        let known = match from {
            Hop::Flow(number) => self.flows.identity(number).filter(|known| known.by == By::Voucher),
            Hop::Udp { .. } | Hop::Peer { .. } => None,
        };
        let brings = match domain.is_by_token() {
            true => brought(request).is_some(),
            false => request.first(HeaderId::Authorization).is_some(),
        };
        let mut policy = *tables.policy;
        // A user registers itself and nobody else.
        let not_yours = || Answer::new(403, "Not Your Address");
        let proof = match &known {
            Some(known) if known.identity.as_str() == aor && !brings => RegistrantProof::Flow,
            Some(known) if known.identity.as_str() != aor && domain.is_by_token() => return Err(not_yours()),
            _ => match self.flows.prove(domain, request, from, Role::UserAgent)? {
                Proof::NotAsked => RegistrantProof::None,
                Proof::User(user) => {
                    let own = to.and_then(|to| to.unescaped_user());
                    if own.as_deref() != Some(user.as_bytes()) {
                        return Err(not_yours());
                    }
                    // What has vouched for its flow holds.
                    match known.is_some_and(|known| known.identity.as_str() == aor) {
                        true => RegistrantProof::Flow,
                        false => RegistrantProof::Password,
                    }
                }
                Proof::Vouched(by) if by.identity.as_str() == aor => {
                    if matches!(from, Hop::Udp { .. }) {
                        // There is no connection to end with the credentials.
                        policy = policy.lasting_at_most(by.until.saturating_duration_since(now));
                    }
                    RegistrantProof::Voucher(by)
                }
                Proof::Vouched(_) => return Err(not_yours()),
            },
        };
        let left_out = left_out(request, Source::of(self.flows, tables.upstreams, from), Most::Several)?;
        Ok(Permission { aor, proof, policy, left_out })
    }
}

/// The answer to a REGISTER that the registrar's rules refuse.
pub(crate) fn refused(refusal: &sip_registrar::Refusal) -> Answer {
    let answer = Answer::new(refusal.status(), refusal.reason());
    match refusal {
        sip_registrar::Refusal::TooBrief { min_expires } => {
            answer.header("Min-Expires", min_expires.to_string())
        }
        _ => answer,
    }
}
