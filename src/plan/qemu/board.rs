//! Board, processors, firmware, display, TPM, random numbers.

use std::time::Duration;

use serde_json::json;

use super::{Nvram, QemuPlan, SWTPM_FD, Swtpm, TPM_FD, text_of};
use crate::plan::Identity;
use crate::plan::argv::Switch;
use crate::plan::facts::HostFacts;
use crate::profile::Profile;
use crate::profile::document::{FirmwareMode, Machine};
use crate::qmp::{Command, Key};

/// How long firmware waits for the key of its set-up, in milliseconds.
const SETUP_WAIT_MS: u32 = 5000;

impl QemuPlan {
    pub(super) fn machine(
        &mut self,
        profile: &Profile,
        facts: &HostFacts,
        identity: &Identity,
        kvm: bool,
    ) {
        self.list("-name", [("guest", identity.name.as_str())]);
        self.flag("-nodefaults");
        self.flag("-no-user-config");

        let mut machine = vec![
            ("", profile.machine.machine_type.as_str()),
            ("accel", if kvm { "kvm" } else { "tcg" }),
        ];
        // With graphics off, SeaBIOS talks on the serial port as well; a VGA card still works.
        machine.push(("graphics", "off"));
        machine.extend(self.uefi(profile, facts));
        self.list("-machine", machine);
        let cpu = if kvm { "host" } else { "max" };
        self.text("-cpu", profile.machine.cpu.as_deref().unwrap_or(cpu));
        self.smp(&profile.machine);
        self.list("-m", [("size", format!("{}M", profile.machine.memory.mib()))]);
        self.text("-uuid", identity.uuid.to_string());
        self.smbios(identity);
        self.list("-rtc", [("base", "utc")]);
        self.panic();
    }

    /// The guest's kernel can say that it has panicked, and the machine runs on, as metal does: the
    /// console shows why, and a kernel that reboots or dumps itself can do so.
    fn panic(&mut self) {
        self.json("-device", json!({ "driver": "pvpanic", "id": "pvpanic0" }));
        self.list("-action", [("panic", "none")]);
    }

    fn smp(&mut self, machine: &Machine) {
        let mut entries = vec![("", machine.cpus.to_string())];
        let parts =
            [("sockets", machine.sockets), ("cores", machine.cores), ("threads", machine.threads)];
        entries
            .extend(parts.into_iter().filter_map(|(name, count)| Some((name, count?.to_string()))));
        self.list("-smp", entries);
    }

    /// System (type 1) and chassis (type 3) of the SMBIOS specification, sections 7.2 and 7.4.
    fn smbios(&mut self, identity: &Identity) {
        let common =
            [("manufacturer", Some(&identity.manufacturer)), ("serial", Some(&identity.serial))];
        let system = [("product", Some(&identity.product)), ("sku", identity.sku.as_ref())];
        let chassis = [("asset", identity.asset_tag.as_ref())];
        for (kind, rest) in [("1", &system[..]), ("3", &chassis[..])] {
            let texts = common.iter().chain(rest);
            let texts = texts.filter_map(|(name, text)| Some((*name, text.as_ref()?.as_str())));
            self.list("-smbios", [("type", kind)].into_iter().chain(texts));
        }
    }

    /// The entries of `-machine` for UEFI.
    fn uefi(&mut self, profile: &Profile, facts: &HostFacts) -> Vec<(&'static str, &'static str)> {
        let secure = profile.firmware.secure_boot;
        let files = if secure { &facts.uefi_secure } else { &facts.uefi };
        let (FirmwareMode::Uefi, Some(files)) = (profile.firmware.mode, files) else {
            return Vec::new();
        };
        // Variables of the one are of no use to the other: a store without keys is not secure.
        let name = if secure { "uefi-vars-secure-boot.fd" } else { "uefi-vars.fd" };
        let path = profile.state_dir.join(name);
        self.json(
            "-blockdev",
            json!({
                "driver": "raw",
                "node-name": "firmware-code",
                "read-only": true,
                "file": { "driver": "file", "filename": files.code, "read-only": true },
            }),
        );
        self.json(
            "-blockdev",
            json!({
                "driver": "raw",
                "node-name": "firmware-vars",
                "file": { "driver": "file", "filename": path },
            }),
        );
        let template = profile.firmware.vars_template.as_ref().unwrap_or(&files.vars).clone();
        self.nvram = Some(Nvram { template, path });
        let mut entries = vec![("pflash0", "firmware-code"), ("pflash1", "firmware-vars")];
        if secure {
            // The guest must not write the variables but by System Management Mode (OVMF's README,
            // section "SMM support").
            entries.push(("smm", "on"));
            self.list(
                "-global",
                [("driver", "cfi.pflash01"), ("property", "secure"), ("value", "on")],
            );
        }
        entries
    }

    pub(super) fn display(&mut self) {
        match &self.vnc {
            Some(vnc) => {
                let mut entries = vec![("", format!(":{}", vnc.port - 5900))];
                if vnc.password_file.is_some() {
                    // Nobody can log in until the monitor has set one.
                    entries.push(("password", "on".into()));
                }
                self.json("-device", json!({ "driver": "VGA", "id": "vga0" }));
                self.list("-vnc", entries);
            }
            None => self.text("-display", "none"),
        }
    }

    pub(super) fn boot(&mut self, profile: &Profile) {
        let mut boot = vec![("strict", "off".to_owned())];
        if profile.boot.menu_timeout_ms > 0 {
            boot.push(("menu", "on".to_owned()));
            boot.push(("splash-time", profile.boot.menu_timeout_ms.to_string()));
        }
        self.list("-boot", boot);
        if let Some(kernel) = &profile.kernel {
            self.text("-kernel", text_of(&kernel.path));
            if let Some(initrd) = &kernel.initrd {
                self.text("-initrd", text_of(initrd));
            }
            if let Some(cmdline) = &kernel.cmdline {
                self.text("-append", cmdline);
            }
        }
    }

    /// The firmware waits for the key of [`Self::setup_key`].
    pub(super) fn offer_setup(&self, switches: &mut Vec<Switch>) {
        for switch in &mut *switches {
            if let Switch::List("-boot", entries) = switch {
                entries.retain(|(name, _)| *name == "strict");
                entries.push(("menu", "on".into()));
                entries.push(("splash-time", SETUP_WAIT_MS.to_string()));
            }
        }
        if self.nvram.is_none() {
            // Its usual key, Escape, also leaves the menu: to press it again would boot. The value is
            // the scan code of F10.
            for (name, string) in [
                ("etc/boot-menu-key", "\x44"),
                ("etc/boot-menu-message", "\nPress F10 for boot menu.\n\n"),
            ] {
                let entries = vec![("name", name.into()), ("string", string.into())];
                switches.insert(0, Switch::List("-fw_cfg", entries));
            }
        }
    }

    /// Presses the key for the firmware's set-up: SeaBIOS' boot menu, OVMF's front page.
    #[must_use]
    pub fn setup_key(&self) -> Command {
        let key = if self.nvram.is_some() { "f2" } else { "f10" };
        Command::SendKey { keys: [Key::Qcode(key)] }
    }

    /// How long after a start the key is pressed: as long as the firmware may take to look. A slow host
    /// that emulates takes 30 s for OVMF.
    #[must_use]
    pub fn setup_limit(&self) -> Duration {
        Duration::from_secs(if self.nvram.is_some() { 60 } else { 10 })
    }

    pub(super) fn tpm(&mut self, profile: &Profile, facts: &HostFacts) {
        let Some(tpm) = &profile.tpm else { return };
        let state_dir = profile.state_dir.join("tpm");
        // It is started in its directory, which as another user it may not find by a path.
        let argv = [
            "socket".to_owned(),
            "--tpm2".to_owned(),
            "--tpmstate".to_owned(),
            "dir=.".to_owned(),
            "--ctrl".to_owned(),
            format!("type=unixio,clientfd={SWTPM_FD}"),
            "--terminate".to_owned(),
        ];
        self.swtpm = Some(Swtpm {
            binary: facts.swtpm.clone().unwrap_or_else(|| tpm.binary.clone()),
            state_dir,
            argv: argv.into(),
        });
        self.list(
            "-chardev",
            [("", "socket".to_owned()), ("id", "tpm0-emulator".into()), ("fd", TPM_FD.to_string())],
        );
        self.list(
            "-tpmdev",
            [("", "emulator"), ("id", "tpm0-backend"), ("chardev", "tpm0-emulator")],
        );
        let device =
            json!({ "driver": tpm.model.driver(), "id": "tpm0", "tpmdev": "tpm0-backend" });
        self.json("-device", device);
    }

    pub(super) fn entropy(&mut self, profile: &Profile) {
        if !profile.rng {
            return;
        }
        self.json("-object", json!({ "qom-type": "rng-builtin", "id": "rng0-source" }));
        self.json(
            "-device",
            json!({ "driver": "virtio-rng-pci", "id": "rng0", "rng": "rng0-source" }),
        );
    }
}
