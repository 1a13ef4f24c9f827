//! What outlives a restart, written to the state directory beside everything else: a slow disk
//! holds up nobody.

use std::io;
use std::path::{Path, PathBuf};

use tokio::sync::mpsc;
use tracing::warn;

use crate::host::dirs;
use crate::runtime::machine::LAST_POWER;

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

/// Moves what was saved out of the way, as it cannot be used.
///
/// # Errors
/// The kernel's.
pub(super) fn set_aside(state_dir: &Path, why: &str) -> io::Result<()> {
    let aside = dirs::set_aside(&file(state_dir))?;
    warn!(error = why, kept = %aside.display(), "users and settings are the profile's: the file of what was changed over IPMI is damaged");
    Ok(())
}

/// Whether the machine was on when the program ended; the first time, it counts as on.
///
/// # Errors
/// The kernel's, when a damaged file cannot be set aside.
pub(super) fn was_on(state_dir: &Path) -> io::Result<bool> {
    let path = state_dir.join(LAST_POWER);
    let why = match fs_err::read(&path) {
        Ok(word) if word.trim_ascii() == b"on" => return Ok(true),
        Ok(word) if word.trim_ascii() == b"off" => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Ok(_) => "neither `on` nor `off`".to_owned(),
        Err(error) => error.to_string(),
    };
    let aside = dirs::set_aside(&path)?;
    warn!(error = why, kept = %aside.display(), "the machine counts as on: the file of its last power state is damaged");
    Ok(true)
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
