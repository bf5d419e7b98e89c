//! Of a snapshot, what its views look at.

use std::sync::Arc;

use http::HeaderMap;

use super::usage::Usage;
use crate::id::{ApiName, Generation};
use crate::release::Release;
use crate::worker::Pool;

pub struct Snapshot {
    pub generation: Generation,
    pub release: Release,
    pub apis: Vec<Arc<Api>>,
    pub usage: Arc<Usage>,
    pub header: bool,
    pub canary: Option<Canary>,
}

pub struct Canary {
    pub snapshot: Arc<Snapshot>,
    pub share: CanaryShare,
}

#[derive(Clone, Default)]
pub struct CanaryShare;

impl CanaryShare {
    /// Every other request.
    pub fn takes(&self, _headers: &HeaderMap, turn: &mut u32) -> bool {
        *turn += 1;
        turn.is_multiple_of(2)
    }
}

pub struct Api {
    pub name: ApiName,
    pub listener: u64,
    pub former: Vec<u64>,
    pub mounts: u32,
    pub filter_names: Vec<&'static str>,
    pub pool: Arc<Pool>,
}
