//! What clients do.

use lifecycle::{Cause, Ending};

use super::World;
use crate::{
    Planted,
    client::{self, BindingRequest, Connection, Device, Registered, State},
};

impl World {
    pub(super) fn connect(&mut self) {
        let crowd = self.crowd;
        let Some(process) = self.process.as_mut().filter(|one| one.connections.len() < crowd) else { return };
        process.counter += 1;
        let device = Device::any(&mut self.chance);
        let asked =
            Connection::ask(&process.registry, &self.clock, device, process.counter, self.plan.planted);
        let Some(connection) = asked else {
            self.totals.refused += 1;
            return;
        };
        tell!(self, "{} asks to be opened for {device:?}", connection.name);
        process.connections.push(connection);
        let last = process.connections.len() - 1;
        self.poll(last);
    }

    /// Looks whether a flow is open by now.
    pub(super) fn poll(&mut self, index: usize) {
        let Some(process) = &mut self.process else { return };
        let connection = &mut process.connections[index];
        let State::Opening(opening) = &mut connection.state else { return };
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match opening.as_mut().poll(&mut context) {
            std::task::Poll::Pending => {
                if self.plan.planted == Some(Planted::UsableBeforeDurable) && self.chance.once_in(8) {
                    self.witness.usable(connection.flow);
                }
            }
            std::task::Poll::Ready(Ok(flow)) => {
                let (id, name) = (connection.flow, connection.name.clone());
                connection.state = State::Open(flow);
                self.witness.usable(id);
                self.totals.flows += 1;
                tell!(self, "{name} is open");
            }
            std::task::Poll::Ready(Err(why)) => {
                let connection = process.connections.swap_remove(index);
                self.totals.refused += 1;
                tell!(self, "{} is refused: {why}", connection.name);
            }
        }
    }

    /// A connection does something.
    pub(super) fn act(&mut self) -> Result<(), String> {
        let Some(process) = self.process.as_mut().filter(|one| !one.connections.is_empty()) else {
            return Ok(());
        };
        let index = self.chance.index(process.connections.len());
        let connection = &mut process.connections[index];
        let State::Open(_) = &connection.state else {
            self.poll(index);
            return Ok(());
        };
        match self.chance.below(20) {
            0..=6 => {
                connection.registers += 1;
                let expires = match self.chance.below(8) {
                    0 => 0,
                    1 => 60,
                    _ => 600,
                };
                let wish = BindingRequest {
                    device: connection.device,
                    flow: Some((connection.flow, &connection.name)),
                    cseq: connection.registers,
                    expires,
                };
                let done = self.bindings.register(&process.registry, &self.clock, &wish)?;
                if done == Registered::Done {
                    self.totals.registers += 1;
                }
                tell!(self, "{} registers for {expires} s: {done:?}", process.connections[index].name);
            }
            7..=13 => {
                let ending = client::ending(&mut self.chance);
                self.end(index, &ending)?;
            }
            // It goes on talking.
            _ => {}
        }
        Ok(())
    }

    /// A flow ends: it is closed, or its task is lost, which closes it too.
    pub(super) fn end(&mut self, index: usize, ending: &Ending) -> Result<(), String> {
        let Some(process) = &mut self.process else { return Ok(()) };
        let Connection { flow: id, name, device, state, .. } = process.connections.swap_remove(index);
        let State::Open(flow) = state else { return Ok(()) };
        tell!(self, "{name} ends: {}", ending.cause);
        self.witness.ended(id, ending.cause);
        match self.plan.planted {
            Some(Planted::CloseWithoutRecord) if self.chance.once_in(16) => {
                drop(process.registry.location().flow_closed(id));
                std::mem::forget(flow);
            }
            Some(Planted::StaleCloseDeletesNewer) => {
                flow.close(ending);
                if let Some(newer) = self.bindings.moved_on(device, id) {
                    // By the address-of-record and not by the flow.
                    drop(process.registry.location().flow_closed(newer));
                }
            }
            _ if ending.cause == Cause::InternalError => drop(flow),
            _ => flow.close(ending),
        }
        self.bindings.ended(id);
        self.bindings.compare_user(&process.registry, device.user, self.clock.now())
    }

    /// A desk phone registers over UDP, where bindings have no flow.
    pub(super) fn datagram(&mut self) -> Result<(), String> {
        let Some(process) = &mut self.process else { return Ok(()) };
        if !self.chance.once_in(3) {
            return Ok(());
        }
        let device = Device { user: self.chance.below(client::USERS), number: client::DEVICES };
        let expires = self.chance.pick(&[0, 60, 600]);
        let wish = BindingRequest { device, flow: None, cseq: self.totals.steps, expires };
        let done = self.bindings.register(&process.registry, &self.clock, &wish)?;
        tell!(self, "{device:?} registers over UDP for {expires} s: {done:?}");
        Ok(())
    }
}
