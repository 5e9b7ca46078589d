//! Where bindings without a flow are reached: datagrams from there come from a registered user.

use std::{collections::HashMap, net::SocketAddr};

use crate::BindingHop;

/// How many bindings each address has on each listener. A client chooses the address itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Phones(HashMap<(u16, SocketAddr), u32>);

impl Phones {
    pub(crate) fn come(&mut self, way: BindingHop, remote: SocketAddr) {
        if let BindingHop::Udp { listener } = way {
            *self.0.entry((listener, remote)).or_default() += 1;
        }
    }

    pub(crate) fn go(&mut self, way: BindingHop, remote: SocketAddr) {
        let BindingHop::Udp { listener } = way else { return };
        if let Some(count) = self.0.get_mut(&(listener, remote)) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&(listener, remote));
            }
        }
    }

    pub(crate) fn has(&self, listener: u16, remote: SocketAddr) -> bool {
        self.0.contains_key(&(listener, remote))
    }
}
