//! Every metric of Pasteway: name, kind, labels, help.
//!
//! Must not know where the values come from.

use prometheus::proto::MetricType;

/// A metric with all its series.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// With its prefix.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: MetricType,
    /// Names of its labels, in the order of their values.
    pub labels: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
}

macro_rules! families {
    ($($id:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            pub(super) const $id: Family =
                Family { name: $name, kind: MetricType::$kind, labels: &[$($label),*], help: $help };
        )*

        /// All metrics, for references and for the test that keeps dashboards honest.
        pub const FAMILIES: &[Family] = &[$($id),*];
    };
}

families! {
    REQUESTS = COUNTER "pasteway_requests_total" ["api", "method", "code"]
        "Requests that were answered.";
    REQUEST_DURATION = HISTOGRAM "pasteway_request_duration_seconds" ["api"]
        "Time from a request's head to the last byte of its response.";
    REQUESTS_IN_FLIGHT = GAUGE "pasteway_requests_in_flight" ["api"]
        "Requests that are being answered now.";
    GENERATIONS = GAUGE "pasteway_generations" ["state"]
        "Generations of the configuration by what they do.";
    REQUEST_BODY_BYTES = COUNTER "pasteway_request_body_bytes_total" ["api"]
        "Bytes of request bodies, as received.";
    RESPONSE_BODY_BYTES = COUNTER "pasteway_response_body_bytes_total" ["api"]
        "Bytes of response bodies, as sent.";
    CONNECTIONS = GAUGE "pasteway_connections" ["api"]
        "Client connections that are open now.";
    CONNECTIONS_TOTAL = COUNTER "pasteway_connections_total" ["api"]
        "Client connections that were accepted.";
    FILTER_DURATION = HISTOGRAM "pasteway_filter_duration_seconds" ["api", "filter"]
        "Time that a native filter took for a request, on its way in.";
    FILTER_REPLIES = COUNTER "pasteway_filter_replies_total" ["api", "filter", "code"]
        "Requests that a native filter answered itself.";
    TOKEN_CACHE = COUNTER "pasteway_token_cache_total" ["filter", "outcome"]
        "Looks into a cache of tokens, by what it knew.";
    KEYSTONE_REQUESTS = COUNTER "pasteway_keystone_requests_total" ["filter", "outcome"]
        "Requests that filters made to Keystone.";
    KEYSTONE_DURATION = HISTOGRAM "pasteway_keystone_request_duration_seconds" ["filter"]
        "Time that Keystone took for them.";
    UPSTREAM_DURATION = HISTOGRAM "pasteway_upstream_duration_seconds" ["api"]
        "Time from handing a request to a worker to the head of its response.";
    UPSTREAM_ERRORS = COUNTER "pasteway_upstream_errors_total" ["api", "reason"]
        "Failed exchanges with a worker.";
    UPSTREAM_RETRIES = COUNTER "pasteway_upstream_retries_total" ["api"]
        "Exchanges that were tried again with another worker.";
    QUEUE_LENGTH = GAUGE "pasteway_queue_length" ["api"]
        "Requests that wait for a worker now.";
    QUEUE_DURATION = HISTOGRAM "pasteway_queue_duration_seconds" ["api"]
        "Time that requests waited for a worker, of those that had to.";
    QUEUE_REJECTED = COUNTER "pasteway_queue_rejected_total" ["api", "reason"]
        "Requests that were turned away because no worker could be had.";
    TUNNELS_ENDED = COUNTER "pasteway_tunnels_ended_total" ["api", "reason"]
        "Upgraded connections that ended.";
    WORKERS = GAUGE "pasteway_workers" ["api", "state"]
        "Workers by state.";
    WORKER_REQUESTS = COUNTER "pasteway_worker_requests_total" ["api", "slot"]
        "Requests that the workers of a slot were given, over all their lives.";
    WORKER_IN_FLIGHT = GAUGE "pasteway_worker_in_flight" ["api", "slot"]
        "Requests that the workers of a slot have now.";
    WORKER_STARTS = COUNTER "pasteway_worker_starts_total" ["api"]
        "Workers that were started.";
    WORKER_EXITS = COUNTER "pasteway_worker_exits_total" ["api", "reason"]
        "Workers that ended.";
    WORKER_RSS = GAUGE "pasteway_worker_rss_bytes" ["api", "slot"]
        "Resident memory of the workers of a slot.";
    DRAIN_ENDED = COUNTER "pasteway_drain_ended_total" ["api"]
        "Requests that were ended at the deadline of the generation that they began with.";
    RATELIMIT_REJECTED = COUNTER "pasteway_ratelimit_rejected_total" ["filter"]
        "Requests that were refused because their user had made too many.";
    CONFIG_GENERATION = GAUGE "pasteway_config_generation" []
        "Number of the generation that serves.";
    CONFIG_RELOADS = COUNTER "pasteway_config_reloads_total" ["outcome", "source"]
        "Reloads by how they ended and who wanted them.";
    CONFIG_RELOAD_DURATION = HISTOGRAM "pasteway_config_reload_duration_seconds" ["phase"]
        "Time that the phases of reloads took.";
    CONFIG_LAST_RELOAD_SUCCESSFUL = GAUGE "pasteway_config_last_reload_successful" []
        "Whether the last reload was not rejected.";
    CONFIG_LAST_RELOAD_SUCCESS = GAUGE "pasteway_config_last_reload_success_timestamp_seconds" []
        "When a reload last was not rejected, in seconds since 1970.";
    CONFIG_FILE_DIFFERS = GAUGE "pasteway_config_file_differs" []
        "Whether the files on disk differ from what runs.";
    CONFIG_FILE_CHANGES = COUNTER "pasteway_config_file_changes_total" []
        "Saved, exchanged, made or deleted files that the watcher has seen.";
    CONFIG_FILE_CHANGES_COALESCED = COUNTER "pasteway_config_file_changes_coalesced_total" []
        "Changes of files that were one edit, and so one reload, with others.";
    UPGRADES = COUNTER "pasteway_upgrades_total" ["outcome"]
        "Upgrades by how they ended; the one by which this front came is the first.";
    BUILD_INFO = GAUGE "pasteway_build_info" ["version", "revision"]
        "Always 1; which build this is.";
    LOG_LINES_DROPPED = COUNTER "pasteway_log_lines_dropped_total" []
        "Log lines that did not reach a destination because the queue or the disk was full.";
    PROCESS_CPU = COUNTER "process_cpu_seconds_total" []
        "User and system CPU time that the front has used.";
    PROCESS_RSS = GAUGE "process_resident_memory_bytes" []
        "Resident memory of the front.";
    PROCESS_OPEN_FDS = GAUGE "process_open_fds" []
        "File descriptors that the front has open.";
    PROCESS_MAX_FDS = GAUGE "process_max_fds" []
        "File descriptors that the front may have open.";
    PROCESS_START_TIME = GAUGE "process_start_time_seconds" []
        "When the front started, in seconds since 1970.";
}
