//! Disks and CD-ROM drives.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Base, CreateDisk, QemuPlan};
use crate::plan::facts::{FileFact, HostFacts};
use crate::profile::Profile;
use crate::profile::check::Disk;
use crate::profile::document::{DiskBus, Overlay};
use crate::value::{BootDevice, ImageFormat};

/// Where the overlay of the disk at this place in the list is.
#[must_use]
pub fn overlay_path(state_dir: &Path, index: usize) -> PathBuf {
    state_dir.join(format!("disk{index}-overlay.qcow2"))
}

/// QEMU's driver for an image that is there, by what it is: file or block device.
fn protocol(fact: &FileFact) -> &'static str {
    if *fact == FileFact::BlockDevice { "host_device" } else { "file" }
}

/// What an image is without its format: raw bytes.
///
/// Every file says whether it is read only, whatever its format says: that decides how a handed
/// file is opened.
fn file(protocol: &str, path: &Path, read_only: bool) -> Value {
    if read_only {
        json!({ "driver": protocol, "filename": path, "read-only": true })
    } else {
        json!({ "driver": protocol, "filename": path, "discard": "unmap" })
    }
}

impl QemuPlan {
    pub(super) fn disks(&mut self, profile: &Profile, facts: &HostFacts) {
        let mut ports = profile.cdroms.len()..;
        let mut units = 0..;
        for disk in &profile.disks {
            let Some(image) = self.image(profile, facts, disk) else { continue };
            let id = format!("disk{}", disk.index);
            let mut device =
                json!({ "driver": Value::Null, "id": id, "drive": image["node-name"] });
            self.json("-blockdev", image);
            let serial = disk.serial.clone();
            device["serial"] =
                serial.unwrap_or_else(|| profile.name.disk_serial(disk.index)).into();
            match disk.bus {
                DiskBus::Virtio => device["driver"] = "virtio-blk-pci".into(),
                DiskBus::Nvme => device["driver"] = "nvme".into(),
                DiskBus::Sata => {
                    device["driver"] = "ide-hd".into();
                    device["bus"] = format!("ide.{}", ports.next().unwrap_or_default()).into();
                }
                DiskBus::Scsi => {
                    let unit: u32 = units.next().unwrap_or_default();
                    if unit == 0 {
                        let controller = json!({ "driver": "virtio-scsi-pci", "id": "scsi0" });
                        self.json("-device", controller);
                    }
                    device["driver"] = "scsi-hd".into();
                    device["bus"] = "scsi0.0".into();
                    device["scsi-id"] = unit.into();
                }
            }
            self.json("-device", device);
            self.bootable.push((BootDevice::Disk, id));
        }
    }

    /// The block device of a disk's image, or `None` for a disk that need not be there.
    fn image(&mut self, profile: &Profile, facts: &HostFacts, disk: &Disk) -> Option<Value> {
        let fact = &facts.file(&disk.path);
        let name = format!("disk{}-image", disk.index);
        let found = match fact {
            FileFact::File(found) => Some(*found),
            FileFact::BlockDevice => Some(ImageFormat::Raw),
            FileFact::Missing
            | FileFact::Directory
            | FileFact::Special
            | FileFact::Unreadable(_) => None,
        };
        let bytes = disk.size.map(|size| size.bytes());
        let Some(overlay) = disk.overlay else {
            // Without a size this is a disk that need not be there.
            if found.is_none() && bytes.is_none() {
                return None;
            }
            let format = disk.format.or(found).unwrap_or(ImageFormat::Qcow2);
            // Also for an image that is there: the first start makes it, and the plan of the second
            // one has to be the same.
            if bytes.is_some() && *fact != FileFact::BlockDevice {
                let path = disk.path.clone();
                self.create_disks.push(CreateDisk { path, format, bytes, base: None, anew: false });
            }
            let mut image = json!({
                "driver": format.driver(),
                "node-name": name,
                "file": file(protocol(fact), &disk.path, disk.read_only),
            });
            if disk.read_only {
                image["read-only"] = true.into();
            } else {
                image["discard"] = "unmap".into();
            }
            return Some(image);
        };
        let format = disk.format.or(found).unwrap_or(ImageFormat::Raw);
        let path = overlay_path(&profile.state_dir, disk.index);
        let image = json!({
            "driver": ImageFormat::Qcow2.driver(),
            "node-name": name,
            "discard": "unmap",
            "file": file("file", &path, false),
            // Named here, and not left to what the overlay's own header says.
            "backing": {
                "driver": format.driver(),
                "node-name": format!("disk{}-base", disk.index),
                "read-only": true,
                "file": file(protocol(fact), &disk.path, true),
            },
        });
        self.create_disks.push(CreateDisk {
            path,
            format: ImageFormat::Qcow2,
            bytes,
            // qemu-img reads a relative one from the overlay's directory on.
            base: Some(Base { path: facts.working_dir.join(&disk.path), format }),
            anew: overlay == Overlay::ThrowAway,
        });
        Some(image)
    }

    pub(super) fn cdroms(&mut self, profile: &Profile) {
        for (index, path) in profile.cdroms.iter().enumerate() {
            let (id, image) = (format!("cdrom{index}"), format!("cdrom{index}-image"));
            self.json(
                "-blockdev",
                json!({
                    "driver": "raw",
                    "node-name": image,
                    "read-only": true,
                    "file": file("file", path, true),
                }),
            );
            let bus = format!("ide.{index}");
            let device = json!({ "driver": "ide-cd", "id": id, "bus": bus, "drive": image });
            self.json("-device", device);
            self.bootable.push((BootDevice::Cdrom, id));
        }
    }
}
