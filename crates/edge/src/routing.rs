//! Who may call whom, and where a request goes: the security policy of the server.

pub(crate) mod answering;
pub(crate) mod backend;
pub(crate) mod environment;
pub(crate) mod event_state;
pub(crate) mod flow_token;
pub(crate) mod granted;
pub(crate) mod gruu;
pub(crate) mod own_contacts;
pub(crate) mod redirects;
pub(crate) mod register;
pub(crate) mod response_address;
pub(crate) mod returned;
pub(crate) mod rewritten_contact;
pub(crate) mod sender;
pub(crate) mod targets;
