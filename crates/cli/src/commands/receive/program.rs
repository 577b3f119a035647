//! A program run for one event: no shell, the event on its standard input, a limit to its time and to its output.

use std::{
    collections::VecDeque,
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use filesafety::receiver::{HandlerError, ScanEvent};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
    task::JoinHandle,
    time::timeout,
};

use super::settings::verdict_name;

/// Of what a program writes, the last bytes are kept for the log; the rest is read and dropped.
const OUTPUT_KEPT: usize = 2048;

/// A program may leave others behind that hold its output open: they are not waited for longer.
const OUTPUT_TIME: Duration = Duration::from_millis(500);

/// The longest value in the environment, in characters.
const VALUE_MAX: usize = 255;

/// What a program gets of our environment.
const INHERITED: [&str; 6] = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"];

/// A program that was there when the receiver started.
#[derive(Clone, Debug)]
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<String>,
}

impl Program {
    /// `words` are the program and its arguments.
    pub(super) fn new(words: &[String]) -> Result<Self, String> {
        let [path, arguments @ ..] = words else { return Err("is empty; give the program and its arguments".into()) };
        let path = Path::new(path);
        if !path.is_absolute() {
            return Err(format!("{} is looked for in no folder; give its whole path", path.display()));
        }
        let metadata = path.metadata().map_err(|error| format!("{} cannot be run: {error}", path.display()))?;
        if !metadata.is_file() {
            return Err(format!("{} is no file; give a program", path.display()));
        }
        if metadata.permissions().mode() & 0o111 == 0 {
            return Err(format!("{0} may not be run; chmod +x {0}", path.display()));
        }
        if arguments.iter().any(|argument| argument.contains('\0')) {
            return Err("an argument holds a zero byte".into());
        }
        Ok(Self { path: path.to_owned(), arguments: arguments.to_vec() })
    }

    /// Runs it once. Anything but exit status 0 within `limit` is a failure; at the limit it is killed with all it started.
    pub(super) async fn run(&self, event: &ScanEvent, limit: Duration) -> Result<(), HandlerError> {
        let mut child =
            self.spawn(event).map_err(|error| HandlerError::retry(format!("{} cannot be run: {error}", self.path.display())))?;
        let group = Group::of(&child);
        let said = [Tail::of(child.stdout.take()), Tail::of(child.stderr.take())];
        let ended = timeout(limit, feed_and_wait(&mut child, &event.body)).await;
        if ended.is_err() {
            drop(group);
            // Killed, it ends now.
            let _ = timeout(OUTPUT_TIME, child.wait()).await;
        } else {
            group.leave();
        }
        let [stdout, stderr] = said;
        let (stdout, stderr) = (stdout.text().await, stderr.text().await);
        let problem = match ended {
            Ok(Ok(status)) if status.success() => {
                tracing::debug!(scan_id = %event.scan_id, program = %self.path.display(), stdout = %stdout.escape_debug(), stderr = %stderr.escape_debug(), "program ended well");
                return Ok(());
            }
            Ok(Ok(status)) => told(status),
            Ok(Err(error)) => format!("could not be waited for: {error}"),
            Err(_) => format!("was killed: it ran longer than {} s", limit.as_secs_f32()),
        };
        let last_words = if stderr.trim().is_empty() { stdout } else { stderr };
        let separator = if last_words.trim().is_empty() { "" } else { ": " };
        Err(HandlerError::retry(format!("{} {problem}{separator}{}", self.path.display(), last_words.trim())))
    }

    fn spawn(&self, event: &ScanEvent) -> io::Result<Child> {
        let signature = event.virus.as_ref().and_then(|virus| virus.signature.as_deref()).unwrap_or_default();
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).env_clear();
        command.envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.env("FILESAFETY_SCAN_ID", harmless(&event.scan_id));
        command.env("FILESAFETY_VERDICT", verdict_name(event.verdict));
        command.env("FILESAFETY_SIGNATURE", harmless(signature));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own: what it starts can be killed with it, and a Ctrl-C at our terminal is ours alone.
        command.process_group(0).kill_on_drop(true).spawn()
    }
}

async fn feed_and_wait(child: &mut Child, body: &[u8]) -> io::Result<ExitStatus> {
    let stdin = child.stdin.take();
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A program need not read; that it ended well is what counts.
            let _ = stdin.write_all(body).await;
        }
    };
    let (status, ()) = tokio::join!(child.wait(), feed);
    status
}

/// A text from outside without control characters and such that show other text than there is.
fn harmless(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && !crate::terminal::is_deceptive(*c)).take(VALUE_MAX).collect()
}

fn told(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended in an unknown way".into(),
    }
}

/// Kills the program and what it started, unless it ended by itself: also when the receiver gives up waiting.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)))
    }

    /// It ended by itself; its number may be another's by now.
    fn leave(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // An error means that nobody is left.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// The last that a program wrote.
struct Tail {
    kept: Arc<Mutex<VecDeque<u8>>>,
    reading: JoinHandle<()>,
}

impl Tail {
    fn of(pipe: Option<impl AsyncRead + Send + Unpin + 'static>) -> Self {
        let kept = Arc::new(Mutex::new(VecDeque::new()));
        let keep = Arc::clone(&kept);
        let reading = tokio::spawn(async move {
            let Some(mut pipe) = pipe else { return };
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
                let mut kept: std::sync::MutexGuard<'_, VecDeque<u8>> = keep.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(&buffer[..read]);
                let surplus = kept.len().saturating_sub(OUTPUT_KEPT);
                kept.drain(..surplus);
            }
        });
        Self { kept, reading }
    }

    async fn text(mut self) -> String {
        if timeout(OUTPUT_TIME, &mut self.reading).await.is_err() {
            self.reading.abort();
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(kept.make_contiguous()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_holds_no_control_characters() {
        assert_eq!(harmless("Eicar\n\0\u{1b}[2J\u{202e}-Test\u{200b}"), "Eicar[2J-Test");
        assert_eq!(harmless(&"é".repeat(1000)).chars().count(), 255);
    }

    #[tokio::test]
    async fn the_last_of_the_output_is_kept() {
        let text = Tail::of(Some(io::Cursor::new([vec![b'a'; 100_000], b"the end".to_vec()].concat()))).text().await;
        assert!(text.len() == OUTPUT_KEPT && text.ends_with("athe end"));
    }
}
