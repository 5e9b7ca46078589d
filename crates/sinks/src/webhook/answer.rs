//! What an HTTP answer means for the event that was sent.

use std::time::{Duration, SystemTime};

use hyper::header::{LOCATION, RETRY_AFTER};
use hyper::{HeaderMap, StatusCode};
use lifecycle::Text;

use super::client::Answer;

/// What becomes of the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The server has it.
    Accepted,
    /// It may take it later.
    Later,
    /// It will not take it like this.
    Refused,
    /// It takes nothing at this address, or nothing from us.
    Unwelcome,
}

/// RFC 9110 §15: 5xx and the 4xx that speak of time, not of the request, pass. Redirects and those that speak
/// of the address or of who is asking have nothing to do with the event. The other 4xx refuse it.
pub(crate) fn verdict(status: StatusCode) -> Verdict {
    match status.as_u16() {
        200..=299 => Verdict::Accepted,
        408 | 409 | 425 | 429 | 500.. => Verdict::Later,
        300..=399 | 401 | 407 | 410 => Verdict::Unwelcome,
        _ => Verdict::Refused,
    }
}

/// `Retry-After` in seconds or as a date (RFC 9110 §10.2.3); a date that is over means now.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
    Some(SystemTime::from(date).duration_since(now).unwrap_or_default())
}

/// How long a server is left alone that says its address is gone for good (Standard Webhooks: stop sending).
const GONE: Duration = Duration::from_secs(3600);

/// How long the server wants to be left alone.
pub(crate) fn wish(answer: &Answer, now: SystemTime) -> Option<Duration> {
    let asked = retry_after(&answer.headers, now);
    if answer.status == StatusCode::GONE { asked.max(Some(GONE)) } else { asked }
}

/// The answer in one short line.
pub(crate) fn describe(answer: &Answer) -> String {
    let mut text = format!("HTTP {}", answer.status.as_u16());
    if let Some(reason) = answer.status.canonical_reason() {
        text = format!("{text} {reason}");
    }
    if answer.status.is_redirection()
        && let Some(to) = answer.headers.get(LOCATION)
    {
        let to = Text::<120>::new(to.as_bytes());
        return format!("{text}: redirects are not followed; it points to {to}");
    }
    if answer.status == StatusCode::GONE {
        return format!(
            "{text}: this address is given up for good. Give the sink another `url`, or remove it; asked again in an hour"
        );
    }
    let body = Text::<120>::new(answer.body.trim_ascii());
    if body.as_str().is_empty() { text } else { format!("{text}: {body}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_and_what_does_not() {
        for (status, meaning) in [
            (200, Verdict::Accepted),
            (202, Verdict::Accepted),
            (204, Verdict::Accepted),
            (301, Verdict::Unwelcome),
            (308, Verdict::Unwelcome),
            (400, Verdict::Refused),
            (401, Verdict::Unwelcome),
            (404, Verdict::Refused),
            (408, Verdict::Later),
            (409, Verdict::Later),
            (410, Verdict::Unwelcome),
            (413, Verdict::Refused),
            (425, Verdict::Later),
            (429, Verdict::Later),
            (500, Verdict::Later),
            (503, Verdict::Later),
            (599, Verdict::Later),
        ] {
            assert_eq!(verdict(StatusCode::from_u16(status).unwrap()), meaning, "{status}");
        }
    }

    #[test]
    fn retry_after_in_seconds_or_as_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 - 60);
        let parse = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            retry_after(&headers, now)
        };
        assert_eq!(parse("120"), Some(Duration::from_secs(120)));
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(parse("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(parse("99999999999999999999999"), Some(Duration::from_secs(u64::MAX)));
        for nonsense in ["", "-1", "soon", "1.5"] {
            assert_eq!(parse(nonsense), None, "{nonsense}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn a_body_is_cut_and_cleaned() {
        let answer = Answer {
            status: StatusCode::BAD_REQUEST,
            headers: HeaderMap::new(),
            body: [b"\x1b[2J no\n".as_slice(), &[b'x'; 5000]].concat(),
        };
        let text = describe(&answer);
        assert!(text.starts_with("HTTP 400 Bad Request: ?[2J no?xxx"), "{text}");
        assert!(text.len() < 160);
    }
}
