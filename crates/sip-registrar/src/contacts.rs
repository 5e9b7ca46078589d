//! The Contact value of a 200 to REGISTER.

use std::io::Write;

use crate::write_gruu;

/// A binding as the 200 lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedBinding<'a> {
    /// The Contact URI as it was registered.
    pub contact: &'a [u8],
    /// `+sip.instance` without quotes and angle brackets.
    pub instance: Option<&'a [u8]>,
    /// `reg-id`.
    pub reg_id: Option<u32>,
    /// The preference in thousandths.
    pub q: Option<u16>,
    /// Seconds that it has left.
    pub expires: u32,
    /// Whose it is, if its instance's public GRUU is to be told.
    pub gruu: Option<&'a str>,
}

/// Appends one Contact header field value that lists every binding (RFC 3261 §10.3 step 8), separated by
/// commas; nothing if there is none.
pub fn write_contacts<'a>(bindings: impl IntoIterator<Item = ListedBinding<'a>>, out: &mut Vec<u8>) {
    let mut separator: &[u8] = b"";
    for binding in bindings {
        out.extend_from_slice(separator);
        separator = b", ";
        out.push(b'<');
        out.extend_from_slice(binding.contact);
        out.push(b'>');
        if let Some(q) = binding.q {
            push(out, format_args!(";q={}", Thousandths(q)));
        }
        push(out, format_args!(";expires={}", binding.expires));
        if let Some(instance) = binding.instance {
            out.extend_from_slice(b";+sip.instance=\"<");
            out.extend_from_slice(instance);
            out.extend_from_slice(b">\"");
            if let Some(reg_id) = binding.reg_id {
                push(out, format_args!(";reg-id={reg_id}"));
            }
            if let Some(aor) = binding.gruu {
                let before = out.len();
                out.extend_from_slice(b";pub-gruu=\"");
                match write_gruu(aor, instance, out) {
                    Some(()) => out.push(b'"'),
                    None => out.truncate(before),
                }
            }
        }
    }
}

fn push(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a Vec takes all that is written");
}

/// `1`, `0`, or `0.` and the digits that count.
struct Thousandths(u16);

impl std::fmt::Display for Thousandths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            0 => f.write_str("0"),
            1000.. => f.write_str("1"),
            q if q % 100 == 0 => write!(f, "0.{}", q / 100),
            q if q % 10 == 0 => write!(f, "0.{:02}", q / 10),
            q => write!(f, "0.{q:03}"),
        }
    }
}
