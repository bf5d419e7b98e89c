//! `cargo bench --bench resolve`: how long a Paste file of 100, 1,000 and 10,000 sections takes from its bytes to the
//! compiled tree, on one core, printed as Markdown.
//!
//! Two shapes: *wide*, a urlmap over many pipelines, and *long*, one pipeline through all filters. The time is that of
//! the processor, the best of several runs. Must not know how the work is done.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use pasteway::config::interpreter::Interpreters;
use pasteway::config::oslo::{Argument, Arguments, Environment};
use pasteway::config::{self, Invocation};
use pasteway::{compile, config::Failed};
use rustix::time::{ClockId, clock_gettime};

const SIZES: [usize; 3] = [100, 1_000, 10_000];
const RUNS: usize = 9;

/// What a file of 10,000 sections may take.
const LIMIT: Duration = Duration::from_millis(50);

/// Filters, one section each, that every pipeline of the wide file has beside its app.
const FILTERS: [&str; 8] = [
    "paste.filter_factory = nova.api.openstack.compute_req_id:ComputeReqIdMiddleware.factory",
    "paste.filter_factory = nova.api.openstack:FaultWrapper.factory",
    "paste.filter_factory = nova.api.sizelimit:RequestBodySizeLimiter.factory\nmax_request_body_size = 114688",
    "paste.filter_factory = nova.api.openstack.auth:NoAuthMiddleware.factory",
    "paste.filter_factory = my.filters:first\nlevel = %(level)s",
    "paste.filter_factory = my.filters:second\nset debug = true\nuser = admin",
    "use = egg:my.filters#third\nhere_is = %(here)s",
    "paste.filter_factory = my.filters:fourth\nlimits = (POST, \"*\", .*, 10, MINUTE)",
];

/// A urlmap over pipelines: ten sections for each, its own filters and app among them.
fn wide(sections: usize) -> String {
    let mut text = "[DEFAULT]\nlevel = 3\n[composite:osapi_compute]\nuse = egg:Paste#urlmap\n".to_owned();
    let pipelines = sections / (FILTERS.len() + 2);
    for n in 0..pipelines {
        let _ = writeln!(text, "/v{n} = p{n}");
    }
    for n in 0..pipelines {
        let names: Vec<_> = (0..FILTERS.len()).map(|f| format!("f{n}-{f}")).collect();
        let _ = write!(text, "[pipeline:p{n}]\npipeline = {} a{n}\n", names.join(" "));
        for (name, body) in names.iter().zip(FILTERS) {
            let _ = write!(text, "[filter:{name}]\n{body}\n");
        }
        let _ = write!(text, "[app:a{n}]\npaste.app_factory = my.app:factory\nnumber = {n}\n");
    }
    text
}

/// One pipeline through all filters, all of which the front runs.
fn long(sections: usize) -> String {
    let names: Vec<_> = (0..sections.saturating_sub(2)).map(|n| format!("f{n}")).collect();
    let mut text = format!("[DEFAULT]\nlevel = 3\n[pipeline:osapi_compute]\npipeline = {} a\n", names.join("\n  "));
    for (n, name) in names.iter().enumerate() {
        let _ = write!(text, "[filter:{name}]\n{}\n", FILTERS[n % 3]);
    }
    text + "[app:a]\npaste.app_factory = my.app:factory\n"
}

/// Time from the files' names to the resolved names, and from there to the compiled tree.
#[derive(Clone, Copy, Default)]
struct Spent {
    load: Duration,
    compile: Duration,
}

impl Spent {
    fn whole(self) -> Duration {
        self.load + self.compile
    }
}

/// Of this thread, on whatever core: other processes do not count.
fn processor_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

fn once(invocation: &Invocation) -> Spent {
    let begun = processor_time();
    let config = config::load(invocation, &|_, _| {});
    let load = processor_time() - begun;
    let config = config.unwrap_or_else(|Failed { diagnostics, .. }| panic!("{diagnostics:?}"));
    let begun = processor_time();
    let plan = compile::compile(config, None).unwrap_or_else(|found| panic!("{found:?}"));
    let compile = processor_time() - begun;
    drop(plan);
    Spent { load, compile }
}

fn best(directory: &Path, text: &str) -> Spent {
    let conf = "[DEFAULT]\nenabled_apis = osapi_compute\napi_paste_config = api-paste.ini\nosapi_compute_workers = 1\n\
                [pasteway]\nworker_kind = builtin\nini_dialect = py2\npaste_library = 1\nrelease = 2013.2\n";
    std::fs::write(directory.join("nova.conf"), conf).expect("nova.conf");
    std::fs::write(directory.join("api-paste.ini"), text).expect("api-paste.ini");
    let environment = Environment::bare(directory);
    let items = vec![Argument::File(directory.join("nova.conf"))];
    let arguments = Arguments { program: "pasteway".into(), items, ask: None };
    let invocation = Invocation { paste: None, arguments, environment, cpus: 1, interpreters: Interpreters::default() };
    (0..RUNS).map(|_| once(&invocation)).min_by_key(|spent| spent.whole()).unwrap_or_default()
}

fn main() {
    let directory = tempfile::tempdir().expect("a directory");
    println!(
        "| shape | sections | bytes | nova.conf, layout, parse, resolve | compile | resolve + compile | per section |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|");
    let ms = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
    let mut slow = false;
    for (shape, make) in [("wide", wide as fn(usize) -> String), ("long", long)] {
        for sections in SIZES {
            let text = make(sections);
            let spent = best(directory.path(), &text);
            let whole = spent.whole();
            slow |= sections == 10_000 && whole > LIMIT;
            println!(
                "| {shape} | {sections} | {} | {} | {} | {} | {:.2} µs |",
                text.len(),
                ms(spent.load),
                ms(spent.compile),
                ms(whole),
                whole.as_secs_f64() * 1e6 / sections as f64,
            );
        }
    }
    if slow {
        eprintln!("10,000 sections took more than {LIMIT:?}");
        std::process::exit(1);
    }
}
