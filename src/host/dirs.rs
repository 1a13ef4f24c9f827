//! Run and state directories: made, locked, and written to so that a crash leaves whole files.

use std::fs::TryLockError;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

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

/// The steps of a write that survives a crash.
trait Steps {
    /// Makes the file, or empties it, and writes.
    fn write(&mut self, path: &Path, contents: &[u8], mode: u32) -> io::Result<()>;
    /// Waits until the file's contents are on the disk.
    fn sync(&mut self, path: &Path) -> io::Result<()>;
    /// Gives the file another name, and takes away what had it.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    /// Waits until the directory's names are on the disk.
    fn sync_dir(&mut self, path: &Path) -> io::Result<()>;
}

/// Linux's file systems.
struct Linux;

impl Steps for Linux {
    fn write(&mut self, path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
        // A left-over of a crash may have another mode.
        remove(path)?;
        let mut options = fs_err::OpenOptions::new();
        options.write(true).create_new(true).mode(mode).open(path)?.write_all(contents)
    }

    fn sync(&mut self, path: &Path) -> io::Result<()> {
        fs_err::File::open(path)?.sync_all()
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs_err::rename(from, to)
    }

    fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        fs_err::File::open(path)?.sync_all()
    }
}

/// Replaces `path` by `contents`: readers see the old file or the new one, also after a crash. A
/// crash may leave a file whose name ends in `.new`, which nobody reads.
///
/// # Errors
/// The kernel's, with the path.
pub fn write_whole(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    write_in_steps(&mut Linux, path, contents, mode)
}

fn write_in_steps(
    steps: &mut impl Steps,
    path: &Path,
    contents: &[u8],
    mode: u32,
) -> io::Result<()> {
    let temporary = path.with_extension("new");
    steps.write(&temporary, contents, mode)?;
    // Before the rename: else the new name may be on the disk before what it names.
    steps.sync(&temporary)?;
    steps.rename(&temporary, path)?;
    path.parent().map_or(Ok(()), |parent| steps.sync_dir(parent))
}

/// Moves a damaged file out of the way, for people to look at; answers where to.
///
/// # Errors
/// The kernel's, with the path.
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    let aside = PathBuf::from(aside);
    fs_err::rename(path, &aside)?;
    Ok(aside)
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const OLD: &[u8] = b"{ what was there before }";
    const NEW: &[u8] = b"{ what is there now, and longer }";

    /// A disk that loses power: what was not synchronised is there, or not, or in part.
    #[derive(Clone, Default)]
    struct Disk {
        /// Contents by file, and whether they are safe.
        files: Vec<(Vec<u8>, bool)>,
        /// Which file has which name, safely.
        names: BTreeMap<PathBuf, usize>,
        /// Changes of names that are still in memory, in order.
        pending: Vec<(PathBuf, Option<usize>)>,
        /// How many steps are done before the power goes, or the disk is full.
        steps_left: usize,
    }

    impl Disk {
        fn named(&self, path: &Path) -> Option<usize> {
            let newest = self.pending.iter().rev().find(|(name, _)| name == path);
            newest.map_or_else(|| self.names.get(path).copied(), |(_, file)| *file)
        }

        fn step(&mut self) -> io::Result<()> {
            self.steps_left = self.steps_left.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
            Ok(())
        }

        /// All that may be found under this name after the power has gone now.
        fn after_crash(&self, path: &Path) -> Vec<Option<Vec<u8>>> {
            let mut found = Vec::new();
            for kept in 0..=self.pending.len() {
                let mut names = self.names.clone();
                for (name, file) in &self.pending[..kept] {
                    match file {
                        Some(file) => names.insert(name.clone(), *file),
                        None => names.remove(name),
                    };
                }
                match names.get(path).map(|file| &self.files[*file]) {
                    None => found.push(None),
                    Some((contents, true)) => found.push(Some(contents.clone())),
                    Some((contents, false)) => {
                        let parts = (0..=contents.len()).map(|len| Some(contents[..len].to_vec()));
                        found.extend(parts);
                    }
                }
            }
            found
        }
    }

    impl Steps for Disk {
        fn write(&mut self, path: &Path, contents: &[u8], _: u32) -> io::Result<()> {
            self.files.push((contents.to_vec(), false));
            self.pending.push((path.to_owned(), Some(self.files.len() - 1)));
            self.step()
        }

        fn sync(&mut self, path: &Path) -> io::Result<()> {
            self.step()?;
            let file = self.named(path).unwrap();
            self.files[file].1 = true;
            Ok(())
        }

        fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
            self.step()?;
            let file = self.named(from);
            self.pending.push((to.to_owned(), file));
            self.pending.push((from.to_owned(), None));
            Ok(())
        }

        fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
            self.step()?;
            assert!(self.pending.iter().all(|(name, _)| name.parent() == Some(path)));
            for (name, file) in std::mem::take(&mut self.pending) {
                match file {
                    Some(file) => self.names.insert(name, file),
                    None => self.names.remove(&name),
                };
            }
            Ok(())
        }
    }

    #[test]
    fn a_write_that_is_cut_off_at_any_step_leaves_the_old_file_or_the_new_one() {
        let path = Path::new("/state/bmc.json");
        for was_there in [false, true] {
            let old = was_there.then(|| OLD.to_vec());
            let mut whole = None;
            for steps_left in 0.. {
                let mut disk = Disk { steps_left, ..Disk::default() };
                // A left-over of an earlier crash.
                disk.files.push((b"{ half of".to_vec(), true));
                disk.names.insert("/state/bmc.new".into(), 0);
                if was_there {
                    disk.files.push((OLD.to_vec(), true));
                    disk.names.insert(path.to_owned(), 1);
                }
                let done = write_in_steps(&mut disk, path, NEW, PRIVATE).is_ok();
                let allowed = [old.clone(), Some(NEW.to_vec())];
                for found in disk.after_crash(path) {
                    assert!(allowed.contains(&found), "step {steps_left}: {found:?}");
                    assert!(!done || found == allowed[1], "written, and lost: {found:?}");
                }
                if done {
                    whole = Some(steps_left);
                    break;
                }
            }
            assert_eq!(whole, Some(4), "all steps were tried");
        }
    }

    #[test]
    fn the_real_thing_leaves_one_file_with_its_mode() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bmc.json");
        fs_err::write(dir.path().join("bmc.new"), "{ half of").unwrap();
        for contents in [OLD, NEW] {
            write_whole(&path, contents, PRIVATE).unwrap();
            assert_eq!(fs_err::read(&path).unwrap(), contents);
        }
        assert_eq!(fs_err::metadata(&path).unwrap().permissions().mode() & 0o777, PRIVATE);
        assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 1);
        let aside = set_aside(&path).unwrap();
        assert_eq!(aside, dir.path().join("bmc.json.damaged"));
        assert!(!path.exists());
    }
}
