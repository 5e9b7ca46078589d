//! `sipway init`: a configuration to begin with, in front of a PBX.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    str::FromStr,
};

use config::{BadTarget, Host, UpstreamTarget};

use crate::{
    command::{Init, Kind},
    outcome::Outcome,
    speech::say,
};

pub(crate) fn run(init: &Init) -> Outcome {
    let text = text(init);
    let file = OpenOptions::new().write(true).create_new(true).open(&init.output);
    match file.and_then(|mut file| file.write_all(text.as_bytes())) {
        Ok(()) => {
            let file = init.output.display();
            say!("{file}: written. Put your certificate beside it, then: sipway check {file}");
            Outcome::Done
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Outcome::failed(format!("{} is there already; --output names another", init.output.display()))
        }
        Err(error) => Outcome::failed(format!("{}: {error}", init.output.display())),
    }
}

/// A server behind, as it was given and as it is understood.
#[derive(Clone, Debug)]
pub(crate) struct Backend {
    text: String,
    target: UpstreamTarget,
}

impl FromStr for Backend {
    type Err = BadTarget;

    fn from_str(text: &str) -> Result<Self, BadTarget> {
        Ok(Self { text: text.to_owned(), target: text.parse()? })
    }
}

fn text(init: &Init) -> String {
    let Backend { text: backend, target } = &init.backend;
    let transport = target.usual().as_str();
    // The address that the backend sees.
    let advertise = target.address().and_then(towards).map_or_else(
        || "\"sip.example.com\" # the name or address of this machine".to_owned(),
        |ip| format!("{:?}", Host::from(ip).to_string()),
    );
    let domain = init.domain.clone().unwrap_or_else(|| target.host.to_string());
    let (register, advice) = advice(init.kind);
    format!(
        "# A beginning, written by `sipway init`. sipway.example.toml explains every key; `sipway check` this file after every change.\n\n\
         [ledger]\ndirectory = \"/var/lib/sipway\"\n\n\
         # Browsers and apps come in here: wss://sip.example.com/\n\
         [[listener]]\ntransport = \"wss\"\nbind = \"0.0.0.0:443\"\nadvertise = \"sip.example.com\" # the name in your certificate\n\
         certificate = \"fullchain.pem\"\nprivate_key = \"privkey.pem\"\n\n\
         # The backend is spoken to by this one, and speaks to this server here; phones may register here, too.\n{listener}\n\
         [[upstream]]\nname = \"pbx\"\n\
         # Several are tried in turn. A name is looked up (NAPTR, SRV); ;transport=tcp or sips: are understood.\n\
         targets = [{backend:?}]\n\n\
         # The domain of your users, as it stands in their addresses. The backend asks for their passwords.\n\
         [[domain]]\nname = {domain:?}\nbackend = \"pbx\"\n{advice}register = {register:?}\n\n\
         # Metrics, health and the API, on this machine alone.\n[admin]\nbind = \"127.0.0.1:8090\"\n",
        listener = listener(transport, any(target), &advertise),
    )
}

/// All addresses of this machine, of the family that a backend is spoken to by.
fn any(target: &UpstreamTarget) -> IpAddr {
    match target.host {
        Host::Name(_) | Host::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        Host::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn listener(transport: &str, ip: IpAddr, advertise: &str) -> String {
    let (port, files) = match transport {
        "tls" => (5061, "certificate = \"fullchain.pem\"\nprivate_key = \"privkey.pem\"\n"),
        _ => (5060, ""),
    };
    let bind = SocketAddr::new(ip, port);
    format!("[[listener]]\ntransport = \"{transport}\"\nbind = \"{bind}\"\nadvertise = {advertise}\n{files}")
}

/// The address of this machine that a backend sees. Nothing is sent for it.
fn towards(backend: SocketAddr) -> Option<IpAddr> {
    let any = if backend.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(backend).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
}

/// How such a backend learns where its users are, and what to do there for it.
fn advice(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Kamailio => (
            "path",
            "# In kamailio.cfg: modparam(\"registrar\", \"use_path\", 1). See docs/PBX.md for how it learns that a connection has ended.\n",
        ),
        Kind::Freeswitch => (
            "auto",
            "# It keeps the contact of a connection that has ended until that expires. See docs/PBX.md for a better way.\n",
        ),
        Kind::Asterisk => (
            "auto",
            "# In pjsip.conf: support_path = yes in the aor, or rewrite_contact = no in the endpoint. It asks a password for the un-REGISTER\n\
             # of a connection that has ended, and keeps the contact until it expires: set maximum_expiration = 120 or so.\n",
        ),
        Kind::Other => (
            "auto",
            "# \"path\" if it saves a Path (RFC 3327) and calls along it, \"contact-rewrite\" if a Path confuses it.\n",
        ),
    }
}
