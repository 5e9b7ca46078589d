//! Byte classes and the few scanning steps that every grammar of RFC 3261 §25.1 shares.

use crate::words::{equal, find};

const fn token_table() -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(byte as u8, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'!' | b'%' | b'*' | b'_'
            | b'+' | b'`' | b'\'' | b'~');
        byte += 1;
    }
    table
}

static TOKEN: [bool; 256] = token_table();

#[inline]
pub(crate) fn is_token_byte(byte: u8) -> bool {
    TOKEN[byte as usize]
}

pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

/// Linear white space inside an indexed value: a CR or LF there can only belong to a fold.
#[inline]
pub(crate) fn is_lws(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Whether an octet up to and including space is in there. Looks at all of them, which goes many at a time.
#[inline]
pub(crate) fn has_space_or_control(bytes: &[u8]) -> bool {
    bytes.iter().fold(false, |found, &byte| found | (byte <= b' '))
}

#[inline]
pub(crate) fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes {
        if !is_lws(*first) {
            break;
        }
        bytes = rest;
    }
    bytes
}

#[inline]
pub(crate) fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., last] = bytes {
        if !is_lws(*last) {
            break;
        }
        bytes = rest;
    }
    bytes
}

#[inline]
pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    trim_end(trim_start(bytes))
}

/// The length of the token that `bytes` starts with.
#[inline]
pub(crate) fn token_len(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| !is_token_byte(byte)).unwrap_or(bytes.len())
}

/// `bytes` starts with a `"`: the length up to and including the closing one, or nothing if it is never
/// closed.
pub(crate) fn quoted_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += find(bytes.get(at..)?, |word| equal(word, b'"') | equal(word, b'\\'))?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// A number of digits only, leading zeros allowed.
#[inline]
pub(crate) fn decimal(bytes: &[u8]) -> Result<u32, crate::NumberError> {
    if bytes.is_empty() {
        return Err(crate::NumberError::NotANumber);
    }
    let mut number: u64 = 0;
    for &byte in bytes {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(crate::NumberError::NotANumber);
        }
        // Saturates far above u32 and far below overflow, whatever the number of digits.
        number = (number * 10 + u64::from(digit)).min(1 << 40);
    }
    u32::try_from(number).map_err(|_| crate::NumberError::TooLarge)
}

/// The value of one hexadecimal digit.
#[inline]
pub(crate) fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Decimal digits of `number` into a caller's array, without allocating.
#[inline]
pub(crate) fn digits(mut number: u32, room: &mut [u8; 10]) -> &[u8] {
    let mut at = room.len();
    loop {
        at -= 1;
        room[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &room[at..];
        }
    }
}
