//! The credentials of an `Authorization` or `Proxy-Authorization` header, read with suspicion.

use crate::algorithm::{Algorithm, Counted, Ha1};
use crate::authenticator::RefuseReason;
use crate::params::Params;

/// Digest credentials whose parts are all there and of the right form.
#[derive(Debug)]
pub(crate) struct DigestCredentials<'p> {
    pub(crate) username: &'p str,
    pub(crate) nonce: &'p str,
    pub(crate) uri: &'p str,
    pub(crate) algorithm: Algorithm,
    pub(crate) response: Ha1,
    pub(crate) qop: Option<(Counted<'p>, u32)>,
}

/// What one set of parameters for our realm amounts to.
pub(crate) enum ReadCredentials<'p> {
    Good(DigestCredentials<'p>),
    /// An algorithm or quality of protection that was never offered: ask again.
    NotOffered,
    Bad(RefuseReason),
}

impl<'p> ReadCredentials<'p> {
    pub(crate) fn of(params: &'p Params<'_>) -> ReadCredentials<'p> {
        let want = |name| params.get(name).ok_or(RefuseReason::MissingParameter);
        let read = || -> Result<Option<DigestCredentials<'p>>, RefuseReason> {
            let (username, nonce) = (want("username")?, want("nonce")?);
            let (uri, response) = (want("uri")?, want("response")?);
            let algorithm = match params.get("algorithm").map(Algorithm::from_name) {
                // RFC 7616 §3.3: MD5 where nothing is said.
                None => Algorithm::Md5,
                Some(Some(algorithm)) => algorithm,
                Some(None) => return Ok(None),
            };
            let response = Ha1::from_hex(algorithm, response).ok_or(RefuseReason::BadParameter)?;
            let qop = match params.get("qop") {
                None => None,
                Some(qop) if qop.eq_ignore_ascii_case("auth") => {
                    let (nc, cnonce) = (want("nc")?, want("cnonce")?);
                    let hex = nc.len() == 8 && nc.bytes().all(|byte| byte.is_ascii_hexdigit());
                    let count = u32::from_str_radix(nc, 16).ok().filter(|count| hex && *count > 0);
                    Some((Counted { nc, cnonce }, count.ok_or(RefuseReason::BadParameter)?))
                }
                Some(_) => return Ok(None),
            };
            Ok(Some(DigestCredentials { username, nonce, uri, algorithm, response, qop }))
        };
        match read() {
            Ok(Some(credentials)) => ReadCredentials::Good(credentials),
            Ok(None) => ReadCredentials::NotOffered,
            Err(reason) => ReadCredentials::Bad(reason),
        }
    }
}
