//! A request head from a stranger: no panic, a verdict once given stands, and the answer is one whole HTTP
//! response.
#![no_main]

use libfuzzer_sys::fuzz_target;
use websocket::handshake::{MissingOrigin, Outcome, Policy, SubProtocol, examine};

fuzz_target!(|data: &[u8]| {
    let strict = Policy {
        paths: &["/ws"],
        hosts: &["example.com"],
        origins: &["https://example.com", "https://*.example.com"],
        missing_origin: MissingOrigin::Refuse,
        max_head: 1024,
        max_headers: 16,
        ..Policy::default()
    };
    let open = Policy { sub_protocol: SubProtocol::Any, ..Policy::default() };
    for policy in [strict, open] {
        let mut out = Vec::new();
        match examine(data, &policy) {
            Outcome::Incomplete => {
                assert!(data.len() < policy.max_head);
                continue;
            }
            Outcome::NotUpgrade(request) => {
                assert!(request.head_len <= data.len().min(policy.max_head));
                let _ = (request.path(), request.query(), request.protocols().count());
                continue;
            }
            Outcome::Accept(accepted) => {
                let head_len = accepted.request.head_len;
                assert!(head_len <= data.len().min(policy.max_head));
                // The head alone is accepted, one byte less is not.
                assert!(matches!(examine(&data[..head_len], &policy), Outcome::Accept(_)));
                assert!(matches!(examine(&data[..head_len - 1], &policy), Outcome::Incomplete));
                accepted.write_response(&mut out, &[]);
                assert!(out.starts_with(b"HTTP/1.1 101 "));
            }
            Outcome::Refuse(refused) => {
                refused.refusal.write_response(&mut out);
                assert!(out.starts_with(format!("HTTP/1.1 {} ", refused.refusal.status()).as_bytes()));
            }
        }
        let ends = out.windows(4).filter(|window| window == b"\r\n\r\n").count();
        assert_eq!(ends, 1, "one head, with nothing smuggled into it");
    }
});
