//! How many workers were started and why they ended, per API, since the front started.
//!
//! Must not know how metrics are shown.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::id::ApiName;
use crate::worker::state::Reason;

/// The counters; they only grow, and an API that is gone keeps its own.
#[derive(Debug, Default)]
pub struct SupervisorCounts {
    apis: Mutex<BTreeMap<ApiName, ApiCounts>>,
}

/// The counters of one API at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiCounts {
    /// Processes started.
    pub starts: u64,
    exits: [u64; Reason::ALL.len()],
}

impl ApiCounts {
    /// Processes that ended, for every reason (also those that no process ended for).
    pub fn exits(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL.into_iter().zip(self.exits)
    }
}

impl SupervisorCounts {
    /// Makes the API known, with nothing counted yet.
    pub(super) fn declare(&self, api: &ApiName) {
        self.change(api, |_| ());
    }

    pub(super) fn started(&self, api: &ApiName) {
        self.change(api, |counts| counts.starts += 1);
    }

    pub(super) fn ended(&self, api: &ApiName, reason: Reason) {
        self.change(api, |counts| {
            if let Some(count) = counts.exits.get_mut(reason as usize) {
                *count += 1;
            }
        });
    }

    /// All counters now.
    pub fn snapshot(&self) -> BTreeMap<ApiName, ApiCounts> {
        self.apis.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, api: &ApiName, change: impl FnOnce(&mut ApiCounts)) {
        let mut apis = self.apis.lock().unwrap_or_else(PoisonError::into_inner);
        change(apis.entry(api.clone()).or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_counted_on_its_own() {
        let counts = SupervisorCounts::default();
        let api = ApiName::from("ec2");
        counts.started(&api);
        for reason in Reason::ALL {
            counts.ended(&api, reason);
        }
        counts.ended(&api, Reason::Hang);
        let snapshot = counts.snapshot();
        assert_eq!(snapshot[&api].starts, 1);
        let exits: Vec<_> = snapshot[&api].exits().map(|(reason, n)| (reason.as_str(), n)).collect();
        assert_eq!(exits, [("asked", 1), ("exit", 1), ("signal", 1), ("never_ready", 1), ("hang", 2)]);
    }
}
