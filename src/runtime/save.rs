//! What outlives a restart, written to the state directory beside everything else: a slow disk
//! holds up nobody.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{info, warn};

use crate::host::dirs;
use crate::runtime::machine::LAST_POWER;

/// What clients have changed over IPMI. For this user only: it holds passwords.
const FILE: &str = "bmc.json";

/// The time from one write to the next where there are very many: whoever can make changes must not keep
/// the disk busy.
const WRITE_INTERVAL: Duration = Duration::from_millis(250);
/// How much earlier than that a write may come: what few changes there are is kept at once.
const AHEAD: Duration = Duration::from_secs(8);

/// How long until what could not be written is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(3);

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

/// Writes what comes, the newest of what has come, until nobody is left to send any. What could not be
/// written is tried again.
pub(super) async fn run(state_dir: PathBuf, mut inbox: mpsc::UnboundedReceiver<String>) {
    let mut failed: Option<String> = None;
    // When the next write would come if all had the interval between them.
    let mut due = Instant::now();
    loop {
        let newer = match &failed {
            None => inbox.recv().await,
            Some(_) => timeout(RETRY_INTERVAL, inbox.recv()).await.unwrap_or_default(),
        };
        let (again, was_failing) = (newer.is_none(), failed.is_some());
        let Some(mut text) = newer.or_else(|| failed.take()) else { return };
        let earliest = due.checked_sub(AHEAD).unwrap_or(due);
        while let Ok(Some(newer)) = timeout_at(earliest, inbox.recv()).await {
            text = newer;
        }
        let (path, bytes) = (file(&state_dir), text.clone());
        let write = move || dirs::write_whole(&path, bytes.as_bytes(), dirs::PRIVATE);
        let error = match tokio::task::spawn_blocking(write).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        due = due.max(Instant::now()) + WRITE_INTERVAL;
        match &error {
            Some(error) if !again => warn!(error, "what was changed over IPMI cannot be kept"),
            None if was_failing => info!("what was changed over IPMI is kept now"),
            _ => {}
        }
        // The last try of all is when nobody is left.
        failed = error.filter(|_| !inbox.is_closed()).map(|_| text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[allow(clippy::disallowed_methods, reason = "a deadline")]
    async fn what_could_not_be_written_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let state_dir = dir.path().join("away");
        let (sender, inbox) = mpsc::unbounded_channel();
        let saving = tokio::spawn(run(state_dir.clone(), inbox));
        sender.send("old".to_owned()).unwrap();
        sender.send("new".to_owned()).unwrap();
        // It has failed by the time that another one is waited for.
        let waits = timeout(RETRY_INTERVAL / 2, sender.closed()).await;
        assert!(waits.is_err());
        fs_err::create_dir(&state_dir).unwrap();
        let start = Instant::now();
        while read(&state_dir).unwrap().as_deref() != Some("new") {
            assert!(start.elapsed() < 4 * RETRY_INTERVAL, "not written");
            tokio::task::yield_now().await;
        }
        drop(sender);
        saving.await.unwrap();
    }

    #[tokio::test]
    #[allow(clippy::disallowed_methods, reason = "a task")]
    async fn changes_in_a_row_are_written_now_and_then_and_the_last_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let state_dir = dir.path().to_owned();
        let (sender, inbox) = mpsc::unbounded_channel();
        let saving = tokio::spawn(run(state_dir.clone(), inbox));
        sender.send("0".to_owned()).unwrap();
        let start = Instant::now();
        while read(&state_dir).unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        let (mut number, mut written, mut last) = (0, 0, Some("0".to_owned()));
        while start.elapsed() < 4 * WRITE_INTERVAL {
            number += 1;
            sender.send(number.to_string()).unwrap();
            tokio::task::yield_now().await;
            let now = read(&state_dir).unwrap();
            written += usize::from(now != last);
            last = now;
        }
        let intervals = (AHEAD + start.elapsed()).as_millis() / WRITE_INTERVAL.as_millis();
        let most = usize::try_from(intervals).unwrap() + 1;
        assert!(written > most / 2 && written <= most, "{written} of {most}");
        drop(sender);
        saving.await.unwrap();
        assert_eq!(read(&state_dir).unwrap(), Some(number.to_string()));
    }
}
