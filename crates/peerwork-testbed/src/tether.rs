//! Ties a server, its directory and what is mounted to our life: all go when this process ends, be it by SIGKILL.
//!
//! ```text
//! us --(pipe: the server's pid)--> tether: reads until we are gone, then stops the server and removes the directory
//!  \--- start -------------------> server
//! ```
//!
//! The kernel closes the pipe whatever ends us, so no signal handler and no `Drop` needs to run. Our end is
//! close-on-exec: no other child of ours keeps it open. Neither a parent-death signal (it follows the starting
//! *thread*) nor a handler of our own could promise that.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::{Error, Result};

/// Arguments: the stop signal, the directory to remove or nothing, and what is mounted in it or nothing. The last line read is the server's pid; an empty
/// one means that none runs. It gets ten seconds, then SIGKILL. What is still creating files makes the first `rm` fail.
const SCRIPT: &str = r#"
pid=
while read -r line; do pid=$line; done
if [ -n "$pid" ]; then
    kill -s "$1" "$pid" 2>/dev/null
    tries=0
    while kill -0 "$pid" 2>/dev/null && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
    kill -s KILL "$pid" 2>/dev/null
fi
if [ -n "$3" ]; then umount -l -- "$3" 2>/dev/null; rmdir -- "$3" 2>/dev/null; fi
if [ -n "$2" ]; then rm -rf -- "$2" || { sleep 2; rm -rf -- "$2"; }; fi
"#;

#[derive(Debug)]
pub(crate) struct Tether(Child);

impl Tether {
    /// Once we are gone, sends `signal` (its name without SIG) to the server, if there is one, and removes `remove`.
    pub fn tie(signal: &str, remove: Option<&Path>) -> Result<Self> {
        let nothing = Path::new("");
        Self::start(signal, remove.unwrap_or(nothing), nothing)
    }

    /// Once we are gone, unmounts what is mounted on `path`, and removes the folder that it is in.
    pub fn tie_mount(path: &Path) -> Result<Self> {
        let folder = path.parent().expect("a mount point of ours has a folder");
        Self::start("TERM", folder, path)
    }

    fn start(signal: &str, remove: &Path, mounted: &Path) -> Result<Self> {
        Command::new("sh")
            .args(["-c", SCRIPT, "tether", signal])
            .args([remove, mounted])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C reaches the foreground group only; the tether has to outlive us.
            .process_group(0)
            .spawn()
            .map(Self)
            .map_err(Error::io("run sh, which cleans up if we die"))
    }

    /// From now on this is the server.
    pub fn hold(&mut self, pid: u32) -> Result<()> {
        self.say(&pid.to_string())
    }

    /// The server has ended; its pid may be somebody else's soon.
    pub fn release(&mut self) {
        // A tether that is gone already stops nobody.
        let _ = self.say("");
    }

    fn say(&mut self, line: &str) -> Result<()> {
        let pipe = self.0.stdin.as_mut().expect("piped at the start");
        writeln!(pipe, "{line}").map_err(Error::io("tell the tether of a server"))
    }
}

impl Drop for Tether {
    fn drop(&mut self) {
        // Killed before the pipe closes: it is to stop nothing.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
