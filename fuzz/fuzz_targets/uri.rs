//! URIs and name-addrs: reading never panics, a URI is the same as itself read again, keys are stable.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_message::{NameAddr, Uri, Via};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(uri) = Uri::parse(bytes) {
        assert_eq!(uri.as_bytes(), bytes);
        let _ = (uri.maddr(), uri.transport(), uri.lr(), uri.unescaped_user());
        assert!(uri.same(&uri));
        if let (Some(key), true) = (uri.address_of_record(), uri.is_sip()) {
            let again = format!("sip:{key}");
            // A host is case-insensitive and a user is unescaped, so a key is its own key when its user part
            // is plain.
            if let (Ok(again), Some(user)) = (Uri::parse(again.as_bytes()), uri.user())
                && user.is_ascii()
                && !user.contains(&b'%')
            {
                assert_eq!(again.address_of_record().as_deref(), Some(key.as_str()));
            }
        }
    }
    if let Ok(address) = NameAddr::parse(bytes) {
        let _ = (address.uri(), address.tag(), address.q(), address.expires(), address.instance());
    }
    if let Ok(via) = Via::parse(bytes) {
        let _ = (via.received(), via.rport(), via.maddr(), via.transport());
    }
});
