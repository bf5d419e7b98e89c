//! What the native filters cost: the whole Keystone pipeline over plain proxying, and answers that the front gives
//! itself, all by one Pasteway each, in turns.
//!
//! Must not know how a filter does its work.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::load::{self, Answer, Load, Target};
use crate::measure::{self, Times};
use crate::peers::Peer;
use crate::table::median;
use crate::{Options, Result, backend, keystone};

/// A request and its way through a Pasteway.
struct Lane {
    name: &'static str,
    /// Through the filters, or straight to the backend.
    filtered: bool,
    request: Vec<u8>,
    /// `None`: the backend's.
    status: Option<u16>,
    /// CPU per request by round, in microseconds.
    user: Vec<f64>,
    system: Vec<f64>,
    rates: Vec<f64>,
}

/// As long as a Fernet token of a project.
const TOKEN: &str = "gAAAAABnHk2xQm9Zb0ZsY2pTd1J2N0V4a3VYQ1hoZ0tqU2V3Tm1VbGRiV2hKZE5vY1Z3R3B6c1lrT3BhQm5xTDJmUnR5VWlPcEFzRGZH\
                     aEprTGtKaEdmRHNBcVdlUnRZdUlvUHpYY1Zibk1tTm5CdkN4WmxLakhnRmRTYVB3T2VJclV0WXJFd1Ex";

/// Bytes of a body that is too large.
const BODY: usize = 1100;

fn request(line: &str, more: &str, body: usize) -> Vec<u8> {
    let mut text = format!(
        "{line} HTTP/1.1\r\nHost: 127.0.0.1:8774\r\nAccept: application/json\r\nUser-Agent: python-novaclient\r\n{more}\r\n"
    )
    .into_bytes();
    text.resize(text.len() + body, b' ');
    text
}

fn lanes() -> Vec<Lane> {
    let token = format!("X-Auth-Token: {TOKEN}\r\n");
    let lane = |name, filtered, status, request| {
        let (user, system, rates) = Default::default();
        Lane { name, filtered, request, status, user, system, rates }
    };
    let get = |more: &str| request("GET /v2.1/servers", more, 0);
    let large = format!("{token}Content-Type: application/json\r\nContent-Length: {BODY}\r\n");
    let put = format!("{token}Content-Length: 0\r\n");
    vec![
        lane("plain", false, None, get(&token)),
        lane("chain", true, None, get(&token)),
        lane("401, no token", true, Some(401), get("")),
        lane("413, body too large", true, Some(413), request("POST /v2.1/servers", &large, BODY)),
        lane("429, over the limit", true, Some(429), request("PUT /v2.1/os-services", &put, 0)),
    ]
}

/// The order of Nova 31's `[composite:openstack_compute_api_v21]` for Keystone, with the limits of old before the app.
fn paste() -> String {
    let factories = [
        ("cors", "oslo_middleware.cors:filter_factory\noslo_config_project = nova"),
        ("http_proxy_to_wsgi", "oslo_middleware.http_proxy_to_wsgi:HTTPProxyToWSGI.factory"),
        ("compute_req_id", "nova.api.compute_req_id:ComputeReqIdMiddleware.factory"),
        ("faultwrap", "nova.api.openstack:FaultWrapper.factory"),
        ("request_log", "nova.api.openstack.requestlog:RequestLog.factory"),
        ("sizelimit", "oslo_middleware:RequestBodySizeLimiter.factory"),
        ("authtoken", "keystonemiddleware.auth_token:filter_factory"),
        ("keystonecontext", "nova.api.auth:NovaKeystoneContext.factory"),
        (
            "ratelimit",
            "nova.api.openstack.compute.limits:RateLimitingMiddleware.factory\n\
             limits = (POST, *, .*, 120, MINUTE);(PUT, *, .*, 1, DAY);(GET, *changes-since*, .*changes-since.*, 120, MINUTE);\
             (DELETE, *, .*, 120, MINUTE)",
        ),
    ];
    let names: Vec<_> = factories.iter().map(|(name, _)| *name).collect();
    let mut text = format!("[pipeline:osapi_compute]\npipeline = {} app\n\n", names.join(" "));
    for (name, factory) in factories {
        text += &format!("[filter:{name}]\npaste.filter_factory = {factory}\n\n");
    }
    text + "[app:app]\npaste.app_factory = bench.backend:factory\n"
}

fn options(keystone: SocketAddr) -> String {
    format!(
        "[oslo_middleware]\nmax_request_body_size = {}\n[cors]\nallowed_origin = https://horizon.example.com\n\
         [keystone_authtoken]\nwww_authenticate_uri = http://{keystone}\nauth_url = http://{keystone}\nauth_type = password\n\
         username = nova\npassword = secret\nproject_name = service\nuser_domain_name = Default\n\
         project_domain_name = Default\ntoken_cache_time = 3600\n",
        BODY - 1
    )
}

/// Runs the lanes in turns and prints their costs beside the plain one's.
pub fn measure(options: &Options, place: &Path) -> Result<()> {
    eprintln!("chain: {} rounds of {} s for each request", options.rounds, options.seconds);
    let keystone = keystone::start()?;
    let plain =
        Peer::modern(&place.join("plain"), "[app:osapi_compute]\npaste.app_factory = bench.backend:factory\n", "")?;
    let chain = Peer::modern(&place.join("chain"), &paste(), &self::options(keystone))?;
    let duration = Duration::from_secs_f64(options.seconds);
    let mut lanes = lanes();
    for round in 0..options.rounds {
        let shift = round % lanes.len();
        lanes.rotate_left(shift);
        for lane in &mut lanes {
            let peer = if lane.filtered { &chain } else { &plain };
            lane.round(peer, options.connections, duration)?;
        }
        lanes.rotate_right(shift);
    }
    println!("## chain\n");
    println!(
        "Nova 31's whole pipeline for Keystone (cors, http_proxy_to_wsgi, compute_req_id, faultwrap, request_log, \
         sizelimit, authtoken with a warm cache, keystonecontext, ratelimit) in front of the same backends, and what it \
         refuses by itself. CPU of the front in µs per request, by the kernel's ticks; in brackets the difference to plain.\n"
    );
    println!("| request | requests/s | user µs | system µs | together |\n|---|--:|--:|--:|--:|");
    let base = lanes.first().map(Lane::costs).unwrap_or_default();
    for lane in &lanes {
        let [user, system] = lane.costs();
        println!(
            "| {} | {:.0} | {user:.2} ({:+.2}) | {system:.2} ({:+.2}) | {:.2} ({:+.2}) |",
            lane.name,
            median(&lane.rates),
            user - base[0],
            system - base[1],
            user + system,
            user + system - base[0] - base[1],
        );
    }
    let cost = lanes.get(1).map(Lane::costs).unwrap_or_default()[0] - base[0];
    println!(
        "\nThe chain adds {cost:.2} µs of user time (bar: 2.00). Refusals are to cost less than plain together.\n"
    );
    Ok(())
}

impl Lane {
    fn round(&mut self, peer: &Peer, connections: usize, duration: Duration) -> Result<()> {
        let answer = self.status.map_or(Answer::Body(backend::BODY.as_bytes()), Answer::Status);
        let target = Target { address: peer.address, request: &self.request, answer };
        if self.status == Some(429) {
            // The first one of a day is let through.
            Load::connect(Target { answer: Answer::Any, ..target }, 1)?
                .run(None, load::lasting(Duration::from_millis(50)))?;
        }
        let mut load = Load::connect(target, connections)?;
        load.run(None, load::lasting(duration.mul_f64(0.1)))?;
        let before = measure::times(&peer.pids)?;
        let outcome = load.run(None, load::lasting(duration))?;
        let Times { user, system } = measure::times(&peer.pids)?.since(before);
        if outcome.failed > 0 {
            return Err(format!("{}: {} of {} requests failed", self.name, outcome.failed, outcome.requests).into());
        }
        let each = |time: Duration| time.as_secs_f64() * 1e6 / outcome.requests as f64;
        self.user.push(each(user));
        self.system.push(each(system));
        self.rates.push(outcome.requests as f64 / outcome.elapsed.as_secs_f64());
        Ok(())
    }

    fn costs(&self) -> [f64; 2] {
        [median(&self.user), median(&self.system)]
    }
}
