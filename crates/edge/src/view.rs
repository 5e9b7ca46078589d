//! What the server knows, for people who ask.

use std::sync::Arc;

use lifecycle::{FlowFacts, Traffic};
use serde::Serialize;

/// An open flow.
#[derive(Clone, Debug, Serialize)]
pub struct FlowView {
    /// Its id.
    pub flow: String,
    /// When it opened, RFC 3339.
    pub opened_at: String,
    /// What is known of it.
    #[serde(flatten)]
    pub facts: Arc<FlowFacts>,
    /// Who the user agent proved to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// What has passed.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// Its bindings.
    pub bindings: Vec<BindingView>,
}

/// A binding.
#[derive(Clone, Debug, Serialize)]
pub struct BindingView {
    /// The address-of-record.
    pub aor: String,
    /// The contact URI.
    pub contact: String,
    /// Seconds until it ends unless it is refreshed.
    pub expires_in: u32,
}
