//! What all stores of this process share that use one SQLite file.

use crate::Hint;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// One for each file, for as long as a store of this process uses it.
#[derive(Default)]
pub(crate) struct SharedFile {
    /// Held while a transaction writes. Others queue here, in order, instead of polling the file's lock.
    pub writer: Arc<tokio::sync::Mutex<()>>,
    /// Those of this process hear hints at once, not when the file has been looked at.
    listeners: Mutex<Vec<mpsc::Sender<Hint>>>,
}

impl SharedFile {
    /// That of `file`.
    #[cfg(feature = "sqlite")]
    pub(crate) fn of(file: &std::path::Path) -> Arc<Self> {
        use std::collections::HashMap;
        use std::path::{Path, PathBuf};
        use std::sync::Weak;
        static FILES: Mutex<Option<HashMap<PathBuf, Weak<SharedFile>>>> = Mutex::new(None);

        // Of the folder: the file may not be there yet.
        let folder = file
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let folder = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        let file = folder.join(file.file_name().unwrap_or_default());
        let mut files = FILES.lock().expect("no panic under the lock");
        let files = files.get_or_insert_default();
        files.retain(|_, shared| shared.strong_count() > 0);
        if let Some(shared) = files.get(&file).and_then(Weak::upgrade) {
            return shared;
        }
        let shared = Arc::<Self>::default();
        files.insert(file, Arc::downgrade(&shared));
        shared
    }

    /// From now on `listener` hears what is told here.
    #[cfg(feature = "sqlite")]
    pub(crate) fn listen(&self, listener: mpsc::Sender<Hint>) {
        self.listeners
            .lock()
            .expect("no panic under the lock")
            .push(listener);
    }

    /// Tells the stores of this process.
    pub(crate) fn tell(&self, hint: Hint) {
        let mut listeners = self.listeners.lock().expect("no panic under the lock");
        // Full: an unread hint says it all, and those that are read later say no less than this one.
        listeners.retain(|listener| listener.try_send(hint).is_ok() || !listener.is_closed());
    }
}
