//! What a REGISTER asks for, read out of the message.

use sip_message::{Contact, HeaderId, Message, NameAddr, NumberError, Uri};

use crate::{CONTACT_VALUES, Policy, Refusal, StoredPart};

/// What one Contact value asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContactRequest<'r> {
    /// The Contact URI.
    pub uri: Uri<'r>,
    /// `+sip.instance` without quotes and angle brackets (RFC 5626 §4.1).
    pub instance: Option<&'r [u8]>,
    /// `reg-id` (RFC 5626 §4.2); only beside an instance.
    pub reg_id: Option<u32>,
    /// The preference in thousandths; counts as 1000 when absent.
    pub q: Option<u16>,
    /// Seconds granted; 0 removes the binding.
    pub expires: u32,
}

impl<'r> ContactRequest<'r> {
    fn read(contact: &NameAddr<'r>, expires: u32) -> Result<Self, Refusal> {
        let uri = contact.uri().map_err(Refusal::ContactUri)?;
        StoredPart::ContactUri.check(uri.as_bytes().len())?;
        let instance = contact.instance().filter(|instance| !instance.is_empty());
        if let Some(instance) = instance {
            StoredPart::Instance.check(instance.len())?;
            if instance.iter().any(u8::is_ascii_control) {
                return Err(Refusal::Instance);
            }
        }
        let reg_id = instance.and(contact.reg_id());
        Ok(Self { uri, instance, reg_id, q: contact.q(), expires })
    }

    /// What identifies a registration over a flow (RFC 5626 §6), if the contact has it.
    pub(crate) fn pair(&self) -> Option<(&'r [u8], u32)> {
        self.instance.zip(self.reg_id)
    }

    pub(crate) fn same(&self, other: &ContactRequest<'_>) -> bool {
        match (self.pair(), other.pair()) {
            (Some(one), Some(two)) => one == two,
            _ => self.uri.same(&other.uri),
        }
    }
}

/// The Contact values of a REGISTER.
#[derive(Debug)]
pub(crate) enum ContactRequests<'r> {
    /// `*` with `Expires: 0`: remove every binding.
    RemoveAll,
    /// Each contact; none in a query.
    Each(Vec<ContactRequest<'r>>),
}

impl<'r> ContactRequests<'r> {
    pub(crate) fn read(request: &Message<'r>, policy: &Policy) -> Result<Self, Refusal> {
        let general = match request.expires() {
            Ok(expires) => expires,
            Err(NumberError::TooLarge) => Some(u32::MAX),
            // RFC 3261 §20.19.
            Err(NumberError::NotANumber) => Some(3600),
        };
        let mut contacts = request.contacts();
        let mut each: Vec<ContactRequest<'r>> = Vec::new();
        while let Some((_, contact)) = contacts.next() {
            match contact.map_err(Refusal::Contact)? {
                Contact::Star if !each.is_empty() || contacts.next().is_some() => {
                    return Err(Refusal::StarNotAlone);
                }
                Contact::Star if general != Some(0) => return Err(Refusal::StarWithoutZero),
                Contact::Star => return Ok(Self::RemoveAll),
                Contact::Addr(contact) => {
                    if each.len() >= CONTACT_VALUES {
                        return Err(Refusal::TooManyValues);
                    }
                    let granted = policy.grant(contact.expires().or(general));
                    let expires = granted.ok_or(Refusal::TooBrief { min_expires: policy.min_expires })?;
                    let wish = ContactRequest::read(&contact, expires)?;
                    if each.iter().any(|other| other.same(&wish)) {
                        return Err(Refusal::ContactTwice);
                    }
                    each.push(wish);
                }
            }
        }
        Ok(Self::Each(each))
    }
}

/// The key under which a REGISTER's bindings are kept: To's URI in its canonical form (RFC 3261 §10.3 step
/// 5).
///
/// # Errors
/// To is missing or malformed, or its URI has a scheme that cannot be registered.
pub fn address_of_record(request: &Message<'_>) -> Result<String, Refusal> {
    let to = request.to().map_err(Refusal::To)?.uri().map_err(Refusal::ToUri)?;
    let key = to.address_of_record().ok_or(Refusal::ToScheme)?;
    StoredPart::AddressOfRecord.check(key.len())?;
    Ok(key)
}

/// Checks what goes with every binding of the request.
pub(crate) fn check_path(request: &Message<'_>) -> Result<(), Refusal> {
    let mut len = 0;
    for (value, path) in request.paths() {
        path.map_err(Refusal::Path)?;
        len += value.bytes.len() + 2;
    }
    StoredPart::Path.check(len)
}

/// Call-ID and CSeq number.
pub(crate) fn order<'r>(request: &Message<'r>) -> Result<(&'r [u8], u32), Refusal> {
    let call_id = request.value(HeaderId::CallId).filter(|id| !id.is_empty()).ok_or(Refusal::NoCallId)?;
    StoredPart::CallId.check(call_id.len())?;
    Ok((call_id, request.cseq().map_err(Refusal::CSeq)?.number))
}
