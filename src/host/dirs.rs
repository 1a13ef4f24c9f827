//! Run and state directories: made, locked, and written to so that a crash leaves whole files.

use std::fs::TryLockError;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use fs_err::os::unix::fs::OpenOptionsExt;

/// Mode of a file that everybody may read.
pub const PUBLIC: u32 = 0o644;
/// Mode of a file for this user alone.
pub const PRIVATE: u32 = 0o600;

/// Holds a run directory for one program; let go when dropped.
#[derive(Debug)]
pub struct Lock {
    _file: std::fs::File,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// The kernel's reason.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Another program has it.
    #[error("another qemu-bmc{0} is running with it")]
    InUse(String),
}

/// Makes `path` and what is above it, for this user only.
///
/// # Errors
/// The kernel's, with the path.
pub fn make(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// Makes `path`, and keeps others of our kind out of it.
///
/// # Errors
/// When it cannot be made, or another program has it.
pub fn make_and_lock(path: &Path) -> Result<Lock, DirError> {
    make(path)?;
    let (mut file, path) = fs_err::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path.join("lock"))?
        .into_parts();
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let pid = io::read_to_string(file).unwrap_or_default();
            let pid = pid.trim();
            let who = if pid.is_empty() { String::new() } else { format!(" (process {pid})") };
            return Err(DirError::InUse(who));
        }
        Err(TryLockError::Error(error)) => {
            let message = format!("{}: {error}", path.display());
            return Err(io::Error::new(error.kind(), message).into());
        }
    }
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())?;
    Ok(Lock { _file: file })
}

/// Replaces `path` by `contents`: readers see the old file or the new one. Does not wait for the
/// disk, so a crash of the host may bring the old one back.
///
/// # Errors
/// The kernel's, with the path.
pub fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    fs_err::write(&temporary, contents)?;
    fs_err::rename(&temporary, path)
}

/// Replaces `path` by `contents`: readers see the old file or the new one, also after a crash.
///
/// # Errors
/// The kernel's, with the path.
pub fn write_whole(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = fs_err::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&temporary)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs_err::rename(&temporary, path)?;
    if let Some(parent) = path.parent() {
        fs_err::File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// Copies `template` to `path` unless something is there.
///
/// # Errors
/// The kernel's, with the path.
pub fn copy_if_missing(template: &Path, path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    write_whole(path, &fs_err::read(template)?, PUBLIC)
}

/// Removes `path` if it is there.
///
/// # Errors
/// The kernel's, with the path.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
