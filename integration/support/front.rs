//! A running front: the real executable on its own files, ports and admin socket.
//!
//! Must not know what a test wants of it.

use std::collections::{BTreeSet, HashMap};
use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::{Answer, Client, DEADLINE, Layout, Save, eventually, process};

/// Tells what a front has started, and what that has, from everything else: its directory.
const MARK: &str = "PASTEWAY_TEST_FRONT";

/// The lines that were written so far.
type Log = Arc<Mutex<Vec<String>>>;

/// A front that has been started; killed by its process id when dropped.
pub struct Front {
    directory: TempDir,
    command: Command,
    child: Child,
    log: Log,
    addresses: HashMap<String, SocketAddr>,
}

impl Front {
    /// Starts it and waits until every API listens and the front is ready.
    #[track_caller]
    pub fn start(layout: &Layout) -> Self {
        Self::launch(layout).serving(layout)
    }

    /// The same, by a link in its directory ([`program`](Self::program)) that a test may have lead elsewhere.
    #[track_caller]
    pub fn start_by_link(layout: &Layout) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let program = directory.path().join("pasteway");
        std::os::unix::fs::symlink(executable(), &program).expect("a link");
        Self::launch_in(directory, &program, layout).serving(layout)
    }

    /// The same, by a shell that does `first` before it becomes the front.
    #[track_caller]
    pub fn start_after(first: &str, layout: &Layout) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let program = directory.path().join("first");
        let script = format!("#!/bin/sh\n{first} && exec {} \"$@\"\n", executable().display());
        std::fs::write(&program, script).expect("a script");
        std::fs::set_permissions(&program, Permissions::from_mode(0o700)).expect("executable");
        Self::launch_in(directory, &program, layout).serving(layout)
    }

    /// The same, obeying permissions.
    #[track_caller]
    pub fn start_obedient(layout: &Layout) -> Self {
        Self::furnish(tempfile::tempdir().expect("a directory"), obedient(), layout).serving(layout)
    }

    #[track_caller]
    fn serving(mut self, layout: &Layout) -> Self {
        let front = &mut self;
        for api in layout.enabled() {
            let address = front.listening(api);
            front.addresses.insert((*api).to_owned(), address);
        }
        self.ready();
        self
    }

    /// Waits for the end of its process, and starts the same command in the same directory again.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.exit();
        (self.child, self.log) = run(&mut self.command);
        let apis: Vec<String> = self.addresses.keys().cloned().collect();
        for api in apis {
            let address = self.listening(&api);
            self.addresses.insert(api, address);
        }
        self.ready();
    }

    #[track_caller]
    fn ready(&self) {
        eventually("ready", || {
            assert!(process::lives(self.pid()), "the front has ended");
            (self.admin("/ready").status == 200).then_some(())
        });
    }

    /// Starts it and waits for nothing.
    #[track_caller]
    pub fn launch(layout: &Layout) -> Self {
        Self::launch_in(tempfile::tempdir().expect("a directory"), executable(), layout)
    }

    #[track_caller]
    fn launch_in(directory: TempDir, program: &Path, layout: &Layout) -> Self {
        Self::furnish(directory, Command::new(program), layout)
    }

    #[track_caller]
    fn furnish(directory: TempDir, mut command: Command, layout: &Layout) -> Self {
        std::fs::write(directory.path().join("nova.conf"), layout.conf(directory.path())).expect("nova.conf");
        std::fs::write(directory.path().join("api-paste.ini"), layout.paste()).expect("api-paste.ini");
        command.args(layout.arguments(directory.path())).envs(layout.variables());
        Self::spawn(directory, command)
    }

    /// Runs a command whose standard error is the log.
    #[track_caller]
    pub fn spawn(directory: TempDir, mut command: Command) -> Self {
        command.env(MARK, directory.path());
        let (child, log) = run(&mut command);
        Self { directory, command, child, log, addresses: HashMap::new() }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The directory with its files.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The link that it was started by.
    pub fn program(&self) -> PathBuf {
        self.directory().join("pasteway")
    }

    /// The process that its instance file names: it, or the one that has taken its place.
    pub fn serving_pid(&self) -> Option<u32> {
        let text = std::fs::read(self.directory().join("run/front.json")).ok()?;
        let instance: Value = serde_json::from_slice(&text).ok()?;
        instance["pid"].as_u64()?.try_into().ok()
    }

    /// Puts a script in the place of the program that it was started by.
    pub fn replace_program(&self, text: &str, mode: u32) {
        let new = self.directory().join("new");
        std::fs::write(&new, text).expect("written");
        std::fs::set_permissions(&new, Permissions::from_mode(mode)).expect("set");
        std::fs::rename(&new, self.program()).expect("renamed");
    }

    /// And the real one again.
    pub fn restore_program(&self) {
        let new = self.directory().join("new");
        std::os::unix::fs::symlink(executable(), &new).expect("a link");
        std::fs::rename(&new, self.program()).expect("renamed");
    }

    /// All that lives of what was started here: fronts, workers, whatever they have started, and orphans of all these.
    pub fn processes(&self) -> BTreeSet<u32> {
        process::with_variable(MARK, &self.directory().display().to_string())
    }

    /// What it alone has in `runtime_dir`.
    pub fn own(&self) -> PathBuf {
        self.directory().join("run").join(self.pid().to_string())
    }

    /// Its api-paste.ini.
    pub fn paste(&self) -> PathBuf {
        self.directory().join("api-paste.ini")
    }

    /// Its nova.conf.
    pub fn conf(&self) -> PathBuf {
        self.directory().join("nova.conf")
    }

    /// All lines of its log so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().expect("no panic").clone()
    }

    /// The first line of the log that holds a text, once it is there.
    #[track_caller]
    pub fn logged(&self, text: &str) -> String {
        let mut deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(line) = self.log().into_iter().find(|line| line.contains(text)) {
                return line;
            }
            assert!(Instant::now() < deadline, "not logged: {text}\n{}", self.log().join("\n"));
            if !process::lives(self.pid()) {
                // Only what is still in the pipe can come.
                deadline = deadline.min(Instant::now() + Duration::from_millis(200));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The address that the log says an API listens on.
    #[track_caller]
    pub fn listening(&self, api: &str) -> SocketAddr {
        let text = format!("{api} listening on ");
        let line = self.logged(&text);
        let (_, address) = line.split_once(&text).expect("was found");
        address.trim().parse().unwrap_or_else(|error| panic!("{error} in {line:?}"))
    }

    /// The address of an API at the start.
    pub fn address(&self, api: &str) -> SocketAddr {
        self.addresses[api]
    }

    /// A new connection to osapi_compute.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.address("osapi_compute")).expect("a connection")
    }

    /// GET on a connection of its own to osapi_compute, with the stand-in's token.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.client().get(path, &[("X-Auth-Token", "u1:t1")]).expect("an answer")
    }

    /// POST on a connection of its own.
    #[track_caller]
    pub fn post(&self, path: &str, body: &[u8]) -> Answer {
        self.client().request("POST", path, &[("X-Auth-Token", "u1:t1")], body).expect("an answer")
    }

    /// A connection to the admin socket, once it is there.
    #[track_caller]
    pub fn admin_client(&self) -> Client {
        let path = self.directory().join("admin.sock");
        eventually("the admin socket", || Client::connect_unix(&path).ok())
    }

    /// GET on the admin socket.
    #[track_caller]
    pub fn admin(&self, path: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let mut client = self.admin_client();
        client.send(request).and_then(|()| client.answer("GET")).expect("an answer")
    }

    /// `POST /reload`: the status and the verdict.
    #[track_caller]
    pub fn reload(&self, query: &str) -> (u16, Value) {
        self.order(&format!("/reload{query}"))
    }

    /// POST on the admin socket: the status and the verdict.
    #[track_caller]
    pub fn order(&self, path: &str) -> (u16, Value) {
        let request =
            format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        let mut client = self.admin_client();
        let answer = client.send(request).and_then(|()| client.answer("POST")).expect("a verdict");
        (answer.status, answer.json())
    }

    /// The sum of all series of a metric whose labels hold these pairs; 0 while there is none.
    #[track_caller]
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let text = self.admin("/metrics").text();
        let of_series = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            let (found, set) = series.split_once('{').unwrap_or((series, ""));
            let fits = labels.iter().all(|(label, value)| set.contains(&format!("{label}=\"{value}\"")));
            (found == name && fits).then(|| value.parse::<f64>().expect("a number"))
        };
        text.lines().filter(|line| !line.starts_with('#')).filter_map(of_series).sum()
    }

    /// The number of the generation that serves.
    #[track_caller]
    pub fn generation(&self) -> u64 {
        self.admin("/status").json()["generation"].as_u64().expect("a generation")
    }

    /// Changes the paste file.
    #[track_caller]
    pub fn edit(&self, save: Save, change: impl FnOnce(String) -> String) {
        let old = std::fs::read_to_string(self.paste()).expect("api-paste.ini");
        save.save(&self.paste(), &change(old)).expect("saved");
    }

    /// Changes nova.conf by a rename.
    #[track_caller]
    pub fn edit_conf(&self, change: impl FnOnce(String) -> String) {
        let old = std::fs::read_to_string(self.conf()).expect("nova.conf");
        Save::Rename.save(&self.conf(), &change(old)).expect("saved");
    }

    /// The worker processes.
    pub fn workers(&self) -> Vec<u32> {
        process::children(self.pid())
    }

    /// Sends the front a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        process::signal(self.pid(), signal);
    }

    /// Waits for its end.
    #[track_caller]
    pub fn exit(&mut self) -> ExitStatus {
        let log = Arc::clone(&self.log);
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < deadline, "did not exit\n{}", log.lock().expect("no panic").join("\n"));
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // A failed test's log is the first thing that one wants to see.
        if std::thread::panicking() {
            eprintln!("--- log of the front ---\n{}", self.log().join("\n"));
            if let Ok(Some(status)) = self.child.try_wait() {
                eprintln!("--- it had ended by itself: {status} ---");
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Its successors, and whatever a failed test has left.
        let left = self.processes().into_iter().filter_map(process::Process::of);
        left.for_each(|process| process.signal(Signal::KILL));
    }
}

#[track_caller]
fn run(command: &mut Command) -> (Child, Log) {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("the executable");
    let log = Log::default();
    let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let lines = Arc::clone(&log);
    std::thread::spawn(move || {
        for line in stderr.split(b'\n').map_while(Result::ok) {
            lines.lock().expect("no panic").push(String::from_utf8_lossy(&line).into_owned());
        }
    });
    (child, log)
}

/// The executable as a program that obeys permissions: root need not, unless it is told to.
pub fn obedient() -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(executable());
    }
    let mut command = Command::new("setpriv");
    command.arg("--bounding-set=-dac_override,-dac_read_search").arg(executable());
    command
}

/// The executable under test.
pub fn executable() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_pasteway"))
}
