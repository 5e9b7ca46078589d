//! X-Forwarded-For and Forwarded from a stranger: no panic, and nothing that stands in front of what the
//! trusted proxy wrote can change whose request it is.
#![no_main]

use defence::{Client, Network, Networks, forwarded};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let trusted: Networks = ["10.0.0.0/8"].iter().filter_map(|text| text.parse::<Network>().ok()).collect();
    let lines = || data.split(|&byte| byte == b'\n');
    let _ = forwarded::by_x_forwarded_for(lines(), &trusted);
    let _ = forwarded::by_forwarded(lines(), &trusted);

    let client = Client::read("192.0.2.1");
    for own in ["192.0.2.1", "192.0.2.1, 10.0.0.1"] {
        let line = [data, b",", own.as_bytes()].concat();
        assert_eq!(forwarded::by_x_forwarded_for([line.as_slice()].into_iter(), &trusted), client);
    }
    for own in ["for=192.0.2.1", "for=\"192.0.2.1\";proto=https, for=10.0.0.1;by=_me"] {
        let line = [data, b",", own.as_bytes()].concat();
        assert_eq!(forwarded::by_forwarded([line.as_slice()].into_iter(), &trusted), client);
    }
});
