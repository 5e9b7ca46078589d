//! What a load balancer, or somebody who is none, says first: no panic, a verdict once given stands, nothing
//! is taken that is not there.
#![no_main]

use defence::proxy_header::{Header, LONGEST, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    match read(data) {
        Ok(Header::Incomplete) => assert!(data.len() < LONGEST),
        Ok(whole @ Header::Whole { length, .. }) => {
            assert!(length <= data.len() && length <= LONGEST);
            assert_eq!(read(&data[..length]), Ok(whole), "what follows does not count");
            assert_eq!(read(&data[..length - 1]), Ok(Header::Incomplete));
        }
        Err(error) => {
            let more = [data, b"\r\n 192.0.2.1"].concat();
            assert_eq!(read(&more), Err(error), "nothing mends it");
        }
    }
});
