//! What the `openstack` command prints when it talks to one Nova or to another.
//!
//! Must not know what it should print.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use regex::Regex;

use crate::stack::Stack;

/// One process runs them all: each start of the command takes seconds.
const COMMANDS: &str = "\
flavor list
flavor show m1.tiny
flavor create --ram 64 --disk 1 --vcpus 1 --id by-command by-command
flavor set --property a=b by-command
flavor show by-command
flavor delete by-command
server list --all-projects --long
server show {instance}
keypair list
compute service list
aggregate create --zone z2 by-command -c name -c availability_zone
aggregate show by-command -c name -c properties
aggregate set --property a=b by-command
aggregate delete by-command
server group create --policy affinity by-command -c name -c policy
server group list -c Name -c Policy
server group delete by-command
availability zone list --compute
hypervisor list
limits show --absolute
quota show --compute demo
quota set --instances 33 demo
quota show --compute demo
quota delete --compute demo
server show nope
usage list --start 2020-01-01 --end 2020-01-08
";

/// Runs the commands as the administrator; the lines that they print, errors too, request ids masked.
pub fn run(stack: &Stack, compute: SocketAddr) -> Vec<String> {
    let command = Path::new(stack.text("/venv")).join("bin/openstack");
    let settings = [
        ("OS_AUTH_URL", stack.text("/keystone/url")),
        ("OS_IDENTITY_API_VERSION", "3"),
        ("OS_REGION_NAME", "RegionOne"),
        ("OS_USERNAME", "admin"),
        ("OS_PASSWORD", stack.text("/keystone/users/admin/password")),
        ("OS_PROJECT_NAME", "admin"),
        ("OS_USER_DOMAIN_NAME", "Default"),
        ("OS_PROJECT_DOMAIN_NAME", "Default"),
        ("OS_COMPUTE_ENDPOINT_OVERRIDE", &format!("http://{compute}/v2.1")),
        ("PYTHONWARNINGS", "ignore"),
        ("COLUMNS", "200"),
    ];
    let mut child = Command::new(command)
        .envs(settings)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command");
    let commands = COMMANDS.replace("{instance}", stack.text("/nova/instances/0"));
    child.stdin.take().expect("a pipe").write_all(commands.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("its output");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let id = Regex::new("req-[0-9a-f-]{36}").expect("a pattern");
    id.replace_all(&text.replace(&compute.to_string(), "HOST"), "req-*").lines().map(str::to_owned).collect()
}
