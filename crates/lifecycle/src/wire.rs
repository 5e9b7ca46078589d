//! What the ledger records of each event: one type for each, which writes the record's JSON and reads it.
//!
//! Readers stay able to read the ledgers of other versions: a word that this program does not know stays a
//! [`crate::Word::Unknown`], and a field that it does not know is passed over.

pub(crate) mod binding;
pub(crate) mod call;
pub(crate) mod flow;
pub(crate) mod node;
pub(crate) mod subject;
pub(crate) mod time;
pub(crate) mod user;
