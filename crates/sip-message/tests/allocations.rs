//! Forwarding allocates nothing once the output buffer has grown.
#![allow(clippy::unwrap_used)]

mod browser_invite;

use allocation_counter::measure;
use browser_invite::{INVITE, forward};
use sip_message::response::ResponseBuilder;
use sip_message::{Frame, FrameLimits, Message, StreamFramer};

#[test]
fn one_browser_invite_costs_no_allocation() {
    let mut out = Vec::with_capacity(4096);
    let info = measure(|| forward(INVITE, &mut out));
    assert_eq!(info.count_total, 0);
    assert_eq!(out.len(), 1254);
    let again = Message::parse(&out).unwrap();
    assert_eq!(again.headers().count(), 22, "a Via and two Record-Routes more, one Route less");
}

#[test]
fn checking_framing_and_answering_cost_none_either() {
    let mut out = Vec::with_capacity(4096);
    let info = measure(|| {
        let frame = StreamFramer::new(FrameLimits::default()).next(INVITE);
        assert!(matches!(frame, Ok(Frame::Message { .. })));
        let message = Message::parse(INVITE).unwrap();
        assert!(message.check_request().unwrap().is_empty());
        ResponseBuilder::new(&message, 404, "Not Found").to_tag(b"x").write(&mut out).unwrap();
    });
    assert_eq!(info.count_total, 0);
}
