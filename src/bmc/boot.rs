//! System boot options as IPMI sees them (v2.0 table 28-14), and what they mean for the machine.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::bmc::{Bmc, words};
use crate::machine::Origin;
use crate::machine::boot::{BootTarget, Lifetime, Override};
use crate::value::BootDevice;

/// Parameter version, first byte of every response of Get System Boot Options.
pub(super) const PARAMETER_VERSION: u8 = 0x01;
/// How long boot flags stay valid without a power command (parameter 3: 60 s ± 10 %).
const VALID_LIMIT: Duration = Duration::from_secs(60);

/// Bytes in a block of the boot initiator mailbox (parameter 7).
pub(super) const MAILBOX_BLOCK: usize = 16;
/// Blocks in the mailbox; five must be there.
const MAILBOX_BLOCKS: usize = 8;

const VALID: u8 = 0x80;
const PERSISTENT: u8 = 0x40;
/// BIOS boot type: UEFI.
pub(super) const EFI: u8 = 0x20;
/// Parameter 3: do not clear the valid bit when the time limit is over.
const KEEP_ON_TIMEOUT: u8 = 0x08;

/// The parameters that are kept; what says what to boot outlives a restart of the program.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct BootOptions {
    /// Parameter 0: the session that holds "set in progress".
    #[serde(skip)]
    pub(super) set_in_progress_by: Option<u32>,
    /// Parameters 1 and 2: which service partition, and whether it was scanned for.
    #[serde(skip)]
    pub(super) service_partition: [u8; 2],
    /// Parameter 3: on which events the valid bit is *not* cleared.
    keep_valid: u8,
    /// Parameter 4: who has handled the boot information.
    #[serde(skip)]
    pub(super) acknowledged: u8,
    /// Parameter 5: boot flags.
    flags: [u8; 5],
    /// Parameter 6: who has set the flags, as that one tells.
    #[serde(skip)]
    pub(super) initiator: [u8; 9],
    /// Parameter 7: what it leaves for the firmware, in blocks of 16 bytes.
    #[serde(skip)]
    pub(super) mailbox: [[u8; MAILBOX_BLOCK]; MAILBOX_BLOCKS],
    /// How often the flags were set.
    #[serde(skip)]
    set: u64,
    /// When the valid bit is cleared, if it was just set and no power command comes.
    #[serde(skip)]
    pub(super) countdown: Option<Instant>,
}

impl BootOptions {
    pub(super) fn set_flags(&mut self, now: Instant, flags: [u8; 5]) {
        self.flags = flags;
        self.set += 1;
        self.restart_countdown(now);
    }

    /// Sets the flags for somebody who waits for no power command: without a time limit.
    pub(super) fn choose(&mut self, target: Option<BootTarget>, lifetime: Lifetime, uefi: bool) {
        let device = match target {
            None | Some(BootTarget::Default) => 0x0,
            Some(BootTarget::Device(BootDevice::Network)) => 0x1,
            Some(BootTarget::Device(BootDevice::Disk)) => 0x2,
            Some(BootTarget::Device(BootDevice::Cdrom)) => 0x5,
            Some(BootTarget::Setup) => 0x6,
        };
        let persistent = if lifetime == Lifetime::Always { PERSISTENT } else { 0 };
        let efi = if uefi { EFI } else { 0 };
        let bits = if target.is_some() { VALID | persistent | efi } else { 0 };
        self.flags = [bits, device << 2, 0, 0, 0];
        self.set += 1;
        self.countdown = None;
    }

    /// Parameter 5.
    pub(super) fn flags(&self) -> [u8; 5] {
        self.flags
    }

    pub(super) fn set_keep_valid(&mut self, now: Instant, mask: u8) {
        self.keep_valid = mask & 0x1F;
        // FreeIPMI sets it after the flags: it is about those that are there, too.
        if self.countdown.is_none() || !self.is_limited() {
            self.restart_countdown(now);
        }
    }

    /// Parameter 3.
    pub(super) fn keep_valid(&self) -> u8 {
        self.keep_valid
    }

    /// A power command came, or the program has started: the time limit begins anew.
    pub(super) fn restart_countdown(&mut self, now: Instant) {
        self.countdown = self.is_limited().then(|| now + VALID_LIMIT);
    }

    /// A persistent choice is for all future boots; a time limit would make that a lie.
    fn is_limited(&self) -> bool {
        self.flags[0] & VALID != 0
            && self.flags[0] & PERSISTENT == 0
            && self.keep_valid & KEEP_ON_TIMEOUT == 0
    }

    /// What the flags mean for the next start.
    pub(super) fn to_override(&self) -> Option<Override> {
        let [bits, device, ..] = self.flags;
        if bits & VALID == 0 {
            return None;
        }
        let target = match device >> 2 & 0x0F {
            0x1 => BootTarget::Device(BootDevice::Network),
            0x2 | 0x3 | 0xB => BootTarget::Device(BootDevice::Disk),
            0x5 | 0x8 => BootTarget::Device(BootDevice::Cdrom),
            0x6 => BootTarget::Setup,
            // None, and what no machine of ours has.
            _ => BootTarget::Default,
        };
        let lifetime = if bits & PERSISTENT != 0 { Lifetime::Always } else { Lifetime::Once };
        Some(Override { number: self.set, target, lifetime })
    }

    /// Firmware has used `used`. Answers whether anything changed.
    pub(super) fn used(&mut self, used: Override) -> bool {
        let current = self.to_override() == Some(used);
        if current {
            self.flags = [0; 5];
            self.countdown = None;
        }
        current
    }

    /// The time limit is over.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let due = self.countdown.take_if(|countdown| *countdown <= now).is_some();
        if due {
            self.flags = [0; 5];
        }
        due
    }
}

impl Bmc {
    /// `ctl` sets what to boot, or with `None` takes an override away.
    pub fn handle_boot(
        &mut self,
        now: Instant,
        target: Option<BootTarget>,
        lifetime: Lifetime,
        uefi: bool,
    ) {
        let before = self.core.store.boot.to_override();
        self.core.store.boot.choose(target, lifetime, uefi);
        self.core.boot_changed();
        self.core.log_boot_set(now, before, &Origin::Ctl.to_string());
    }

    /// The boot override in words, such as `network, once`.
    #[must_use]
    pub fn boot_override(&self) -> Option<String> {
        self.core.store.boot.to_override().map(words::override_words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(options: &mut BootOptions, flags: [u8; 5]) -> (Option<(BootTarget, Lifetime)>, bool) {
        #[allow(clippy::disallowed_methods, reason = "any instant will do")]
        options.set_flags(Instant::now(), flags);
        let boot = options.to_override().map(|boot| (boot.target, boot.lifetime));
        (boot, options.countdown.is_some())
    }

    #[test]
    fn flags_of_clients() {
        let mut options = BootOptions::default();
        let pxe = BootTarget::Device(BootDevice::Network);
        let disk = BootTarget::Device(BootDevice::Disk);
        // ipmitool `chassis bootdev pxe`; Ironic, UEFI and persistent; ipmitool `bootdev none`.
        let once = set(&mut options, [0x80, 0x04, 0, 0, 0]);
        assert_eq!(once, (Some((pxe, Lifetime::Once)), true));
        let always = set(&mut options, [0xE0, 0x08, 0, 0, 0]);
        assert_eq!(always, (Some((disk, Lifetime::Always)), false));
        let none = set(&mut options, [0x80, 0x00, 0, 0, 0]);
        assert_eq!(none, (Some((BootTarget::Default, Lifetime::Once)), true));
        assert_eq!(set(&mut options, [0x00, 0x04, 0, 0, 0]), (None, false), "not valid");
        // Ironic turns the time limit off first.
        options.keep_valid = KEEP_ON_TIMEOUT;
        assert_eq!(set(&mut options, [0x80, 0x04, 0, 0, 0]), (Some((pxe, Lifetime::Once)), false));
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn the_time_limit_may_be_lifted_after_the_flags_and_begins_anew_with_a_power_command() {
        let mut options = BootOptions::default();
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        options.set_flags(start, [0x80, 0x04, 0, 0, 0]);
        options.restart_countdown(start + 50 * second);
        assert!(!options.expire(start + 109 * second));
        // Something else about the flags is no reason to begin anew.
        options.set_keep_valid(start + 90 * second, 0x01);
        assert_eq!(options.countdown, Some(start + 110 * second));
        options.set_keep_valid(start + 90 * second, 0x1F);
        assert_eq!(options.countdown, None);
        assert!(!options.expire(start + 999 * second));
        options.set_keep_valid(start, 0);
        assert!(options.expire(start + VALID_LIMIT));
        assert_eq!(options.flags(), [0; 5]);
    }

    #[test]
    fn flags_outlive_a_restart() {
        let mut options = BootOptions { keep_valid: 0x08, ..BootOptions::default() };
        set(&mut options, [0xE0, 0x08, 1, 2, 3]);
        let text = serde_json::to_string(&options).unwrap();
        let read: BootOptions = serde_json::from_str(&text).unwrap();
        assert_eq!((read.flags, read.keep_valid), ([0xE0, 0x08, 1, 2, 3], 0x08));
    }

    #[test]
    fn only_the_override_that_was_used_is_cleared() {
        let mut options = BootOptions::default();
        set(&mut options, [0x80, 0x04, 0, 0, 0]);
        let first = options.to_override().unwrap();
        set(&mut options, [0x80, 0x04, 0, 0, 0]);
        assert!(!options.used(first), "set anew since");
        assert_eq!(options.flags[0], 0x80);
        assert!(options.used(options.to_override().unwrap()));
        assert_eq!(options.flags, [0; 5]);
    }
}
