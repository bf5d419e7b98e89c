//! The closed sets of label values.
//!
//! Must not know the metrics that have these labels.

use crate::command::{Outcome, Source, UpgradeOutcome};

macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$meaning:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$meaning])* $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The value of the label.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

words! {
    /// Why a worker did not answer a request: `upstream_errors_total{reason}`.
    UpstreamError {
        /// Its socket could not be connected to.
        Connect = "connect",
        /// It closed the connection before its answer was complete.
        Closed = "closed",
        /// It took longer than it may.
        Timeout = "timeout",
        /// Its answer was not understood.
        Malformed = "malformed",
        /// Its app let an exception go.
        App = "app",
        /// Any other error of its socket.
        Io = "io",
    }
}

words! {
    /// Why a request was turned away in front of the workers: `queue_rejected_total{reason}`.
    QueueRejection {
        /// `queue_size` requests waited already.
        Full = "full",
        /// It waited for `queue_timeout`.
        Timeout = "timeout",
    }
}

words! {
    /// Why an upgraded connection ended: `tunnels_ended_total{reason}`.
    TunnelEnd {
        /// Both ends have closed.
        Closed = "closed",
        /// One of them broke off.
        Io = "io",
        /// Nothing came from either for `client_socket_timeout`.
        Timeout = "timeout",
        /// The front was to end it: a drain, or the stop.
        Asked = "asked",
    }
}

words! {
    /// Why a worker ended: `worker_exits_total{reason}`.
    ExitReason {
        /// The front told it to.
        Asked = "asked",
        /// It exited by itself.
        Exit = "exit",
        /// A signal that the front did not send.
        Signal = "signal",
        /// The kernel ended it for want of memory.
        Oom = "oom",
        /// It was not ready in `worker_start_timeout`.
        NeverReady = "never_ready",
        /// It did not answer, or said nothing for `worker_request_timeout`.
        Hang = "hang",
        /// `worker_max_lifetime`.
        Lifetime = "lifetime",
        /// `worker_max_requests`.
        MaxRequests = "max_requests",
        /// `worker_max_rss`.
        Rss = "rss",
    }
}

words! {
    /// A step of a reload: `config_reload_duration_seconds{phase}`.
    Phase {
        /// Reading the files.
        Read = "read",
        /// From text to the things that names stand for.
        Resolve = "resolve",
        /// Building the new behaviour.
        Compile = "compile",
        /// Binding listeners and starting workers, until they are ready.
        Prepare = "prepare",
        /// The pointer store.
        Swap = "swap",
        /// Until the old generation's last request is done.
        Drain = "drain",
    }
}

words! {
    /// How Keystone answered: `keystone_requests_total{outcome}`.
    KeystoneOutcome {
        /// It did what it was asked for.
        Ok = "ok",
        /// It does not know the token.
        NotFound = "not_found",
        /// It does not accept the front's own token or password.
        Unauthorized = "unauthorized",
        /// Any other answer.
        Error = "error",
        /// None in time.
        Timeout = "timeout",
        /// It cannot be reached, or broke off.
        Unreachable = "unreachable",
    }
}

words! {
    /// What the cache knew of a token: `token_cache_total{outcome}`.
    CacheOutcome {
        /// That it is valid.
        Hit = "hit",
        /// Nothing.
        Miss = "miss",
        /// That Keystone did not know it.
        Negative = "negative",
        /// That it was valid and has ended.
        Expired = "expired",
    }
}

/// Every outcome of a reload.
pub(super) const OUTCOMES: [Outcome; 4] =
    [Outcome::Applied, Outcome::Unchanged, Outcome::Rejected, Outcome::RolledBack];
/// Everyone who may want one.
pub(super) const SOURCES: [Source; 6] =
    [Source::Start, Source::Watch, Source::Admin, Source::Signal, Source::Upgrade, Source::Rollback];

/// The value of the label `outcome`.
pub(super) fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Applied => "applied",
        Outcome::Unchanged => "unchanged",
        Outcome::Rejected => "rejected",
        Outcome::RolledBack => "rolled_back",
    }
}

/// All of them.
pub(super) const UPGRADES: [UpgradeOutcome; 3] =
    [UpgradeOutcome::Upgraded, UpgradeOutcome::Failed, UpgradeOutcome::Refused];

/// The value of the label `outcome` of upgrades.
pub(super) fn upgrade(outcome: UpgradeOutcome) -> &'static str {
    match outcome {
        UpgradeOutcome::Upgraded => "upgraded",
        UpgradeOutcome::Failed => "failed",
        UpgradeOutcome::Refused => "refused",
    }
}

/// The value of the label `source`.
pub(super) fn source(source: Source) -> &'static str {
    match source {
        Source::Start => "start",
        Source::Watch => "watch",
        Source::Admin => "admin",
        Source::Signal => "signal",
        Source::Upgrade => "upgrade",
        Source::Rollback => "rollback",
    }
}
