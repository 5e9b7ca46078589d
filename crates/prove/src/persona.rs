//! The user agent that a client imitates: what its requests look like.

use std::fmt::Write as _;
use std::net::SocketAddr;

use lifecycle::Transport;

/// The user agent that a client imitates on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Persona {
    /// A browser with JsSIP: `.invalid` names, `reg-id` and `+sip.instance`, registers without credentials
    /// first.
    JsSip,
    /// A browser with SIP.js: `.invalid` names, no instance, told apart by its Contact, uses a nonce again.
    SipJs,
    /// A desk phone or soft phone: its real address, `rport`, an instance.
    Phone,
}

/// The names a client chose for itself.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) persona: Persona,
    pub(crate) transport: Transport,
    pub(crate) user: String,
    pub(crate) domain: String,
    pub(crate) password: Option<String>,
    /// The sent-by of Via and the host of Contact.
    host: String,
    contact_user: String,
    instance: u128,
    pub(crate) registration: u64,
    pub(crate) cseq: u32,
}

/// What a request is made of, beside who sends it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) method: &'a str,
    pub(crate) uri: &'a str,
    pub(crate) to: &'a str,
    pub(crate) to_tag: Option<&'a str>,
    pub(crate) call_id: u64,
    pub(crate) cseq: u32,
    pub(crate) branch: u64,
    /// Whole lines with their ends.
    pub(crate) headers: &'a str,
    pub(crate) content_type: &'a str,
    pub(crate) body: &'a [u8],
}

impl Identity {
    pub(crate) fn new(
        persona: Persona,
        transport: Transport,
        user: &str,
        domain: &str,
        local: SocketAddr,
    ) -> Self {
        let host = match persona {
            Persona::JsSip | Persona::SipJs => format!("{:012x}.invalid", rand::random::<u64>() >> 16),
            Persona::Phone => local.to_string(),
        };
        let contact_user = match persona {
            Persona::JsSip | Persona::SipJs => format!("{:08x}", rand::random::<u32>()),
            Persona::Phone => user.to_owned(),
        };
        Self {
            persona,
            transport,
            user: user.to_owned(),
            domain: domain.to_owned(),
            password: None,
            host,
            contact_user,
            instance: rand::random(),
            registration: rand::random(),
            cseq: 0,
        }
    }

    /// The URI others reach the user by.
    pub(crate) fn address_of_record(&self) -> String {
        format!("sip:{}@{}", self.user, self.domain)
    }

    /// The Contact's URI.
    pub(crate) fn contact_uri(&self) -> String {
        let transport = match self.transport {
            // RFC 7118 §5.2.3: the URI parameter has one word for both.
            Transport::Ws | Transport::Wss => ";transport=ws",
            Transport::Tcp | Transport::Tls => ";transport=tcp",
            Transport::Udp => "",
        };
        format!("sip:{}@{}{transport}", self.contact_user, self.host)
    }

    /// The lines that make a REGISTER out of a request.
    pub(crate) fn registration_lines(&self, expires: u32) -> String {
        let mut lines = format!("Contact: <{}>", self.contact_uri());
        if self.persona != Persona::SipJs {
            let [a, b, c, d] = [96, 80, 64, 48].map(|bits| self.instance >> bits);
            let (b, c, d, e) = (b & 0xffff, c & 0xfff, d & 0x3fff, self.instance & 0xffff_ffff_ffff);
            let _ = write!(
                lines,
                ";+sip.instance=\"<urn:uuid:{a:08x}-{b:04x}-4{c:03x}-{:04x}-{e:012x}>\";reg-id=1",
                d | 0x8000
            );
        }
        let _ = write!(lines, ";expires={expires}\r\nExpires: {expires}\r\n");
        lines.push_str("Supported: path,outbound,gruu\r\nAllow: INVITE,ACK,CANCEL,BYE,UPDATE,MESSAGE,OPTIONS,REFER,INFO,NOTIFY\r\n");
        lines
    }

    /// Writes a request.
    pub(crate) fn write(&self, draft: &Draft<'_>, out: &mut Vec<u8>) {
        let agent = match self.persona {
            Persona::JsSip => "sipway-prove (as JsSIP)",
            Persona::SipJs => "sipway-prove (as SIP.js)",
            Persona::Phone => "sipway-prove",
        };
        let rport = if self.persona == Persona::Phone { ";rport" } else { "" };
        let to_tag = draft.to_tag.map_or(String::new(), |tag| format!(";tag={tag}"));
        let mut text = String::with_capacity(640 + draft.headers.len());
        let _ = write!(
            text,
            "{method} {uri} SIP/2.0\r\n\
             Via: SIP/2.0/{via} {host};branch=z9hG4bK{branch:016x}{rport}\r\n\
             Max-Forwards: 69\r\n\
             To: <{to}>{to_tag}\r\n\
             From: <{from}>;tag={tag:08x}\r\n\
             Call-ID: {call_id:016x}\r\n\
             CSeq: {cseq} {method}\r\n\
             {headers}User-Agent: {agent}\r\n",
            method = draft.method,
            uri = draft.uri,
            via = self.transport.via(),
            host = self.host,
            branch = draft.branch,
            to = draft.to,
            from = self.address_of_record(),
            tag = draft.call_id >> 32,
            call_id = draft.call_id,
            cseq = draft.cseq,
            headers = draft.headers,
        );
        if !draft.body.is_empty() {
            let _ = write!(text, "Content-Type: {}\r\n", draft.content_type);
        }
        let _ = write!(text, "Content-Length: {}\r\n\r\n", draft.body.len());
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(draft.body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip_message::{HeaderId, Message, Method};

    #[test]
    fn what_each_persona_writes_is_a_valid_register() {
        let local = "127.0.0.1:40000".parse().unwrap();
        for (persona, transport) in [
            (Persona::JsSip, Transport::Ws),
            (Persona::SipJs, Transport::Wss),
            (Persona::Phone, Transport::Udp),
            (Persona::Phone, Transport::Tcp),
        ] {
            let me = Identity::new(persona, transport, "alice", "localhost", local);
            let headers = me.registration_lines(600);
            let draft = Draft {
                method: "REGISTER",
                uri: "sip:localhost",
                to: &me.address_of_record(),
                to_tag: None,
                call_id: 7,
                cseq: 1,
                branch: 9,
                headers: &headers,
                content_type: "",
                body: b"",
            };
            let mut bytes = Vec::new();
            me.write(&draft, &mut bytes);
            let message = Message::parse(&bytes).unwrap();
            assert_eq!(message.method(), Some(Method::Register));
            assert_eq!(message.via_top().unwrap().branch(), Some(&b"z9hG4bK0000000000000009"[..]));
            assert_eq!(message.expires(), Ok(Some(600)));
            assert_eq!(message.contacts().count(), 1);
            let contact = message.value(HeaderId::Contact).unwrap();
            let has = |text: &str| contact.windows(text.len()).any(|part| part == text.as_bytes());
            assert_eq!(has("+sip.instance=\"<urn:uuid:"), persona != Persona::SipJs);
            assert_eq!(has(".invalid"), persona != Persona::Phone);
        }
    }
}
