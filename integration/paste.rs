//! Filters of Paste and of the front's own, in pipelines that the real executable serves.

use std::io::{Read, Write};
use std::process::Output;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use crate::support::front::executable;
use crate::support::{Answer, Front, Layout};

/// An app behind these filters; `sections` are theirs.
fn behind(filters: &str, sections: &str) -> Layout {
    Layout::compute(&format!(
        "[pipeline:osapi_compute]\npipeline = {filters} app\n\n{sections}\n\
         [filter:compress]\nuse = egg:Pasteway#compress\nmin_length = 1\n\n\
         [filter:sizelimit]\npaste.filter_factory = oslo_middleware:RequestBodySizeLimiter.factory\n\n\
         [filter:own]\npaste.filter_factory = some.where:filter_factory\n\n\
         [app:app]\npaste.app_factory = some.where:app_factory\n"
    ))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("gzip");
    encoder.finish().expect("gzip")
}

/// The stand-in's picture of the request, out of a gzip answer.
fn picture(answer: &Answer) -> serde_json::Value {
    assert_eq!((answer.status, answer.header("content-encoding")), (200, Some("gzip")), "{answer:?}");
    let mut text = String::new();
    GzDecoder::new(&answer.body[..]).read_to_string(&mut text).expect("gzip");
    serde_json::from_str(&text).expect("a picture")
}

#[test]
fn answers_are_encoded_as_the_client_accepts_them() {
    let front = Front::start(&behind("compress", ""));
    let mut client = front.client();
    let answer = client.get("/servers", &[("Accept-Encoding", "gzip")]).expect("an answer");
    assert_eq!(picture(&answer)["PATH_INFO"], "/servers");
    assert_eq!(answer.header("vary"), Some("Accept-Encoding"));
    let zstd = client.get("/servers", &[("Accept-Encoding", "gzip, br, zstd")]).expect("an answer");
    assert_eq!(zstd.header("content-encoding"), Some("zstd"));
    let plain = client.get("/servers", &[]).expect("an answer");
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), (None, Some("Accept-Encoding")));
    assert_eq!(plain.json()["PATH_INFO"], "/servers");
    assert!(plain.body.len() > answer.body.len() && plain.body.len() > zstd.body.len());
    let head = client.request("HEAD", "/servers", &[("Accept-Encoding", "gzip")], b"").expect("an answer");
    assert_eq!((head.status, head.header("content-encoding")), (200, None));
}

#[test]
fn the_worker_gets_a_gzip_body_inflated_and_a_bomb_never() {
    let front = Front::start(&behind("compress sizelimit", ""));
    let headers = [("Content-Encoding", "gzip"), ("Accept-Encoding", "gzip")];
    let mut client = front.client();
    let answer = client.request("POST", "/servers", &headers, &gzip(&[b'x'; 5000])).expect("an answer");
    let seen = picture(&answer);
    assert_eq!(seen["body"]["length"], 5000);
    assert!(!seen["headers"].to_string().contains("content-encoding"), "{seen}");
    for (body, status) in [(gzip(&vec![0; 3_000_000]), 413), (gzip(&vec![b'x'; 114_689]), 413), (b"no".to_vec(), 400)] {
        let refused = front.client().request("POST", "/servers", &headers, &body).expect("an answer");
        assert_eq!(refused.status, status);
    }
    assert_eq!(front.metric("pasteway_worker_requests_total", &[("api", "osapi_compute")]), 1.0);
}

#[test]
fn pastes_own_filters_run_in_the_front_and_the_rest_of_them_in_the_worker() {
    let sections = "[filter:prefix]\nuse = egg:PasteDeploy#prefix\nprefix = /compute\nforce_port = 443\n\n\
                    [filter:exceptions]\nuse = egg:Paste#httpexceptions\n\n\
                    [filter:translogger]\nuse = egg:Paste#translogger\nlogger_name = access\n\n\
                    [filter:gzip]\nuse = egg:Paste#gzip\n";
    let layout = behind("translogger exceptions gzip prefix own", sections).default("verbose = true");
    let front = Front::start(&layout);
    let headers = [("Accept-Encoding", "gzip"), ("User-Agent", "curl/8"), ("X-Forwarded-Host", "evil")];
    let answer = front.client().get("/compute/servers?limit=1", &headers).expect("an answer");
    assert_eq!(answer.header("vary"), None, "Paste's gzip says nothing of it");
    let seen = picture(&answer);
    assert_eq!((&seen["SCRIPT_NAME"], &seen["PATH_INFO"]), (&"/compute".into(), &"/servers".into()));
    assert_eq!(seen["environ"]["SERVER_PORT"], "443");
    assert!(seen["headers"].to_string().contains("127.0.0.1:443"), "{seen}");
    let sections: Vec<_> = seen["stands_in_for"].as_array().expect("sections").iter().map(|c| &c["section"]).collect();
    assert_eq!(sections, ["filter:exceptions", "filter:own", "app:app"]);
    let line = front.logged("GET /compute/servers?limit=1 HTTP/1.1\" 200 ");
    assert!(
        line.contains(" access ") && line.contains("127.0.0.1 - - [") && line.contains("\"-\" \"curl/8\""),
        "{line}"
    );
}

fn pasteway(layout: &Layout, args: &[&str]) -> Output {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("nova.conf"), layout.conf(directory.path())).expect("nova.conf");
    std::fs::write(directory.path().join("api-paste.ini"), layout.paste()).expect("api-paste.ini");
    let conf = directory.path().join("nova.conf");
    let mut command = std::process::Command::new(executable());
    command.args(args).arg("--config-file").arg(conf).output().expect("the executable")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

const CASCADE: &str = "[composite:osapi_compute]\nuse = egg:Paste#cascade\napp2 = last\napp1 = first\n\n\
    [composite:first]\nuse = egg:Paste#urlmap\n/here: small\n\n[pipeline:small]\npipeline = limit app\n\n\
    [filter:limit]\npaste.filter_factory = oslo_middleware:RequestBodySizeLimiter.factory\nmax_request_body_size = 10\n\n\
    [app:app]\npaste.app_factory = somewhere.else:app_factory\n\n[pipeline:last]\npipeline = app\n";

#[test]
fn a_cascade_asks_the_next_app_after_404_and_gives_it_the_whole_request() {
    let front = Front::start(&Layout::compute(CASCADE));
    // Only the first app knows this path, and its answer stands, whatever it is.
    assert_eq!(front.post("/here/x", b"12345678901").status, 413);
    let body = front.post("/here/x?pasteway.echo=1", b"0123456789");
    assert_eq!((body.status, body.text().as_str()), (200, "0123456789"));
    // It has an answer for this one too, and it is the one that leads on.
    let body = front.post("/here/x?pasteway.status=404", b"0123456789");
    assert_eq!(body.status, 404);
    let body = front.post("/elsewhere?pasteway.echo=1", b"01234567890123456789");
    assert_eq!((body.status, body.text().as_str()), (200, "01234567890123456789"));
    assert_eq!(front.get("/elsewhere").json()["PATH_INFO"], "/elsewhere");
    // What is too long to be given twice is refused, as long bodies are.
    assert_eq!(front.post("/elsewhere", &vec![b'x'; 1024 * 1024 + 1]).status, 413);
    let tree = said(&pasteway(&Layout::compute(CASCADE), &["tree"]));
    assert!(tree.contains("paste cascade [composite:osapi_compute]") && tree.contains("branch 2"), "{tree}");
}

#[test]
fn a_cascade_of_nothing_but_the_workers_apps_is_the_workers() {
    let text = "[composite:osapi_compute]\nuse = egg:Paste#cascade\napp1 = a\napp2 = a\n\n\
                [app:a]\npaste.app_factory = somewhere.else:app_factory\n";
    let tree = said(&pasteway(&Layout::compute(text), &["tree"]));
    assert!(tree.contains("mount 0 (the app): composite:osapi_compute"), "{tree}");
    let wrong = text.replace("app2 = a", "apq = a\ncatch = 404 x");
    let checked = said(&pasteway(&Layout::compute(&wrong), &["check"]));
    assert!(checked.contains("`apq` is no key of a cascade") && checked.contains("`x` is no status code"), "{checked}");
}

#[test]
fn the_tree_tells_why_a_part_of_paste_is_the_workers() {
    let lint = behind("lint", "[filter:lint]\nuse = egg:Paste#lint\n");
    let tree = said(&pasteway(&lint, &["tree"]));
    assert!(tree.contains("(it checks calls between Python objects): filter:lint app:app"), "{tree}");
}

#[test]
fn a_filter_of_the_front_cannot_stand_behind_the_cut() {
    let checked = pasteway(&behind("own compress", ""), &["check"]);
    assert_eq!(checked.status.code(), Some(78), "{}", said(&checked));
    let fact = "`egg:Pasteway#compress` runs in the front alone, and this part is the worker's";
    assert!(said(&checked).contains(fact), "{}", said(&checked));
    assert_eq!(pasteway(&behind("compress own", ""), &["check"]).status.code(), Some(0));
}
