//! The two ways to have a PBX behind, what each costs, and what to write in the configuration of the PBX.

use crate::command::Kind;

/// This server as the PBX sees it, and the domain of its users.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerPlace<'a> {
    pub(super) here: &'a str,
    pub(super) port: u16,
    pub(super) domain: &'a str,
}

/// What goes into `[[upstream]]`, and the whole `[[domain]]`.
#[derive(Debug)]
pub(super) struct Sections {
    pub(super) upstream: &'static str,
    pub(super) domain: String,
}

/// Users register here, and the PBX is one trunk.
pub(super) fn local(kind: Kind, place: ServerPlace<'_>) -> Sections {
    let ServerPlace { domain, .. } = place;
    let trunk = trunk(kind, place);
    let register = registration(kind);
    Sections {
        upstream: "",
        domain: format!(
            "# The domain of your users, as it stands in their addresses. They register here, each with its password; what is for nobody here goes\n\
             # to the PBX, which knows one trunk and no contact that could be stale. The cost: a list of users beside that of the PBX, and calls\n\
             # between two users here do not pass through it.\n\
             [[domain]]\nname = \"{domain}\"\nusers = \"users.txt\"\nbackend = \"pbx\"\nregister = \"local\"\n\
             # Who may call by way of the PBX: \"users\" of this domain, a list of them ([\"alice\", \"bob\"]), or \"nobody\".\n\
             outside = \"users\"\n\
             # The other way: users register at the PBX, which asks for their passwords, and all calls go through it. The cost: it must hear at once of\n\
             # each connection that ends, or it calls contacts that are gone; docs/PBX.md has recipes. `sipway init --register forward` writes it:\n\
             # register = \"{register}\" in place of users, register and outside.\n\
             {trunk}"
        ),
    }
}

/// Users register at the PBX.
pub(super) fn forward(kind: Kind, place: ServerPlace<'_>) -> Sections {
    let ServerPlace { domain, .. } = place;
    let (register, advice) = (registration(kind), forwarded(kind, place));
    let upstream = match kind {
        Kind::Freeswitch => {
            "# It asks the user's password for every REGISTER, also for the un-REGISTER of a connection that has ended, which has none. There is no safe\n\
             # way around: its apply-register-acl would let everybody who comes by way of this server register as anybody.\n\
             unregister = \"never\"\n"
        }
        Kind::Asterisk | Kind::Kamailio | Kind::Other => {
            "# By this field the PBX knows the un-REGISTERs that this server sends for connections that have ended. No client can send it: it is\n\
             # removed from all that is forwarded. Never let this server's address register or unregister without a password: all clients come from it.\n\
             unregister_header = \"X-Sipway-Close\"\nunregister_secret_file = \"unregister.secret\"\n"
        }
    };
    let cost = match kind {
        Kind::Freeswitch => {
            "it keeps the contact of a connection that has ended until it expires, and calls\n\
             # it meanwhile: register = \"local\" is the better way (`sipway init --register local`)."
        }
        _ => "it must hear at once of each connection that ends (docs/PBX.md).",
    };
    Sections {
        upstream,
        domain: format!(
            "# The domain of your users, as it stands in their addresses. They register at the PBX, which asks for their passwords, and all calls go\n\
             # through it. The cost: {cost}\n\
             [[domain]]\nname = \"{domain}\"\nbackend = \"pbx\"\n{advice}register = \"{register}\"\n"
        ),
    }
}

/// How such a PBX learns where its users are.
fn registration(kind: Kind) -> &'static str {
    match kind {
        Kind::Kamailio => "path",
        Kind::Freeswitch | Kind::Asterisk | Kind::Other => "auto",
    }
}

/// What to write at the PBX for that, and so that it takes the un-REGISTERs of this server.
fn forwarded(kind: Kind, ServerPlace { here, .. }: ServerPlace<'_>) -> String {
    match kind {
        Kind::Kamailio => format!(
            "# In kamailio.cfg: modparam(\"registrar\", \"use_path\", 1), and in front of what asks for passwords, with your secret:\n\
             #   if (is_method(\"REGISTER\") && $si == \"{here}\" && $hdr(X-Sipway-Close) == \"SECRET\") {{ save(\"location\"); exit; }}\n"
        ),
        Kind::Freeswitch => {
            "# In the profile: <param name=\"sip-force-expires\" value=\"120\"/>, so that they expire soon.\n".to_owned()
        }
        Kind::Asterisk => {
            "# In pjsip.conf: support_path = yes in each aor, rewrite_contact = no in each endpoint, and for the un-REGISTERs, with your secret and\n\
             # each word on a line of its own. NAME is a second secret: who writes the endpoint's name into From needs no password, either.\n\
             #   [global]              type=global  endpoint_identifier_order=header,ip,username,anonymous\n\
             #   [sipway-close-NAME]   type=endpoint  context=nowhere  disallow=all  allow=ulaw  identify_by=header,username  aors=ALL,OF,THEM\n\
             #   [sipway-close]        type=identify  endpoint=sipway-close-NAME  match_header=X-Sipway-Close: SECRET\n"
                .to_owned()
        }
        Kind::Other => {
            "# \"path\" if it saves a Path (RFC 3327) and calls along it, \"contact-rewrite\" if a Path confuses it. It must ask no password for a REGISTER\n\
             # with the field above and the secret in it, and for every other; if it cannot do that: unregister = \"never\".\n"
                .to_owned()
        }
    }
}

/// What to write at the PBX, so that it takes this server for a trunk.
fn trunk(kind: Kind, ServerPlace { here, port, domain }: ServerPlace<'_>) -> String {
    let lines = match kind {
        Kind::Kamailio => format!(
            "# In kamailio.cfg: calls that come from $si == \"{here}\" need no password, their callers have proved here who they are (REGISTERs never).\n\
             # Calls to users here: $ru = \"sip:\" + $rU + \"@{domain}\"; $du = \"sip:{here}:{port}\"; t_relay();\n"
        ),
        Kind::Freeswitch => format!(
            "# In FreeSWITCH: an acl with {here} as apply-inbound-acl of the profile (never as apply-register-acl). Calls to users here:\n\
             #   <action application=\"bridge\" data=\"sofia/external/$1@{domain};fs_path=sip:{here}:{port}\"/>\n"
        ),
        Kind::Asterisk => format!(
            "# In pjsip.conf, each word on a line of its own:\n\
             #   [sipway]   type=endpoint  context=from-sipway  aors=sipway  webrtc=yes  disallow=all  allow=opus,ulaw  identify_by=ip\n\
             #              trust_id_inbound=yes  send_pai=yes  from_domain={domain}  outbound_proxy=sip:{here}:{port}\\;lr\n\
             #   [sipway]   type=aor  contact=sip:{here}:{port}\n\
             #   [sipway]   type=identify  endpoint=sipway  match={here}\n\
             # In extensions.conf, calls to users here: Dial(PJSIP/sipway/sip:${{EXTEN}}@{domain})\n"
        ),
        Kind::Other => format!(
            "# At the PBX: a trunk to {here}:{port}, without registration or password, known by that address. It calls sip:USER@{domain} there.\n"
        ),
    };
    format!("{lines}# docs/PBX.md says more.\n")
}
