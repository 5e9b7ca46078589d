//! Where a connection really comes from, and what one address and one user may take.
//!
//! - [`Network`], [`Networks`]: ranges of addresses, as operators write them.
//! - [`ClientAddress`]: by what a listener knows its clients: by their sockets, or by what a trusted proxy in
//!   front of it tells, with the PROXY protocol ([`proxy_header`]), `X-Forwarded-For` or `Forwarded`
//!   ([`forwarded`]).
//! - [`AddressTable`]: how every address stands by [`Limits`]: what it has open, how fast it comes, how often
//!   it failed, whether it is banned.
//! - [`Users`]: what every user takes, by [`UserLimits`]; [`Guesses`]: how often passwords were guessed for
//!   each; [`ThrottledUsers`]: which users were hindered lately.
//! - [`RecentEvents`]: how often something is done for each of many names.
//!
//! Pure: no sockets, no clock.
#![forbid(unsafe_code)]

mod address_table;
mod client;
pub mod forwarded;
mod guesses;
mod leaky_bucket;
mod limits;
mod network;
mod paced;
pub mod proxy_header;
mod remembered;
mod source;
mod throttled_users;
mod users;

pub use address_table::{AddressTable, Arrived, Ban, Judgement, Log, TurnedAway};
pub use client::{Client, ClientAddress};
pub use guesses::{Guesses, LoginTry, TRIES};
pub use limits::{Limits, Offence, TurnedAwayCause};
pub use network::{BadNetwork, Network, Networks};
pub use paced::{BurstRate, RecentEvents, Turn};
pub use source::{By, Source};
pub use throttled_users::{HinderedUser, ThrottledUsers};
pub use users::{Hindrance, Pace, User, UserCall, UserConnection, UserLimits, Users};
