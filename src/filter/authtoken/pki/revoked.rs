//! The list of revoked tokens (`{"revoked": [{"id": …, "expires": …}]}`), and for how long it counts.
//!
//! Must not know where it comes from.

use std::collections::HashSet;
use std::time::Instant;

use serde_json::Value;

use crate::filter::authtoken::identity::truthy;

/// A list.
#[derive(Debug)]
pub struct Revoked {
    /// Until when nobody asks for another one.
    pub until: Instant,
    /// `None`: it is no such list; the original breaks at it whenever it looks there.
    listed: Option<Listed>,
}

#[derive(Debug, Default)]
struct Listed {
    ids: HashSet<Box<str>>,
    audits: HashSet<Box<str>>,
}

impl Revoked {
    /// Reads a list. `None` when it is no JSON.
    pub fn parse(json: &[u8], until: Instant) -> Option<Self> {
        let json = serde_json::from_slice(json).ok()?;
        Some(Self { until, listed: listed(&json) })
    }

    /// One that nobody can read.
    pub fn unreadable(until: Instant) -> Self {
        Self { until, listed: None }
    }

    /// Whether one of these is the name of a revoked token; `None` when nobody can tell.
    pub fn has<'n>(&self, mut names: impl Iterator<Item = &'n str>) -> Option<bool> {
        let listed = self.listed.as_ref()?;
        Some(names.any(|name| listed.ids.contains(name)))
    }

    /// The same for the audit ids of a token.
    pub fn has_audit<'n>(&self, mut ids: impl Iterator<Item = &'n str>) -> Option<bool> {
        let listed = self.listed.as_ref()?;
        Some(ids.any(|id| listed.audits.contains(id)))
    }
}

fn listed(json: &Value) -> Option<Listed> {
    let mut listed = Listed::default();
    let Some(tokens) = json.as_object()?.get("revoked").filter(|tokens| truthy(tokens)) else { return Some(listed) };
    for token in tokens.as_array()? {
        listed.ids.insert(token.get("id")?.as_str()?.into());
        listed.audits.extend(token.get("audit_id").and_then(Value::as_str).map(Into::into));
    }
    Some(listed)
}
