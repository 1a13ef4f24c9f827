//! What outlives a restart, written to the state directory beside everything else: a slow disk
//! holds up nobody.

use std::io;
use std::path::{Path, PathBuf};

use tokio::sync::mpsc;
use tracing::warn;

use crate::host::dirs;

/// What clients have changed over IPMI. For this user only: it holds passwords.
const FILE: &str = "bmc.json";

fn file(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

/// What was saved, if anything was; what is not text is replaced by U+FFFD.
///
/// # Errors
/// The kernel's.
pub(super) fn read(state_dir: &Path) -> io::Result<Option<String>> {
    match fs_err::read(file(state_dir)) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Moves a damaged file out of the way, for people to look at; answers where to.
///
/// # Errors
/// The kernel's.
pub(super) fn set_aside(state_dir: &Path) -> io::Result<PathBuf> {
    let aside = state_dir.join(format!("{FILE}.damaged"));
    fs_err::rename(file(state_dir), &aside)?;
    Ok(aside)
}

/// Writes what comes, the newest of what has come, until nobody is left to send any.
pub(super) async fn run(state_dir: PathBuf, mut inbox: mpsc::UnboundedReceiver<String>) {
    while let Some(mut text) = inbox.recv().await {
        while let Ok(newer) = inbox.try_recv() {
            text = newer;
        }
        let path = file(&state_dir);
        let write = move || dirs::write_whole(&path, text.as_bytes(), dirs::PRIVATE);
        match tokio::task::spawn_blocking(write).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "what was changed over IPMI cannot be kept"),
            Err(error) => warn!(%error, "what was changed over IPMI cannot be kept"),
        }
    }
}
