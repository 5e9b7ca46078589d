//! Contact values and the parameters a registrar reads (RFC 3261 §20.10, RFC 5626 §11.1).

use crate::{NameAddr, NameAddrError, Value, Values, syntax};

/// One Contact value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contact<'b> {
    /// `*`: all bindings, in a REGISTER that removes them.
    Star,
    /// An address.
    Addr(NameAddr<'b>),
}

impl<'b> NameAddr<'b> {
    /// The preference in thousandths, 0 to 1000; nothing if absent or malformed.
    pub fn q(&self) -> Option<u16> {
        let (whole, fraction) = match self.params().value(b"q")? {
            [whole] => (*whole, &b""[..]),
            [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (*whole, fraction),
            _ => return None,
        };
        let mut thousandths = 0;
        for place in 0..3 {
            let digit = fraction.get(place).copied().unwrap_or(b'0').wrapping_sub(b'0');
            thousandths = thousandths * 10 + if digit <= 9 { u16::from(digit) } else { return None };
        }
        match whole {
            b'0' => Some(thousandths),
            b'1' if thousandths == 0 => Some(1000),
            _ => None,
        }
    }

    /// The `expires` parameter in seconds. One beyond 2³²-1 counts as 2³²-1, a malformed one as 3600
    /// (RFC 3261 §20.10); nothing when absent.
    pub fn expires(&self) -> Option<u32> {
        let param = self.params().get(b"expires")?;
        Some(match param.value.map(syntax::decimal) {
            Some(Ok(seconds)) => seconds,
            Some(Err(crate::NumberError::TooLarge)) => u32::MAX,
            Some(Err(crate::NumberError::NotANumber)) | None => 3600,
        })
    }

    /// `+sip.instance` without quotes and angle brackets, a URN as a rule (RFC 5626 §4.1).
    pub fn instance(&self) -> Option<&'b [u8]> {
        let value = self.params().get(b"+sip.instance")?.unquoted()?;
        Some(value.strip_prefix(b"<").and_then(|value| value.strip_suffix(b">")).unwrap_or(value))
    }

    /// `reg-id`, 1 to 2³¹-1 (RFC 5626 §4.2); nothing if absent or malformed.
    pub fn reg_id(&self) -> Option<u32> {
        let number = syntax::decimal(self.params().value(b"reg-id")?).ok()?;
        (1..1 << 31).contains(&number).then_some(number)
    }
}

/// The Contact values of a message, each with where it stands.
#[derive(Debug, Clone)]
pub struct Contacts<'m, 'b> {
    values: Values<'m, 'b>,
}

impl<'m, 'b> Contacts<'m, 'b> {
    pub(crate) fn new(values: Values<'m, 'b>) -> Contacts<'m, 'b> {
        Contacts { values }
    }
}

impl<'b> Iterator for Contacts<'_, 'b> {
    /// The value as it stands and what it says.
    type Item = (Value<'b>, Result<Contact<'b>, NameAddrError>);

    fn next(&mut self) -> Option<Self::Item> {
        let value = self.values.next()?;
        let contact = match value.bytes {
            b"*" => Ok(Contact::Star),
            bytes => NameAddr::parse(bytes).map(Contact::Addr),
        };
        Some((value, contact))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_a_browser_contact() {
        let text = b"<sip:8k2@q.invalid;transport=ws;ob>;+sip.instance=\"<urn:uuid:1-2>\";reg-id=1;expires=600;q=0.25";
        let contact = NameAddr::parse(text).unwrap();
        assert_eq!(contact.instance(), Some(&b"urn:uuid:1-2"[..]));
        assert_eq!((contact.reg_id(), contact.expires(), contact.q()), (Some(1), Some(600), Some(250)));
    }

    #[test]
    fn numbers_out_of_range() {
        let read = |params: &str| {
            let text = format!("<sip:a@b>{params}");
            let contact = NameAddr::parse(text.as_bytes()).unwrap();
            (contact.q(), contact.expires(), contact.reg_id())
        };
        assert_eq!(read(""), (None, None, None));
        assert_eq!(read(";q=1;expires=280297596632815;reg-id=0"), (Some(1000), Some(u32::MAX), None));
        assert_eq!(read(";q=1.001;expires=soon;reg-id=2147483648"), (None, Some(3600), None));
        assert_eq!(read(";q=0.5x;expires;reg-id=2147483647"), (None, Some(3600), Some(2147483647)));
        assert_eq!(read(";q=0.33"), (Some(330), None, None));
    }
}
