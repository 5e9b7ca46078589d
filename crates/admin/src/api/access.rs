//! Access to the API: which requests are answered.

use std::{fmt, net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{
        HeaderValue, Method, StatusCode,
        header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use subtle::ConstantTimeEq as _;

use super::answer::Failure;

/// Which clients are accepted.
#[derive(Clone)]
pub enum Access {
    /// Everybody who reaches the port.
    Anyone,
    /// Who reaches the port, on this machine alone, by an address or as `localhost`: a page of another site
    /// whose name leads to this machine (DNS rebinding) could otherwise read and order what it likes.
    ByAddress,
    /// Requests with this token: `Authorization: Bearer …` (RFC 6750 §2.1).
    Bearer(String),
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anyone => "Anyone",
            Self::ByAddress => "ByAddress",
            Self::Bearer(_) => "Bearer(…)",
        })
    }
}

impl Access {
    fn admits(&self, request: &Request) -> bool {
        let token = match self {
            Self::Anyone => return true,
            Self::ByAddress => return is_by_address(request),
            Self::Bearer(token) => token,
        };
        let given = request.headers().get(AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
        let given = match given.split_at_checked(7) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case(b"Bearer ") => rest.trim_ascii(),
            _ => b"",
        };
        // The time this takes tells the length of the token and nothing else.
        given.ct_eq(token.as_bytes()).into()
    }
}

/// Lets through who may ask.
pub(super) async fn check(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    if access.admits(&request) {
        return next.run(request).await;
    }
    if matches!(*access, Access::ByAddress) {
        let error = "without a token this is open to this machine alone, by its address or as localhost: name the server so, or set \
                     `[admin] token_env`";
        return Failure::new(StatusCode::MISDIRECTED_REQUEST, error).into_response();
    }
    let error = "this server asks for its admin token: send `Authorization: Bearer TOKEN`, with the token that \
                 `[admin] token_env` of its configuration refers to";
    let mut response = Failure::new(StatusCode::UNAUTHORIZED, error).into_response();
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// Whether a request names its host by an address, or as `localhost`, or not at all, which no browser does.
pub(super) fn is_by_address(request: &Request) -> bool {
    let Some(host) = request.headers().get(HOST) else { return true };
    let host = host.to_str().unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// A page of another site that an operator has open could order things here, though it cannot read the
/// answers. Browsers say from where such a request comes.
pub(super) async fn no_strange_pages(request: Request, next: Next) -> Response {
    if is_order_of_another_site(&request) {
        let error = "a page of another site may not order anything here";
        return Failure::new(StatusCode::FORBIDDEN, error).into_response();
    }
    next.run(request).await
}

fn is_order_of_another_site(request: &Request) -> bool {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return false;
    }
    let header = |name| request.headers().get(name).map(HeaderValue::as_bytes);
    header(ORIGIN).is_some_and(|origin| {
        let authority = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
        authority.is_none() || authority != header(HOST)
    })
}
