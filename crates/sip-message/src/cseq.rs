//! CSeq (RFC 3261 §20.16).

use crate::syntax::{decimal, is_lws, is_token, trim_start};
use crate::{CSeqError, Method, NumberError};

/// A sequence number and the method it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CSeq<'b> {
    /// Below 2³¹.
    pub number: u32,
    /// The method.
    pub method: Method<'b>,
}

impl<'b> CSeq<'b> {
    /// Reads the value of a CSeq header field.
    pub fn parse(value: &'b [u8]) -> Result<CSeq<'b>, CSeqError> {
        let gap = value.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(value.len());
        if value.get(gap).is_some_and(|&byte| !is_lws(byte)) {
            return Err(CSeqError::NotANumber);
        }
        let number = match decimal(&value[..gap]) {
            Ok(number) if number < 1 << 31 => number,
            Ok(_) | Err(NumberError::TooLarge) => return Err(CSeqError::TooLarge),
            Err(NumberError::NotANumber) => return Err(CSeqError::NotANumber),
        };
        let method = Method::from_bytes(trim_start(&value[gap..]));
        match method {
            Method::Other(name) if !is_token(name) => Err(CSeqError::Method),
            _ => Ok(CSeq { number, method }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_and_form() {
        assert_eq!(CSeq::parse(b"0009\r\n  INVITE"), Ok(CSeq { number: 9, method: Method::Invite }));
        assert_eq!(
            CSeq::parse(b"2147483647 X"),
            Ok(CSeq { number: 2147483647, method: Method::Other(b"X") })
        );
        for (text, error) in [
            (&b"2147483648 X"[..], CSeqError::TooLarge),
            (b"36893488147419103232 REGISTER", CSeqError::TooLarge),
            (b"-1 X", CSeqError::NotANumber),
            (b"", CSeqError::NotANumber),
            (b"1", CSeqError::Method),
            (b"1 A B", CSeqError::Method),
        ] {
            assert_eq!(CSeq::parse(text), Err(error));
        }
    }
}
