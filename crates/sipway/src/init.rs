//! `sipway init`: a configuration to begin with, for a server of its own or in front of a PBX.

mod advice;

use std::{
    fs::OpenOptions,
    io::{self, ErrorKind, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    path::Path,
    str::FromStr,
};

use config::{BadTarget, Host, UpstreamTarget};

use crate::{
    command::{Init, Register},
    outcome::Outcome,
    own_address::is_here,
    speech::say,
};

pub(crate) fn run(init: &Init) -> Outcome {
    let text = text(init);
    if init.output == Path::new("-") {
        return match io::stdout().lock().write_all(text.as_bytes()) {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::failed(format!("standard output: {error}")),
        };
    }
    let file = OpenOptions::new().write(true).create_new(true).open(&init.output);
    match file.and_then(|mut file| file.write_all(text.as_bytes())) {
        Ok(()) => {
            let file = init.output.display();
            say!("{file}: written. Put beside it what it names:");
            for (named, what) in FILES {
                if text.contains(&format!("{named:?}")) {
                    say!("  {named:<18} {what}");
                }
            }
            say!("Then: sipway check {file}");
            Outcome::Done
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Outcome::failed(format!("{} is there already; --output names another", init.output.display()))
        }
        Err(error) => Outcome::failed(format!("{}: {error}", init.output.display())),
    }
}

/// What a configuration may name, and how to come by it.
const FILES: [(&str, &str); 4] = [
    ("fullchain.pem", "your certificate, with those of its issuers behind it"),
    ("privkey.pem", "its key"),
    ("users.txt", "a line for each user: name:password (chmod 600)"),
    ("unregister.secret", "openssl rand -hex 24 > unregister.secret; chmod 600 unregister.secret"),
];

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
    let example = || Host::Name("example.com".to_owned());
    let Some(backend) = &init.backend else {
        let domain = init.domain.clone().unwrap_or_else(example);
        let listeners = listeners(&["udp", "tcp"], Ipv4Addr::UNSPECIFIED.into(), 5060, UNKNOWN);
        return format!(
            "{BEGINNING}# Phones come in here.\n{listeners}\
             # The domain of your users, as it stands in their addresses. They register here, each with its password.\n\
             [[domain]]\nname = \"{}\"\nusers = \"users.txt\"\n\n{END}",
            bare(&domain)
        );
    };
    let target = &backend.target;
    let domain = init.domain.as_ref().unwrap_or(&target.host);
    let seen = address(target).and_then(towards);
    let port = own_port(target);
    let advertise = seen.map_or_else(|| UNKNOWN.to_owned(), |ip| format!("\"{}\"", Host::from(ip)));
    // Where the PBX reaches this server, in the words of its own configuration.
    let here = seen.map_or_else(|| "SIPWAY".to_owned(), |ip| Host::from(ip).to_string());
    let place = advice::ServerPlace { here: &here, port, domain: &bare(domain) };
    let domain = match init.register {
        Register::Local => advice::local(init.kind, place),
        Register::Forward => advice::forward(init.kind, place),
    };
    format!(
        "{BEGINNING}# The PBX is spoken to by {these}, and speaks to this server here; phones may register here, too.\n{listeners}\
         [[upstream]]\nname = \"pbx\"\n\
         # Several are tried in turn. A name is looked up (NAPTR, SRV); ;transport=tcp or sips: are understood.\n\
         targets = [{:?}]\n{}\n{}\n{END}",
        backend.text,
        domain.upstream,
        domain.domain,
        these = if transports(target).len() > 1 {
            "these (what is larger than 1300 bytes, as calls of browsers are, goes by TCP)"
        } else {
            "this"
        },
        listeners = listeners(transports(target), any(target), port, &advertise),
    )
}

const BEGINNING: &str = "# A beginning, written by `sipway init`. sipway.example.toml explains every key; `sipway check` this file after every change.\n\n\
    [ledger]\ndirectory = \"/var/lib/sipway\"\n\n\
    # Browsers and apps come in here: wss://sip.example.com/\n\
    [[listener]]\ntransport = \"wss\"\nbind = \"0.0.0.0:443\"\nadvertise = \"sip.example.com\" # the name in your certificate\n\
    certificate = \"fullchain.pem\"\nprivate_key = \"privkey.pem\"\n\n";

const END: &str =
    "# Metrics, health and the API, on this machine alone.\n[admin]\nbind = \"127.0.0.1:8090\"\n";

/// What is advertised where nobody can know it but the operator.
const UNKNOWN: &str = "\"sip.example.com\" # the name or address of this machine";

/// A host as the name of a domain.
fn bare(host: &Host) -> String {
    host.to_string()
}

/// What a backend is spoken to by: what is large does not fit into datagrams (RFC 3261 §18.1.1).
fn transports(target: &UpstreamTarget) -> &'static [&'static str] {
    match target.transport.map(|_| target.usual().as_str()) {
        None => &["udp", "tcp"],
        Some("udp") => &["udp"],
        Some("tcp") => &["tcp"],
        Some(_) => &["tls"],
    }
}

/// All addresses of this machine, of the family that a backend is spoken to by.
fn any(target: &UpstreamTarget) -> IpAddr {
    match target.host {
        Host::Name(_) | Host::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        Host::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn listeners(transports: &[&str], ip: IpAddr, port: u16, advertise: &str) -> String {
    let one = |transport: &&str| {
        let files = match *transport {
            "tls" => "certificate = \"fullchain.pem\"\nprivate_key = \"privkey.pem\"\n",
            _ => "",
        };
        let bind = SocketAddr::new(ip, port);
        format!(
            "[[listener]]\ntransport = \"{transport}\"\nbind = \"{bind}\"\nadvertise = {advertise}\n{files}\n"
        )
    };
    transports.iter().map(one).collect()
}

/// Where a backend is, as far as that is known without asking DNS.
fn address(target: &UpstreamTarget) -> Option<SocketAddr> {
    let here =
        matches!(&target.host, Host::Name(name) if name == "localhost" || name.ends_with(".localhost"));
    let port = target.port.unwrap_or(target.usual().port());
    target.address().or_else(|| here.then(|| (Ipv4Addr::LOCALHOST, port).into()))
}

/// The port for SIP, which is not the backend's if that is on this machine.
fn own_port(target: &UpstreamTarget) -> u16 {
    let usual = if transports(target) == ["tls"] { 5061 } else { 5060 };
    let taken = address(target).filter(|backend| is_here(backend.ip())).map(|backend| backend.port());
    if taken == Some(usual) { usual + 20 } else { usual }
}

/// The address of this machine that a backend sees. Nothing is sent for it.
fn towards(backend: SocketAddr) -> Option<IpAddr> {
    let any = if backend.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(backend).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
}
