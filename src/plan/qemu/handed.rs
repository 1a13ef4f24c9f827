//! Files that QEMU is handed: opened by the program, which may, for a QEMU that runs as another user.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::FIRST_FILE_FD;

/// A file that QEMU is handed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HandedFile {
    /// Descriptor at which QEMU finds it.
    pub fd: i32,
    /// The file.
    pub path: PathBuf,
    /// It is opened for writing, too.
    pub writable: bool,
    /// QEMU opens it anew by its path below `/proc/self/fd`, so its mode has to allow that.
    pub reopened: bool,
}

fn hand(path: &str, writable: bool, reopened: bool, files: &mut Vec<HandedFile>) -> i32 {
    let fd = i32::try_from(files.len()).map_or(i32::MAX, |count| FIRST_FILE_FD + count);
    files.push(HandedFile { fd, path: path.into(), writable, reopened });
    fd
}

/// The files of a block device and of what is below it. QEMU takes them from descriptor sets
/// (`-add-fd`), whose numbers go into `sets`.
pub(super) fn block_device(
    node: &mut Map<String, Value>,
    files: &mut Vec<HandedFile>,
    sets: &mut Vec<i32>,
) {
    let read_only = node.get("read-only").and_then(Value::as_bool).unwrap_or_default();
    if let Some(Value::String(path)) = node.get_mut("filename") {
        let fd = hand(path, !read_only, false, files);
        *path = format!("/dev/fdset/{fd}");
        sets.push(fd);
    }
    for child in node.values_mut() {
        if let Value::Object(child) = child {
            block_device(child, files, sets);
        }
    }
}

/// A file that QEMU reads once, by a path.
pub(super) fn path(path: &mut String, files: &mut Vec<HandedFile>) {
    let fd = hand(path, false, true, files);
    *path = format!("/proc/self/fd/{fd}");
}

/// The boot ROM of a NIC, where the profile names one.
pub(super) fn boot_rom(device: &mut Map<String, Value>, files: &mut Vec<HandedFile>) {
    if let Some(Value::String(file)) = device.get_mut("romfile")
        && !file.is_empty()
    {
        path(file, files);
    }
}
