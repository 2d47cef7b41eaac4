//! Ties a server to our life: it is stopped when this process ends, be it by SIGKILL.
//!
//! ```text
//! us --(pipe, write end)--> tether: `cat` blocks until we are gone, then stops the server
//!  \--- starts ------------> server
//! ```
//!
//! The kernel closes the pipe whatever ends us, so no signal handler and no `Drop` needs to run. The write end is
//! close-on-exec: no other child of ours keeps it open. Neither a parent-death signal (it follows the starting
//! *thread*) nor a handler of our own could promise that.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::{Error, Result};

/// Arguments: the server's pid, its stop signal, and the directory to remove or nothing. Ten seconds, then SIGKILL.
const SCRIPT: &str = r#"
cat >/dev/null
kill -s "$2" "$1" 2>/dev/null
tries=0
while kill -0 "$1" 2>/dev/null && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
kill -s KILL "$1" 2>/dev/null
if [ -n "$3" ]; then rm -rf -- "$3"; fi
"#;

#[derive(Debug)]
pub(crate) struct Tether(Child);

impl Tether {
    /// Once we are gone, sends `signal` (its name without SIG) to `pid` and removes `remove`.
    pub fn tie(pid: u32, signal: &str, remove: Option<&Path>) -> Result<Self> {
        Command::new("sh")
            .args(["-c", SCRIPT, "tether", &pid.to_string(), signal])
            .arg(remove.unwrap_or(Path::new("")))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C reaches the foreground group only; the tether has to outlive us.
            .process_group(0)
            .spawn()
            .map(Self)
            .map_err(Error::io("run sh, which stops the server if we die"))
    }

    /// The server has ended, or is to go on alone.
    pub fn cut(mut self) {
        // Killed before the pipe closes, so that it never signals a pid that somebody else has by then.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
