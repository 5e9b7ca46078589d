//! Bindings in memory, each owned by an open flow or, over UDP, by nobody.
//!
//! [`Location`] is a plain value without I/O, clock or lock: its owner holds a lock for the length
//! of a call. It knows every open flow, and a binding can only be added to a flow that is open. So a REGISTER
//! that is handled late cannot leave a ghost, and [`Location::flow_closed`] takes away exactly what belongs
//! to that flow: a registration that a newer flow took over is not among it, whichever of the two was seen
//! first.
//!
//! Each binding carries an `R`, given when it is added and handed back with it when it goes: the room in the
//! ledger for the record of its end. [`Presence`] says who is online by the bindings there are and a
//! hold-off.
#![forbid(unsafe_code)]

mod aor_index;
mod binding;
mod expiry;
mod flow_index;
mod location;
mod phones;
mod presence;
mod register;
mod stored_binding;

pub use aor_index::number_of;
pub use binding::{Binding, BindingHop, SocketPeer};
pub use location::{Location, Taken};
pub use presence::{Came, Gone, Owed, Presence};
pub use register::{Register, RegisterError, Registration};
pub use stored_binding::StoredBinding;
