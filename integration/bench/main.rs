//! `cargo bench --bench compare`: Pasteway, nginx and HAProxy side by side on this machine, printed as Markdown.
//!
//! The same two backends on Unix sockets, the same load, one worker thread per proxy, interleaved rounds; medians,
//! and ratios to the better of nginx and HAProxy. Only ratios within one run mean anything. Must not know Pasteway's
//! insides: it measures the executable from outside. Loopback and Unix sockets only; every process that it starts
//! is ended by its id.

mod backend;
mod chain;
mod keystone;
mod load;
mod measure;
mod peers;
mod reload;
mod table;

use std::time::Duration;

use backend::Backend;
use load::{Answer, Load, Target};
use peers::{Kind, Peer, Scenario};
use table::{Sample, Series};

/// Anything that goes wrong ends the run; the text is for the person who started it.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What the command line asks for.
struct Options {
    rounds: usize,
    seconds: f64,
    edits: usize,
    connections: usize,
    peers: Vec<Kind>,
    only: Vec<String>,
}

const USAGE: &str = "usage: cargo bench --bench compare -- [--rounds 5] [--seconds 4] [--connections 64] [--edits 100]
       [--peers pasteway,nginx,haproxy] [--only plain,logged,chain,reload]";

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            rounds: 5,
            seconds: 4.0,
            edits: 100,
            connections: 64,
            peers: vec![Kind::Pasteway, Kind::Nginx, Kind::Haproxy],
            only: ["plain", "logged", "chain", "reload"].map(str::to_owned).into(),
        };
        while let Some(name) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{name} needs a value\n{USAGE}"));
            match name.as_str() {
                "--bench" => {}
                "--rounds" => options.rounds = value()?.parse()?,
                "--seconds" => options.seconds = value()?.parse()?,
                "--edits" => options.edits = value()?.parse()?,
                "--connections" => options.connections = value()?.parse()?,
                "--peers" => options.peers = value()?.split(',').map(Kind::named).collect::<Result<_>>()?,
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                _ => return Err(format!("unknown argument {name}\n{USAGE}").into()),
            }
        }
        Ok(options)
    }

    fn wants(&self, scenario: &str) -> bool {
        self.only.iter().any(|name| name == scenario)
    }
}

fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, socket] = args.as_slice()
        && flag == backend::FLAG
    {
        return backend::serve(socket);
    }
    // `cargo test --all-targets` runs benches too, without this flag: nothing to do there.
    if !args.iter().any(|arg| arg == "--bench") {
        println!("{USAGE}");
        return std::process::ExitCode::SUCCESS;
    }
    match Options::parse(args.into_iter()).and_then(|options| run(&options)) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    peers::require(&options.peers)?;
    let directory = tempfile::tempdir()?;
    let backends =
        [Backend::start(&directory.path().join("a.sock"))?, Backend::start(&directory.path().join("b.sock"))?];
    // Proxies on the first processor, load and backends on the last: they do not push each other around.
    measure::pin_self(measure::Side::Load)?;
    for backend in &backends {
        measure::pin(backend.pid(), measure::Side::Load)?;
    }
    for peer in &options.peers {
        println!("- {}: {}", peer.name(), peer.version());
    }
    println!("- CPU time: {}\n", measure::CPU_SOURCE);
    for scenario in [Scenario::Plain, Scenario::Logged] {
        if options.wants(scenario.name()) {
            let place = directory.path().join(scenario.name());
            compare(options, scenario, &place)?;
        }
    }
    if options.wants("chain") && options.peers.contains(&Kind::Pasteway) {
        chain::measure(options, &directory.path().join("chain"))?;
    }
    if options.wants("reload") && options.peers.contains(&Kind::Pasteway) {
        reload::measure(&directory.path().join("reload"), options.edits)?;
    }
    Ok(())
}

/// One scenario: all peers up, then `rounds` times each in turn, so that a slow minute of the machine hits all alike.
fn compare(options: &Options, scenario: Scenario, place: &std::path::Path) -> Result<()> {
    eprintln!("{}: {} rounds of {} s for each peer", scenario.name(), options.rounds, options.seconds);
    let mut peers = Vec::new();
    for kind in &options.peers {
        let peer = Peer::start(*kind, scenario, place)?;
        let idle_rss = measure::rss(peer.server)?;
        peers.push((peer, Series { name: kind.name(), idle_rss, samples: Vec::new() }));
    }
    let answer = Answer::Body(backend::BODY.as_bytes());
    let target = |peer: &Peer| Target { address: peer.address, request: scenario.request(), answer };
    let duration = Duration::from_secs_f64(options.seconds);
    for round in 0..options.rounds {
        // Rotated, so that nobody always comes after the same neighbour.
        let shift = round % peers.len();
        for (peer, series) in peers.iter_mut().cycle_from(shift) {
            let mut load = Load::connect(target(peer), options.connections)?;
            load.run(None, load::lasting(duration.mul_f64(0.1)))?;
            let before = measure::cpu(&peer.pids)?;
            let outcome = load.run(None, load::lasting(duration))?;
            let cpu = measure::cpu(&peer.pids)?.saturating_sub(before);
            if outcome.failed > 0 {
                return Err(
                    format!("{}: {} of {} requests failed", series.name, outcome.failed, outcome.requests).into()
                );
            }
            series.samples.push(Sample::new(outcome, cpu, measure::rss(peer.server)?));
            peer.empty_log()?;
        }
    }
    println!("## {}\n\n{}\n", scenario.name(), scenario.describe());
    println!("{}", table::markdown(&peers.into_iter().map(|(_, series)| series).collect::<Vec<_>>()));
    Ok(())
}

/// A slice walked once around from an index.
trait CycleFrom<T> {
    fn cycle_from<'a>(self, start: usize) -> impl Iterator<Item = &'a mut T>
    where
        T: 'a,
        Self: 'a;
}

impl<T> CycleFrom<T> for std::slice::IterMut<'_, T> {
    fn cycle_from<'a>(self, start: usize) -> impl Iterator<Item = &'a mut T>
    where
        T: 'a,
        Self: 'a,
    {
        let (first, rest) = self.into_slice().split_at_mut(start);
        rest.iter_mut().chain(first)
    }
}
