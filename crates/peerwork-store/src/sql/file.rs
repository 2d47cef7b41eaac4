//! What all stores of this process share that use one SQLite file.

use super::bell::Bell;
use super::hints::{Origin, Said};
use crate::Hint;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// One for each file, for as long as a store of this process uses it.
pub(crate) struct SharedFile {
    /// Held while a transaction writes. Others queue here, in order, instead of polling the file's lock.
    pub writer: Arc<tokio::sync::Mutex<()>>,
    listeners: Mutex<Listeners>,
    /// For other processes.
    bell: Bell,
}

/// Those of this process hear each other's hints at once.
#[derive(Default)]
struct Listeners {
    all: Vec<(Option<Origin>, mpsc::Sender<Hint>)>,
    /// Whether somebody listens for other processes.
    watched: bool,
}

impl SharedFile {
    fn new(file: PathBuf) -> Self {
        Self {
            writer: Arc::default(),
            listeners: Mutex::default(),
            bell: Bell::beside(file),
        }
    }

    /// That of `file`.
    #[cfg(feature = "sqlite")]
    pub(crate) fn of(file: &std::path::Path) -> Arc<Self> {
        use std::collections::HashMap;
        use std::path::Path;
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
        let shared = Arc::new(Self::new(file.clone()));
        files.insert(file, Arc::downgrade(&shared));
        shared
    }

    /// From now on `listener` hears what others say than `me`.
    #[cfg(feature = "sqlite")]
    pub(crate) fn listen(self: &Arc<Self>, me: Option<Origin>, listener: mpsc::Sender<Hint>) {
        let mut listeners = self.listeners.lock().expect("no panic under the lock");
        listeners.all.push((me, listener));
        if !listeners.watched {
            let file = Arc::downgrade(self);
            let hear = move |hint| file.upgrade().is_some_and(|file| file.hear(hint));
            listeners.watched = self.bell.watch(hear);
        }
    }

    /// Tells the stores of this process and other processes.
    pub(crate) fn tell(&self, said: Said) {
        self.pass_on(said);
        self.bell.ring(said.hint);
    }

    /// Passes on what another process has said, if anything. False: nobody listens any more, and so need not the caller.
    #[cfg(feature = "sqlite")]
    fn hear(&self, hint: Option<Hint>) -> bool {
        if let Some(hint) = hint {
            self.pass_on(Said { hint, by: None });
        }
        let mut listeners = self.listeners.lock().expect("no panic under the lock");
        listeners.all.retain(|(_, listener)| !listener.is_closed());
        listeners.watched = !listeners.all.is_empty();
        listeners.watched
    }

    fn pass_on(&self, said: Said) {
        let mut listeners = self.listeners.lock().expect("no panic under the lock");
        // Full: an unread hint says it all, and those that are read later say no less than this one.
        listeners.all.retain(|(me, listener)| {
            said.is_by(*me) || listener.try_send(said.hint).is_ok() || !listener.is_closed()
        });
    }
}
