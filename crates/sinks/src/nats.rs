use ledger::Position;
use lifecycle::Node;

use crate::destination::{Appetite, Destination, Failure, Nature, Outgoing};

pub(crate) struct NatsSink;
impl NatsSink {
    pub(crate) fn new(_: config::Nats, _: Node) -> Self {
        Self
    }
    pub(crate) fn shown(&self) -> String {
        String::new()
    }
}
impl Destination for NatsSink {
    fn appetite(&self) -> Appetite {
        todo!()
    }
    async fn prepare(&mut self, from: Position) -> Result<Position, Failure> {
        todo!()
    }
    async fn deliver(&mut self, events: &[Outgoing]) -> Result<(), Failure> {
        todo!()
    }
    async fn settle(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}
