//! Which program this is.

/// The release, and the commit that it was built from, as far as the build knew.
pub(crate) const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("SIPWAY_BUILD"), ")");
