//! Digest verdicts.
