//! Servers as child processes that end when this process does, also when it is ended with SIGKILL.
//!
//! The kernel does that: `setpriv --pdeathsig` asks for a signal at the death of the parent. "Parent" means the thread
//! that forked, and the threads of tests come and go, so one thread that never ends does all the forking.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use super::os::{signal, unprivileged_user};
use super::run_dir::RunDir;
use super::wait::try_wait_for;

pub(crate) struct Spec<'a> {
    /// Its name in messages, and of its log in the run's folder.
    pub(crate) name: &'a str,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// Set beside what this process has itself.
    pub(crate) environment: Vec<(String, String)>,
    /// Run it as a user without rights where this process is root: PostgreSQL insists.
    pub(crate) unprivileged: bool,
    /// The signal, without `SIG`, that it gets when it is dropped or this process dies.
    pub(crate) dies_by: &'static str,
}

/// A server that was started. Dropping it ends it.
pub(crate) struct Server {
    name: String,
    child: Child,
    log: PathBuf,
    dies_by: &'static str,
}

impl Spec<'_> {
    /// Starts it, with its output in `<run>/<name>.log`. It has started when this returns; it is not ready for use yet.
    pub(crate) fn start(self, run: &RunDir) -> Result<Server> {
        let log = run.path().join(format!("{}.log", self.name));
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("opening {}", log.display()))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", self.dies_by]);
        if let Some(user) = unprivileged_user().filter(|_| self.unprivileged) {
            command.args(["--reuid", &user.uid.to_string()]).args(["--regid", &user.gid.to_string(), "--clear-groups"]);
        }
        command
            .arg("--")
            .arg(&self.program)
            .args(&self.arguments)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .current_dir("/")
            // Whoever handles Ctrl-C in a terminal decides in which order the servers go.
            .process_group(0);
        let child = spawn_in_lasting_thread(command)
            .with_context(|| format!("starting {} ({})", self.name, self.program.display()))?;
        fs::write(run.path().join("pids").join(self.name), format!("{}\n", child.id()))?;
        Ok(Server { name: self.name.to_owned(), child, log, dies_by: self.dies_by })
    }
}

impl Server {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error with the end of its log, if it has ended.
    fn still_runs(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(self.failure(&format!("ended with {status}"))),
        }
    }

    /// Waits until `look` answers `Ok`, or until it has ended, or for `deadline`; failures show the end of its log.
    pub(crate) async fn wait_until<T>(
        &mut self,
        what: &str,
        deadline: Duration,
        mut look: impl AsyncFnMut() -> Result<T, String>,
    ) -> Result<T> {
        let found = try_wait_for(what, deadline, async || match self.still_runs() {
            Ok(()) => look().await.map(Ok),
            Err(why) => Ok(Err(why)),
        });
        found.await.unwrap_or_else(|why| Err(self.failure(&why)))
    }

    /// An error that says what happened to it and shows the end of its log.
    fn failure(&self, what: &str) -> anyhow::Error {
        anyhow!("{} {what}; the end of {}:\n{}", self.name, self.log.display(), tail(&self.log, 25))
    }

    /// How it ended, if it has.
    pub(crate) fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Sends it a signal, named without `SIG`.
    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        signal(self.pid(), name)
    }

    /// Sends it a signal and waits until it is gone.
    pub(crate) fn end(&mut self, signal: &str, deadline: Duration) -> Result<ExitStatus> {
        self.signal(signal)?;
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if started.elapsed() > deadline {
                return Err(self.failure(&format!("still runs {deadline:?} after SIG{signal}")));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.end(self.dies_by, Duration::from_secs(5)).is_err() {
            // It may have ended in between, which is as good.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The last lines of a file, for a message.
fn tail(path: &Path, lines: usize) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

struct Order {
    command: Command,
    answer: mpsc::Sender<io::Result<Child>>,
}

/// Forks in the one thread that lives as long as the process.
fn spawn_in_lasting_thread(command: Command) -> Result<Child> {
    static SPAWNER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let thread = SPAWNER.get_or_init(|| {
        let (orders, waiting) = mpsc::channel::<Order>();
        thread::Builder::new()
            .name("spawner".to_owned())
            .spawn(move || {
                for mut order in waiting {
                    // Who asked may be gone; then dropping the answer ends nothing, and the kernel does in the end.
                    let _ = order.answer.send(order.command.spawn());
                }
            })
            .expect("a thread can be started");
        orders
    });
    let (answer, spawned) = mpsc::channel();
    thread.send(Order { command, answer }).map_err(|_| anyhow!("the thread that starts servers is gone"))?;
    Ok(spawned.recv().context("the thread that starts servers is gone")??)
}
