//! Files that QEMU is handed: opened by the program, which may, for a QEMU that runs as another user.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{FIRST_FILE_FD, VHOST_NET};

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

/// What the kernel moves a NIC's packets through, once for each queue.
pub(super) fn vhost_net(netdev: &mut Map<String, Value>, files: &mut Vec<HandedFile>) {
    if netdev.get("vhost").and_then(Value::as_bool) != Some(true) {
        return;
    }
    let queues = netdev.get("fds").and_then(Value::as_str).unwrap_or_default().split(':').count();
    let fds = (0..queues).map(|_| hand(VHOST_NET, true, false, files).to_string());
    let fds: Vec<String> = fds.collect();
    netdev.insert("vhostfds".into(), fds.join(":").into());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_nic_of_the_kernels_gets_a_descriptor_for_each_queue() {
        let mut files = Vec::new();
        hand("/boot/vmlinuz", false, true, &mut files);
        let mut netdev = json!({ "type": "tap", "id": "nic0", "fds": "256:257", "vhost": true });
        let mut plain = json!({ "type": "tap", "id": "nic1", "fds": "258" });
        for netdev in [&mut netdev, &mut plain] {
            vhost_net(netdev.as_object_mut().unwrap(), &mut files);
        }
        let first = FIRST_FILE_FD + 1;
        assert_eq!(netdev["vhostfds"], format!("{first}:{}", first + 1));
        assert_eq!(plain.get("vhostfds"), None);
        assert!(files[1..].iter().all(|file| file.path == *VHOST_NET && file.writable));
        assert_eq!(files.iter().map(|file| file.fd).collect::<Vec<_>>()[1..], [first, first + 1]);
    }
}
