//! A flow from open to close.
