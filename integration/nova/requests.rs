//! What is asked of each Nova, in order: it makes things, looks at them, collides with them and removes them again, so
//! that the next Nova on the same databases meets the same state.
//!
//! Must not know who answers, nor what the answer should be.

use serde_json::{Value, json};

/// Whose token a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// No token.
    Nobody,
    /// The administrator, in project admin.
    Admin,
    /// A member of project demo, to which the instances belong.
    Demo,
    /// A reader of project demo.
    Reader,
    /// The administrator, in system scope.
    System,
    /// The administrator, in domain scope.
    Domain,
    /// Demo without a scope.
    Unscoped,
    /// Demo's application credential without access rules.
    Plain,
    /// Demo's application credential with access rules.
    Ruled,
}

/// Which API is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// osapi_compute.
    Compute,
    /// metadata.
    Metadata,
}

/// One request. In path and body `{name}` stands for a fact of the stack or a value saved from an earlier answer.
#[derive(Clone, Debug)]
pub struct Step {
    /// Which API.
    pub api: Api,
    /// Whose token.
    pub who: Who,
    /// The method.
    pub method: &'static str,
    /// The target.
    pub path: String,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Send the body in one chunk, without a length.
    pub chunked: bool,
    /// Keep the value at this JSON pointer of the answer under this name; it is masked in all answers.
    pub save: Option<(&'static str, &'static str)>,
    /// Keys whose values are random or count up.
    pub masked: &'static [&'static str],
}

impl Step {
    fn by(mut self, who: Who) -> Self {
        self.who = who;
        self
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn version(self, version: &str) -> Self {
        self.header("OpenStack-API-Version", &format!("compute {version}"))
    }

    fn raw(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("Content-Type", content_type)
    }

    fn json(self, body: &Value) -> Self {
        self.raw("application/json", body.to_string())
    }

    fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    fn save(mut self, name: &'static str, pointer: &'static str) -> Self {
        self.save = Some((name, pointer));
        self
    }

    fn masked(mut self, keys: &'static [&'static str]) -> Self {
        self.masked = keys;
        self
    }
}

fn ask(method: &'static str, path: &str) -> Step {
    Step {
        api: Api::Compute,
        who: Who::Demo,
        method,
        path: path.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        chunked: false,
        save: None,
        masked: &[],
    }
}

fn get(path: &str) -> Step {
    ask("GET", path)
}

fn admin(method: &'static str, path: &str) -> Step {
    ask(method, path).by(Who::Admin)
}

fn post(path: &str, body: &Value) -> Step {
    ask("POST", path).json(body)
}

/// A request to the metadata API with the headers that Neutron's proxy adds.
fn metadata(path: &str) -> Step {
    let step = Step { api: Api::Metadata, who: Who::Nobody, ..ask("GET", path) };
    step.header("X-Instance-ID", "{instance}")
        .header("X-Tenant-ID", "{demo}")
        .header("X-Instance-ID-Signature", "{signature}")
}

/// Everything.
pub fn all() -> Vec<Step> {
    [versions(), identity(), flavors(), servers(), keypairs(), quotas(), groups(), administration(), errors(), cloud()]
        .concat()
}

/// A few of each kind, which leave nothing behind.
pub fn few() -> Vec<Step> {
    let made = json!({"keypair": {"name": ""}});
    let some = vec![
        get("/v2.1/flavors"),
        get("/v2.1/flavors/n%C3%B6%20pe"),
        get("/v2.1/servers/detail?limit=1"),
        post("/v2.1/os-keypairs", &made),
        post("/v2.1/os-keypairs", &made).chunked(),
        post("/v2.1/servers", &json!({"server": {"name": "x".repeat(200_000)}})),
        metadata("/openstack/latest/meta_data.json").masked(&["random_seed"]),
        metadata("/latest/meta-data/").header("X-Instance-ID-Signature", "nonsense"),
    ];
    [versions(), identity(), some].concat()
}

fn versions() -> Vec<Step> {
    let nobody = |path| get(path).by(Who::Nobody);
    vec![
        nobody("/"),
        nobody("/?a=b"),
        nobody("/").header("Accept", "application/xml"),
        nobody("/").header("X-OpenStack-Request-ID", "req-00000000-1111-2222-3333-444444444444"),
        nobody("/nope"),
        nobody("/v1/servers"),
        nobody("/v3.1"),
        nobody("/v2"),
        nobody("/v2/"),
        nobody("/v2.1"),
        nobody("/v2.1/"),
        nobody("/v2.1/").version("2.50"),
        nobody("/v2.1/").version("latest"),
        nobody("/v2.1/").version("9.9"),
        nobody("/v2.1/").version("x"),
        nobody("/v2.1/").header("OpenStack-API-Version", "volume 3.0"),
        nobody("/v2.1/").header("X-OpenStack-Nova-API-Version", "2.3"),
        nobody("/v2/").version("2.50"),
        ask("HEAD", "/").by(Who::Nobody),
        ask("POST", "/").by(Who::Nobody).json(&json!({})),
    ]
}

fn identity() -> Vec<Step> {
    let flavors = || get("/v2.1/flavors");
    vec![
        flavors().by(Who::Nobody),
        get("/v2/flavors").by(Who::Nobody),
        get("/v2.1/nope").by(Who::Nobody),
        ask("HEAD", "/v2.1/flavors").by(Who::Nobody),
        flavors().by(Who::Nobody).header("X-Auth-Token", "nonsense"),
        flavors().by(Who::Nobody).header("X-Auth-Token", ""),
        flavors().by(Who::Nobody).header("X-User-Id", "somebody").header("X-Roles", "admin"),
        flavors().by(Who::Nobody).header("X-Storage-Token", "{token}"),
        flavors().header("X-Service-Token", "nonsense"),
        flavors().header("X-Service-Token", "{service}"),
        flavors().header("X-Roles", "admin").header("OpenStack-System-Scope", "all"),
        flavors().by(Who::Reader),
        flavors().by(Who::System),
        flavors().by(Who::Domain),
        flavors().by(Who::Unscoped),
        flavors().by(Who::Plain),
        flavors().by(Who::Ruled),
        get("/v2.1/servers").by(Who::System),
        get("/v2.1/servers").by(Who::Domain),
        get("/v2.1/os-services").by(Who::System),
        get("/v2.1/{demo}/flavors"),
        get("/v2.1/{admin}/flavors"),
        get("/v2/{demo}/flavors"),
        flavors().header("X-OpenStack-Request-ID", "req-00000000-1111-2222-3333-444444444444"),
        flavors().header("Origin", "http://elsewhere.example"),
        ask("OPTIONS", "/v2.1/flavors")
            .by(Who::Nobody)
            .header("Origin", "http://elsewhere.example")
            .header("Access-Control-Request-Method", "GET"),
        ask("OPTIONS", "/v2.1/flavors").by(Who::Nobody),
        ask("OPTIONS", "/v2.1/flavors"),
    ]
}

fn flavors() -> Vec<Step> {
    let large = json!({"flavor": {"id": "large", "name": "large", "ram": 4096, "disk": 8, "vcpus": 8}});
    vec![
        get("/v2.1/flavors"),
        get("/v2.1/flavors/"),
        get("/v2/flavors"),
        get("/v2/flavors").version("2.61"),
        get("/v2.1/flavors/detail"),
        get("/v2.1/flavors/detail").version("2.61"),
        get("/v2.1/flavors?limit=1"),
        get("/v2.1/flavors?limit=1&marker=1"),
        get("/v2.1/flavors?marker=nope"),
        get("/v2.1/flavors?limit=-1"),
        get("/v2.1/flavors?sort_key=nope"),
        get("/v2.1/flavors?minRam=1024&sort_key=memory_mb&sort_dir=desc"),
        get("/v2.1/flavors?is_public=none").by(Who::Admin),
        get("/v2.1/flavors?more=1").version("2.75"),
        get("/v2.1/flavors/1"),
        get("/v2.1/flavors/1").version("latest"),
        get("/v2.1/flavors/nope"),
        get("/v2.1/flavors/n%C3%B6%20pe"),
        get("/v2.1/flavors/a%2Fb"),
        get("/v2.1//flavors"),
        post("/v2.1/flavors", &large),
        post("/v2.1/flavors", &large).by(Who::Admin),
        post("/v2.1/flavors", &large).by(Who::Admin),
        post("/v2.1/flavors", &json!({"flavor": {"name": "", "ram": "x"}})).by(Who::Admin),
        admin("PUT", "/v2.1/flavors/large").version("2.55").json(&json!({"flavor": {"description": "häufig"}})),
        admin("PUT", "/v2.1/flavors/large").json(&json!({"flavor": {"description": "x"}})),
        post("/v2.1/flavors/large/os-extra_specs", &json!({"extra_specs": {"hw:cpu_policy": "shared"}})).by(Who::Admin),
        admin("PUT", "/v2.1/flavors/large/os-extra_specs/a").json(&json!({"a": "b"})),
        admin("GET", "/v2.1/flavors/large/os-extra_specs"),
        admin("GET", "/v2.1/flavors/large/os-extra_specs/nope"),
        admin("DELETE", "/v2.1/flavors/large/os-extra_specs/a"),
        get("/v2.1/flavors/large/os-flavor-access"),
        // They ask Keystone about the project with the caller's own token.
        post("/v2.1/flavors/large/action", &json!({"addTenantAccess": {"tenant": "{demo}"}})).by(Who::Admin),
        admin("DELETE", "/v2.1/flavors/large"),
        admin("DELETE", "/v2.1/flavors/large"),
        ask("DELETE", "/v2.1/flavors/1"),
        post(
            "/v2.1/flavors",
            &json!({"flavor": {"id": "own", "name": "own", "ram": 1, "disk": 1, "vcpus": 1,
                               "os-flavor-access:is_public": false}}),
        )
        .by(Who::Admin),
        post("/v2.1/flavors/own/action", &json!({"addTenantAccess": {"tenant": "{demo}"}})).by(Who::Admin),
        post("/v2.1/flavors/own/action", &json!({"addTenantAccess": {"tenant": "{demo}"}})).by(Who::Admin),
        post("/v2.1/flavors/own/action", &json!({"addTenantAccess": {"tenant": "nobody"}})).by(Who::Admin),
        get("/v2.1/flavors"),
        admin("GET", "/v2.1/flavors/own/os-flavor-access"),
        post("/v2.1/flavors/own/action", &json!({"removeTenantAccess": {"tenant": "{demo}"}})).by(Who::Admin),
        admin("DELETE", "/v2.1/flavors/own"),
    ]
}

fn servers() -> Vec<Step> {
    let server = json!({"server": {"name": "x", "flavorRef": "http://127.0.0.1/flavors/1", "networks": "none",
                                   "imageRef": "11111111-1111-4111-8111-111111111111"}});
    vec![
        get("/v2.1/servers"),
        get("/v2.1/servers/detail"),
        get("/v2.1/servers/detail").version("2.96"),
        get("/v2.1/servers/detail").by(Who::Reader),
        get("/v2/servers/detail"),
        get("/v2.1/servers").by(Who::Admin),
        get("/v2.1/servers?all_tenants=1"),
        get("/v2.1/servers?all_tenants=1").by(Who::Admin),
        get("/v2.1/servers?limit=1"),
        get("/v2.1/servers?marker=nope"),
        get("/v2.1/servers?name=vm-1"),
        get("/v2.1/servers?status=nope"),
        get("/v2.1/servers/{instance}"),
        get("/v2.1/servers/{instance}").version("2.73"),
        get("/v2.1/servers/nope"),
        get("/v2.1/servers/{instance}/metadata"),
        get("/v2.1/servers/{instance}/ips"),
        get("/v2.1/servers/nope/os-instance-actions"),
        get("/v2.1/servers/{instance}/tags").version("2.26"),
        get("/v2.1/servers/{instance}/tags"),
        post("/v2.1/servers/{instance}/action", &json!({"lock": null})),
        get("/v2.1/servers/{instance}").version("2.9").masked(&["updated"]),
        post("/v2.1/servers/{instance}/action", &json!({"unlock": null})),
        post("/v2.1/servers/{instance}/action", &json!({"nope": null})),
        post("/v2.1/servers/{instance}/action", &json!({"resize": {}})),
        post("/v2.1/servers/{instance}/action", &json!({"os-resetState": {"state": "active"}})),
        post("/v2.1/servers", &json!({"server": {"name": "x"}})),
        post("/v2.1/servers", &json!({})),
        post("/v2.1/servers", &server),
        post("/v2.1/servers", &server).by(Who::Reader),
        ask("PUT", "/v2.1/servers/{instance}").json(&json!({"server": {"name": ""}})),
    ]
}

fn keypairs() -> Vec<Step> {
    const PUBLIC: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGUmPPdcXZ8Dkc2Zsb7S1bcYPZgQ3kOt0MpLvqqzJ7aW somebody";
    let key = json!({"keypair": {"name": "mine", "public_key": PUBLIC}});
    vec![
        get("/v2.1/os-keypairs"),
        post("/v2.1/os-keypairs", &key),
        post("/v2.1/os-keypairs", &key),
        post("/v2.1/os-keypairs", &json!({"keypair": {"name": "mine2", "public_key": "nonsense"}})),
        post("/v2.1/os-keypairs", &json!({"keypair": {"name": "made"}})).masked(&[
            "private_key",
            "public_key",
            "fingerprint",
        ]),
        post("/v2.1/os-keypairs", &json!({"keypair": {"name": "none"}})).version("2.92"),
        get("/v2.1/os-keypairs").masked(&["public_key", "fingerprint"]),
        get("/v2.1/os-keypairs/mine").masked(&["id"]),
        get("/v2.1/os-keypairs/mine").version("2.10").masked(&["id"]),
        get("/v2.1/os-keypairs/mine?user_id={admin_user}").version("2.10"),
        get("/v2.1/os-keypairs/nope"),
        ask("DELETE", "/v2.1/os-keypairs/mine"),
        ask("DELETE", "/v2.1/os-keypairs/made").version("2.2"),
        ask("DELETE", "/v2.1/os-keypairs/mine"),
    ]
}

fn quotas() -> Vec<Step> {
    let more = json!({"quota_set": {"instances": 20}});
    vec![
        get("/v2.1/os-quota-sets/{demo}"),
        get("/v2.1/os-quota-sets/{demo}/defaults"),
        admin("GET", "/v2.1/os-quota-sets/{demo}/detail"),
        get("/v2.1/os-quota-sets/{admin}"),
        ask("PUT", "/v2.1/os-quota-sets/{demo}").json(&more),
        admin("PUT", "/v2.1/os-quota-sets/{demo}").json(&more),
        admin("PUT", "/v2.1/os-quota-sets/nobody").json(&more),
        admin("PUT", "/v2.1/os-quota-sets/{demo}").json(&json!({"quota_set": {"instances": "x"}})),
        admin("PUT", "/v2.1/os-quota-sets/{demo}").json(&json!({"quota_set": {"nope": 1}})),
        get("/v2.1/os-quota-sets/{demo}").version("2.57"),
        get("/v2.1/limits"),
        get("/v2.1/limits").by(Who::Reader).version("2.57"),
        admin("GET", "/v2.1/limits?tenant_id={demo}"),
        admin("DELETE", "/v2.1/os-quota-sets/{demo}"),
        admin("GET", "/v2.1/os-quota-class-sets/default"),
        admin("GET", "/v2.1/os-simple-tenant-usage?start=2020-01-01T00:00:00&end=2020-01-08T00:00:00&detailed=1")
            .masked(&["uptime"]),
        get("/v2.1/os-simple-tenant-usage/{demo}?start=2020-01-01T00:00:00&end=2020-01-08T00:00:00")
            .masked(&["uptime"]),
        get("/v2.1/os-simple-tenant-usage/{demo}?start=nope"),
    ]
}

fn groups() -> Vec<Step> {
    vec![
        get("/v2.1/os-server-groups"),
        post("/v2.1/os-server-groups", &json!({"server_group": {"name": "g", "policies": ["affinity"]}}))
            .save("group", "/server_group/id"),
        get("/v2.1/os-server-groups/{group}"),
        get("/v2.1/os-server-groups/{group}").version("2.64"),
        get("/v2.1/os-server-groups"),
        post("/v2.1/os-server-groups", &json!({"server_group": {"name": "g", "policies": ["nope"]}})),
        ask("DELETE", "/v2.1/os-server-groups/{group}"),
        ask("DELETE", "/v2.1/os-server-groups/{group}"),
    ]
}

fn administration() -> Vec<Step> {
    let aggregate = json!({"aggregate": {"name": "rack", "availability_zone": "z1"}});
    let action = |body: Value| post("/v2.1/os-aggregates/{aggregate}/action", &body).by(Who::Admin).masked(&["id"]);
    vec![
        admin("GET", "/v2.1/os-aggregates"),
        get("/v2.1/os-aggregates"),
        post("/v2.1/os-aggregates", &aggregate).by(Who::Admin).save("aggregate", "/aggregate/id").masked(&["id"]),
        post("/v2.1/os-aggregates", &aggregate).by(Who::Admin),
        admin("GET", "/v2.1/os-aggregates/{aggregate}").version("2.41").masked(&["id", "uuid"]),
        admin("PUT", "/v2.1/os-aggregates/{aggregate}").json(&json!({"aggregate": {"name": "row"}})).masked(&["id"]),
        action(json!({"set_metadata": {"metadata": {"ssd": "true"}}})),
        action(json!({"add_host": {"host": "nope"}})),
        action(json!({"nope": {}})),
        admin("GET", "/v2.1/os-availability-zone/detail"),
        get("/v2.1/os-availability-zone/detail"),
        get("/v2.1/os-availability-zone"),
        admin("DELETE", "/v2.1/os-aggregates/{aggregate}"),
        admin("GET", "/v2.1/os-aggregates/{aggregate}"),
        admin("GET", "/v2.1/os-services"),
        admin("GET", "/v2.1/os-services?binary=nova-compute").version("2.69"),
        get("/v2.1/os-services"),
        admin("PUT", "/v2.1/os-services/disable").json(&json!({"binary": "nova-compute", "host": "nope"})),
        admin("GET", "/v2.1/os-hypervisors"),
        admin("GET", "/v2.1/os-hypervisors/detail"),
        admin("GET", "/v2.1/os-hypervisors/statistics"),
        admin("GET", "/v2.1/os-hypervisors/statistics").version("2.88"),
        admin("GET", "/v2.1/os-hypervisors/nope"),
        admin("GET", "/v2.1/os-migrations"),
        admin("GET", "/v2.1/os-instance_usage_audit_log").masked(&["period_beginning", "period_ending"]),
        get("/v2.1/extensions"),
        get("/v2.1/extensions/os-keypairs"),
        get("/v2.1/extensions/nope"),
        get("/v2.1/images"),
        get("/v2.1/os-networks"),
        get("/v2.1/os-volumes"),
        get("/v2.1/os-security-groups"),
        get("/v2.1/os-cells"),
        get("/v2.1/os-fping"),
    ]
}

fn errors() -> Vec<Step> {
    // One byte more than sizelimit lets through.
    let large = || vec![b'x'; 114_689];
    vec![
        get("/v2.1/nope"),
        get("/v2.1/nope").header("Accept", "application/json"),
        get("/v2.1/nope").header("Accept", "text/plain"),
        get("/v2.1/nope/%3Cscript%3E"),
        ask("DELETE", "/v2.1/flavors"),
        ask("PATCH", "/v2.1/flavors/1").json(&json!({})),
        ask("HEAD", "/v2.1/flavors"),
        get("/v2.1/flavors").version("2.999"),
        get("/v2.1/flavors").version("1.0"),
        get("/v2.1/flavors").version("two"),
        get("/v2.1/flavors").header("Accept", "application/xml"),
        ask("POST", "/v2.1/servers").raw("text/plain", "x"),
        ask("POST", "/v2.1/servers").raw("application/xml", "<server/>"),
        ask("POST", "/v2.1/servers").raw("application/json", "{"),
        ask("POST", "/v2.1/servers").raw("application/json", ""),
        ask("POST", "/v2.1/servers").raw("application/json", b"{\"server\": \"\xff\"}".as_slice()),
        ask("POST", "/v2.1/servers").raw("application/json", "[]"),
        ask("POST", "/v2.1/servers").raw("application/json; charset=utf-8", "{\"server\": {}}"),
        ask("POST", "/v2.1/servers").raw("application/json", "{\"server\": {}}").chunked(),
        ask("POST", "/v2.1/servers").raw("application/json", large()),
        ask("POST", "/v2.1/servers").raw("application/json", large()).chunked(),
        ask("POST", "/v2.1/servers").by(Who::Nobody).raw("application/json", large()),
        ask("POST", "/v2.1/servers").by(Who::Nobody).raw("application/json", "{}"),
        ask("POST", "/v2.1/servers").header("Accept", "text/plain").raw("application/json", large()),
        ask("POST", "/v2.1/servers").header("Accept", "application/json").raw("application/json", large()),
        ask("TRACE", "/v2.1/flavors"),
        ask("GET", "/v2.1/flavors?name=%ff"),
        ask("GET", "/v2.1/flavors").raw("application/json", "{}"),
    ]
}

fn cloud() -> Vec<Step> {
    let bare = |headers: &[(&'static str, &str)]| {
        let step = Step { api: Api::Metadata, who: Who::Nobody, ..ask("GET", "/latest/meta-data/hostname") };
        headers.iter().fold(step, |step, (name, value)| step.header(name, value))
    };
    vec![
        metadata("/"),
        metadata("/latest"),
        metadata("/latest/"),
        metadata("/latest/meta-data"),
        metadata("/latest/meta-data/hostname"),
        metadata("/latest/meta-data/local-ipv4"),
        metadata("/latest/meta-data/instance-type"),
        metadata("/latest/meta-data/placement/"),
        metadata("/latest/meta-data/placement/availability-zone"),
        metadata("/latest/meta-data/nope"),
        metadata("/latest/user-data"),
        metadata("/2009-04-04/meta-data/instance-id"),
        metadata("/1.0/meta-data/reservation-id"),
        metadata("/nope"),
        metadata("/openstack"),
        metadata("/openstack/latest"),
        metadata("/openstack/latest/meta_data.json").masked(&["random_seed"]),
        metadata("/openstack/2013-10-17/meta_data.json").masked(&["random_seed"]),
        metadata("/openstack/latest/network_data.json"),
        metadata("/openstack/latest/vendor_data.json"),
        metadata("/openstack/latest/password"),
        metadata("/openstack/nope"),
        metadata("/latest//meta-data/./hostname"),
        metadata("/latest/meta-data/hostname").header("Origin", "http://elsewhere.example"),
        bare(&[]),
        bare(&[("X-Instance-ID", "{instance}"), ("X-Tenant-ID", "{demo}")]),
        bare(&[("X-Instance-ID", "{instance}"), ("X-Instance-ID-Signature", "{signature}")]),
        bare(&[("X-Instance-ID", "{instance}"), ("X-Tenant-ID", "{demo}"), ("X-Instance-ID-Signature", "00")]),
        bare(&[
            ("X-Instance-ID", "{instance}"),
            ("X-Tenant-ID", "{admin}"),
            ("X-Instance-ID-Signature", "{signature}"),
        ]),
        bare(&[
            ("X-Instance-ID", "{instance}"),
            ("X-Tenant-ID", "{demo}"),
            ("X-Instance-ID-Signature", "{signature}"),
            ("X-Forwarded-For", "10.0.0.10"),
        ]),
        Step { method: "POST", ..metadata("/latest/meta-data/hostname") }.raw("text/plain", "x"),
        Step { method: "HEAD", ..metadata("/latest/meta-data/hostname") },
    ]
}
