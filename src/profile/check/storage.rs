//! `[[disks]]` and `[[cdroms]]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Check;
use crate::profile::document::{Disk as DocumentDisk, DiskBus, Document, Overlay};
use crate::profile::sources::Key;
use crate::value::{ByteSize, ImageFormat, Sha256Sum};

/// Longest serial number that virtio-blk hands on (virtio specification v1.2, section 5.2.6).
const SERIAL_MAX: usize = 20;
/// Ports of the board's AHCI controller.
const SATA_PORTS: usize = 6;

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Its place in the profile's list.
    pub index: usize,
    /// Image or block device; with an overlay: its base.
    pub path: PathBuf,
    /// Format of the image, where the profile says it.
    pub format: Option<ImageFormat>,
    /// What it is plugged into.
    pub bus: DiskBus,
    /// Size to create a missing image at; size of the overlay.
    pub size: Option<ByteSize>,
    /// The image is the base of an overlay.
    pub overlay: Option<Overlay>,
    /// What the image must be.
    pub sha256: Option<Sha256Sum>,
    /// The guest cannot write.
    pub read_only: bool,
    /// Serial number, where the profile says it.
    pub serial: Option<String>,
    /// Somebody named it: its absence is an error. The default disk may be absent.
    pub asked_for: bool,
}

impl Disk {
    /// The guest's writes go to the image itself.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.overlay.is_none() && !self.read_only
    }
}

impl Check<'_> {
    pub(super) fn disks(&mut self, document: &Document) -> Vec<Disk> {
        let mut disks: Vec<Disk> = Vec::new();
        for (index, disk) in document.disks.iter().enumerate() {
            let section = format!("disks.{index}");
            let Some(path) = self.required(&section, disk.path.as_ref()) else { continue };
            self.disk(index, disk);
            let asked_for = !self.sources.is_default(&Key::from(format!("{section}.path")));
            let disk = Disk {
                index,
                path,
                format: disk.format,
                bus: disk.bus,
                size: disk.size,
                overlay: disk.overlay,
                sha256: disk.sha256,
                read_only: disk.read_only,
                serial: disk.serial.clone(),
                asked_for,
            };
            if let Some(other) = disks.iter().find(|other| other.path == disk.path)
                && (disk.is_written() || other.is_written())
            {
                self.error(
                    &format!("{section}.path"),
                    format!(
                        "disks[{}] and disks[{index}] are the same: {}",
                        other.index,
                        disk.path.display()
                    ),
                    "two drives on one image would destroy it; leave one out, or give each an \
                     `overlay`",
                );
            }
            disks.push(disk);
        }
        let mut serials = BTreeMap::new();
        for disk in &disks {
            let Some(serial) = &disk.serial else { continue };
            if let Some(first) = serials.insert(serial, disk.index) {
                self.error(
                    &format!("disks.{}.serial", disk.index),
                    format!(
                        "disks[{first}] and disks[{}] have the same serial number, {serial}",
                        disk.index
                    ),
                    "give each disk its own, or leave `serial` out",
                );
            }
        }
        disks
    }

    /// What can be wrong with one disk by itself.
    fn disk(&mut self, index: usize, disk: &DocumentDisk) {
        let key = |name: &str| format!("disks.{index}.{name}");
        let name = format!("disks[{index}]");
        if let Some(serial) = &disk.serial
            && (serial.is_empty()
                || serial.len() > SERIAL_MAX
                || !serial.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            self.error(
                &key("serial"),
                format!("`{}` cannot be a disk's serial number", serial.escape_debug()),
                format!("1 to {SERIAL_MAX} printable ASCII characters without a space"),
            );
        }
        if !disk.read_only {
            if disk.sha256.is_some() && disk.overlay.is_none() {
                self.error(
                    &key("sha256"),
                    format!("{name} has a `sha256`, and the guest writes to the image"),
                    "add `overlay = \"kept\"`, `overlay = \"throw-away\"` or `read_only = true`",
                );
            }
            return;
        }
        if disk.overlay.is_some() {
            self.error(
                &key("overlay"),
                format!("{name} has an `overlay`, and its `read_only` is true"),
                "nothing is written to it; leave one of them out",
            );
        }
        if disk.size.is_some() {
            self.error(
                &key("size"),
                format!("{name} has a `size` to create it at, and its `read_only` is true"),
                "an empty disk is of no use to who cannot write to it; leave one of them out",
            );
        }
        if disk.bus == DiskBus::Sata {
            self.error(
                &key("read_only"),
                format!(
                    "{name} has `read_only`, and its `bus` is `sata`, which knows no such disk"
                ),
                "use bus `virtio`, `scsi` or `nvme`, or an `overlay`",
            );
        }
    }

    pub(super) fn cdroms(&mut self, document: &Document) -> Vec<PathBuf> {
        let drives = document.cdroms.len();
        let disks = document.disks.iter().filter(|disk| disk.bus == DiskBus::Sata).count();
        if drives + disks > SATA_PORTS {
            let (key, message) = match (drives, disks) {
                (0, _) => ("disks", format!("{disks} SATA disks")),
                (_, 0) => ("cdroms", format!("{drives} CD-ROM drives")),
                _ => ("cdroms", format!("{drives} CD-ROM drives and {disks} SATA disks")),
            };
            self.error(key, message, format!("the SATA controller has {SATA_PORTS} ports"));
        }
        let mut cdroms = Vec::new();
        for (index, cdrom) in document.cdroms.iter().enumerate() {
            cdroms.extend(self.required(&format!("cdroms.{index}"), cdrom.path.as_ref()));
        }
        cdroms
    }
}
