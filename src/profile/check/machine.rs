//! `[identity]`, `[machine]` and `[firmware]`.

use super::Check;
use crate::profile::document::{Accel, Firmware, FirmwareMode, Identity, Machine};
use crate::profile::sources::Key;

/// Longest text in bytes that both SMBIOS and an IPMI FRU field hold (Platform Management FRU
/// specification, section 13).
const IDENTITY_MAX: usize = 63;
const MAX_CPUS: u32 = 255;

impl Check<'_> {
    pub(super) fn identity(&mut self, identity: &Identity) {
        let Identity { uuid, manufacturer, product, serial, asset_tag, sku } = identity;
        if uuid.is_some_and(|uuid| uuid.is_nil()) {
            self.error(
                "identity.uuid",
                "the UUID is all zero, which tells a guest that it has none",
                "leave it out for one that is derived from the machine's name",
            );
        }
        let texts = [
            ("manufacturer", Some(manufacturer)),
            ("product", Some(product)),
            ("serial", serial.as_ref()),
            ("asset_tag", asset_tag.as_ref()),
            ("sku", sku.as_ref()),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                self.printable(&format!("identity.{name}"), text, IDENTITY_MAX);
            }
        }
    }

    /// The machine with its number of vCPUs.
    pub(super) fn machine(&mut self, machine: &Machine) -> Machine {
        let mut machine = machine.clone();
        if !is_q35(&machine.machine_type) {
            self.error(
                "machine.type",
                format!("`machine.type` cannot be `{}`", machine.machine_type),
                "`q35`, or one of its versions, such as `pc-q35-7.2`",
            );
        }
        if let Some(cpu) = &machine.cpu {
            let model = cpu.split(',').next().unwrap_or_default();
            if model.trim().is_empty() || cpu.contains(['\0', ' ']) {
                self.error(
                    "machine.cpu",
                    format!("`{}` is not a CPU model", cpu.escape_debug()),
                    "write a model and its features, without spaces: `Skylake-Server-v4,-hle`",
                );
            }
            if model == "host" && machine.accel == Accel::Tcg {
                self.error(
                    "machine.cpu",
                    "`machine.cpu` is `host`, which needs KVM, and `machine.accel` is `tcg`",
                    "leave `cpu` out, or set `accel` to `kvm`",
                );
            }
        }
        self.topology(&mut machine);
        self.range("machine.cpus", machine.cpus, 1, MAX_CPUS);
        machine
    }

    /// The number of vCPUs and what they are arranged in say the same.
    fn topology(&mut self, machine: &mut Machine) {
        let parts =
            [("sockets", machine.sockets), ("cores", machine.cores), ("threads", machine.threads)];
        let mut product = 1_u32;
        let mut named = Vec::new();
        for (name, count) in parts {
            let Some(count) = count else { continue };
            self.range(&format!("machine.{name}"), count, 1, MAX_CPUS);
            if count > MAX_CPUS {
                return;
            }
            product = product.saturating_mul(count);
            named.push(format!("`{name}` {count}"));
        }
        if named.is_empty() || product == 0 {
            return;
        }
        if self.sources.is_default(&Key::from("machine.cpus")) {
            if product <= MAX_CPUS {
                machine.cpus = product;
            } else if let Some((name, _)) = parts.iter().rfind(|(_, count)| count.is_some()) {
                let key = format!("machine.{name}");
                let message = format!("the topology ({}) makes {product} vCPUs", named.join(", "));
                self.error(&key, message, format!("at most {MAX_CPUS}"));
            }
            return;
        }
        let cpus = machine.cpus;
        let fits =
            if named.len() == parts.len() { cpus == product } else { cpus.is_multiple_of(product) };
        if !fits {
            let topology = named.join(", ");
            self.error(
                "machine.cpus",
                format!("`machine.cpus` is {cpus}, and the topology ({topology}) makes {product}"),
                format!("leave `cpus` out for {product}, or make them agree"),
            );
        }
    }

    pub(super) fn firmware(&mut self, firmware: &Firmware) {
        if let Some(path) = &firmware.vars_template {
            self.path("firmware.vars_template", path);
        }
        if firmware.mode != FirmwareMode::Bios {
            return;
        }
        if firmware.secure_boot {
            self.error(
                "firmware.secure_boot",
                "`firmware.secure_boot` is true, and `firmware.mode` is `bios`",
                "set `mode` to `uefi` (VM_BOOT_MODE), or leave `secure_boot` out",
            );
        }
        if firmware.vars_template.is_some() {
            self.error(
                "firmware.vars_template",
                "`firmware.vars_template` is set, and `firmware.mode` is `bios`",
                "set `mode` to `uefi` (VM_BOOT_MODE), or leave `vars_template` out",
            );
        }
    }
}

/// `q35` or `pc-q35-VERSION`.
fn is_q35(name: &str) -> bool {
    let is_version = |version: &str| {
        let numbers: Vec<&str> = version.split('.').collect();
        let is_number =
            |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        (2..=3).contains(&numbers.len()) && numbers.iter().all(is_number)
    };
    name == "q35" || name.strip_prefix("pc-q35-").is_some_and(is_version)
}
