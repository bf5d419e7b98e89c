//! What all of these tests stand on: one Keystone, gates to it that are in its catalogue, and the options with which a
//! front or the original uses one of them.
//!
//! Must not know what is asked. A service finds Keystone's address in the catalogue of its own token, whatever
//! `auth_url` says; so every gate is the identity endpoint of a region of its own, and all of them are there before the
//! first token is issued: catalogues would change in the middle of a comparison otherwise.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};

use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

use crate::gate::Gate;
use crate::stack::{Served, Stack};
use crate::support::Layout;
use crate::support::certificates::Authority;

/// As many plain gates as all tests together take.
const GATES: usize = 36;
/// Those that speak TLS.
const SECURE: usize = 3;

/// One Keystone and the gates that are left.
pub struct Stage {
    /// The real services.
    pub stack: Stack,
    /// Who signed the certificate of the gates that speak TLS.
    pub authority: Authority,
    gates: Mutex<Vec<Gate>>,
    secure: Mutex<Vec<Gate>>,
}

/// The stage, set by the first test that asks. `None`, loudly, when nobody asked for real services.
pub fn stage() -> Option<&'static Stage> {
    static STAGE: OnceLock<Option<Stage>> = OnceLock::new();
    STAGE.get_or_init(|| Stack::up(&["keystone"]).map(Stage::of)).as_ref()
}

impl Stage {
    fn of(stack: Stack) -> Self {
        let keystone = stack.keystone();
        let authority = Authority::new();
        let identity = authority.issue();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![identity.certificate.clone()], identity.private_key())
            .expect("a certificate");
        let tls = TlsAcceptor::from(Arc::new(config));
        let gates: Vec<_> = (0..GATES).map(|n| Gate::start(format!("gate-{n}"), keystone, None)).collect();
        let secure: Vec<_> =
            (0..SECURE).map(|n| Gate::start(format!("secure-{n}"), keystone, Some(tls.clone()))).collect();
        enter(&stack, gates.iter().chain(&secure));
        Self { stack, authority, gates: Mutex::new(gates), secure: Mutex::new(secure) }
    }

    /// A gate that no other test has.
    #[track_caller]
    pub fn gate(&self) -> Gate {
        self.gates.lock().expect("no panic").pop().expect("enough gates: see GATES")
    }

    /// One that speaks TLS.
    #[track_caller]
    pub fn secure_gate(&self) -> Gate {
        self.secure.lock().expect("no panic").pop().expect("enough gates: see SECURE")
    }

    /// One more Keystone on the same database, whose own tokens live for so many seconds.
    #[track_caller]
    pub fn another_keystone(&self, lifetime: u32) -> Served {
        self.another_keystone_at(crate::stack::free_address(), lifetime)
    }

    /// The same at an address that the test has chosen.
    #[track_caller]
    pub fn another_keystone_at(&self, address: SocketAddr, lifetime: u32) -> Served {
        let (command, environment) = (self.stack.value("/keystone/command"), self.stack.value("/keystone/environment"));
        let lifetime = [("OS_TOKEN__EXPIRATION", lifetime.to_string())];
        let lifetime = lifetime.each_ref().map(|(name, value)| (*name, value.as_str()));
        Served::start_at(address, command, &[environment], &lifetime)
    }
}

/// Makes the gates the identity endpoints of their regions.
fn enter<'g>(stack: &Stack, gates: impl Iterator<Item = &'g Gate>) {
    let get = |path: &str, kind: &str| stack.keystone_call("GET", path, &Value::Null)[kind].clone();
    let services = get("/v3/services?type=identity", "services");
    let regions = get("/v3/regions", "regions");
    let endpoints = get("/v3/endpoints?interface=internal", "endpoints");
    let has = |list: &Value, key: &str, value: &str| {
        list.as_array().expect("a list").iter().find(|item| item[key] == value).map(|item| item["id"].clone())
    };
    let service = &services[0]["id"];
    for gate in gates {
        if has(&regions, "id", &gate.region).is_none() {
            stack.keystone_call("POST", "/v3/regions", &json!({"region": {"id": gate.region}}));
        }
        let endpoint = json!({"endpoint": {"interface": "internal", "region_id": gate.region, "url": gate.url(),
                                           "service_id": service}});
        match has(&endpoints, "region_id", &gate.region) {
            Some(id) => {
                let path = format!("/v3/endpoints/{}", id.as_str().expect("an id"));
                stack.keystone_call("PATCH", &path, &endpoint)
            }
            None => stack.keystone_call("POST", "/v3/endpoints", &endpoint),
        };
    }
}

/// `[keystone_authtoken]` of a service that uses this gate; later lines win.
pub fn authtoken(gate: &Gate, more: &[&str]) -> String {
    let (url, region) = (gate.url(), &gate.region);
    format!(
        "[keystone_authtoken]\nauth_type = password\nauth_url = {url}\nregion_name = {region}\nusername = nova\n\
         password = nova-pw\nproject_name = service\nuser_domain_name = Default\nproject_domain_name = Default\n\
         www_authenticate_uri = http://keystone.example:5000\n{}\n",
        more.join("\n")
    )
}

/// The files of a front with this `[keystone_authtoken]`: a current Nova's.
pub fn layout(authtoken: &str) -> Layout {
    Layout::current().apis(&["osapi_compute"]).group(authtoken).pasteway("release = 34")
}
