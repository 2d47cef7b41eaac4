//! Everything that is logged in this process, down to the drivers' traces.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};
use tracing_subscriber::fmt::MakeWriter;

/// What has been logged since the test began to listen.
#[derive(Clone)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Listens, at every level. One test in a process may: see [`run_alone`](super::run_alone).
    pub fn listen() -> Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        let log = LOG.get_or_init(|| {
            let log = Self(Arc::default());
            tracing_subscriber::fmt()
                .with_max_level(tracing::Level::TRACE)
                .with_ansi(false)
                .with_writer(log.clone())
                .init();
            log
        });
        log.clear();
        log.clone()
    }

    /// Forgets what was logged so far.
    pub fn clear(&self) {
        self.lines().clear();
    }

    /// All lines that contain `part`.
    pub fn with(&self, part: &str) -> Vec<String> {
        let lines = self.lines();
        lines.iter().filter(|l| l.contains(part)).cloned().collect()
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.0.lock().expect("no panic under the lock")
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Line;
    fn make_writer(&'a self) -> Line {
        Line(self.clone(), Vec::new())
    }
}

/// A line on its way: the formatter writes it in one piece or in several, then drops its writer.
pub struct Line(Log, Vec<u8>);

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.1.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let line = String::from_utf8_lossy(&self.1).into_owned();
        self.0.lines().push(line);
    }
}
