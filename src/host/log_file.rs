//! A file that grows up to a limit, is then put aside, and begins anew.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fs_err::os::unix::fs::OpenOptionsExt;

use crate::host::dirs;
use crate::plan::LogFilePlan;

/// An open file of that kind.
#[derive(Debug)]
pub struct LogFile {
    plan: LogFilePlan,
    file: File,
    len: u64,
}

impl LogFile {
    /// Opens the file, or makes it, for this user alone: a console shows what is typed.
    ///
    /// # Errors
    /// The kernel's, with the path.
    pub fn open(plan: &LogFilePlan) -> io::Result<Self> {
        let (file, len) = open(&plan.path)?;
        Ok(Self { plan: plan.clone(), file, len })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.plan.path
    }

    /// Appends. What would go beyond the limit begins a new file.
    ///
    /// # Errors
    /// The kernel's; then nothing has been written.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if self.len > 0 && self.len.saturating_add(len) > self.plan.bytes {
            self.put_aside()?;
        }
        let before = self.file.metadata()?.len();
        if let Err(error) = self.file.write_all(bytes) {
            // A part may have found room.
            let _ = self.file.set_len(before);
            return Err(error);
        }
        self.len += len;
        Ok(())
    }

    fn put_aside(&mut self) -> io::Result<()> {
        let LogFilePlan { path, count, .. } = &self.plan;
        // First of all: each try that fails behind it would drop the oldest.
        let new = with_suffix(path, "new");
        dirs::remove(&new)?;
        let (file, len) = open(&new)?;
        for number in (1..=*count).rev() {
            let older = if number == 1 { path.clone() } else { numbered(path, number - 1) };
            match fs_err::rename(older, numbered(path, number)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result?,
            }
        }
        fs_err::rename(new, path)?;
        (self.file, self.len) = (file, len);
        Ok(())
    }
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    with_suffix(path, &number.to_string())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{suffix}"));
    name.into()
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file =
        fs_err::OpenOptions::new().append(true).create(true).mode(dirs::PRIVATE).open(path)?;
    let len = file.metadata()?.len();
    Ok((file.into_parts().0, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(limit: u64, count: u32) -> Vec<(String, String)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console");
        let plan = LogFilePlan { path, bytes: limit, count };
        for word in ["one ", "two ", "three ", "four ", "five "] {
            // Opened anew each time: what is there already counts.
            LogFile::open(&plan).unwrap().write(word.as_bytes()).unwrap();
        }
        let mut files: Vec<(String, String)> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let text = std::fs::read_to_string(entry.path()).unwrap();
                (entry.file_name().into_string().unwrap(), text)
            })
            .collect();
        files.sort();
        files
    }

    #[test]
    fn nothing_is_dropped_where_no_new_file_can_be_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console");
        let plan = LogFilePlan { path: path.clone(), bytes: 4, count: 2 };
        let mut file = LogFile::open(&plan).unwrap();
        for word in ["one ", "two ", "three "] {
            file.write(word.as_bytes()).unwrap();
        }
        // Cannot be removed, nor opened.
        std::fs::create_dir_all(dir.path().join("console.new/x")).unwrap();
        for _ in 0..3 {
            file.write(b"lost").unwrap_err();
        }
        let text = |number| std::fs::read_to_string(numbered(&path, number)).unwrap();
        assert_eq!((text(1), text(2)), ("two ".to_owned(), "one ".to_owned()));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three ");
    }

    #[test]
    fn the_oldest_is_dropped() {
        let named = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let all = files(1000, 2);
        assert_eq!(all, [named("console", "one two three four five ")]);
        let some = files(8, 2);
        let expected = [("console", "five "), ("console.1", "four "), ("console.2", "three ")]
            .map(|(a, b)| named(a, b));
        assert_eq!(some, expected);
        assert_eq!(files(8, 0), [named("console", "five ")]);
    }
}
