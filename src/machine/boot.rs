//! What the machine boots from next.

use crate::value::BootDevice;

/// The device that an operator asked for (v2.0 table 28-14, boot device selector).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootTarget {
    /// One kind of boot device.
    Device(BootDevice),
    /// The firmware's set-up.
    Setup,
    /// What the profile says: no device was named, or one that the machine does not have.
    Default,
}

/// How long an override holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// For the next start of any kind, then it is gone.
    Once,
    /// Until it is changed.
    Always,
}

/// A boot override.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Override {
    /// Counts overrides, so that one that was set anew is not taken for the one before it.
    pub number: u64,
    /// What to boot.
    pub target: BootTarget,
    /// For how long.
    pub lifetime: Lifetime,
}

impl Override {
    /// What is left of it after a start.
    #[must_use]
    pub fn after_start(self) -> Option<Self> {
        match self.lifetime {
            Lifetime::Once => None,
            Lifetime::Always => Some(self),
        }
    }
}

/// All kinds of boot device, most wanted first.
///
/// Kinds that the profile does not name come last rather than not at all, as on metal: a machine
/// with an empty disk goes on to its CD-ROM and then to the network.
pub type BootOrder = [BootDevice; 3];

/// The order in which to boot: the override's device, then the profile's, then the rest.
#[must_use]
pub fn boot_order(profile: &[BootDevice], over: Option<Override>) -> BootOrder {
    let overriding = match over {
        Some(Override { target: BootTarget::Device(device), .. }) => Some(device),
        _ => None,
    };
    let mut order = [BootDevice::Disk, BootDevice::Cdrom, BootDevice::Network];
    let rank = |device: &BootDevice| {
        if overriding == Some(*device) {
            return 0;
        }
        profile.iter().position(|wanted| wanted == device).map_or(usize::MAX, |index| index + 1)
    };
    order.sort_by_key(rank);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn override_comes_first_then_profile_then_the_rest() {
        use BootDevice::{Cdrom, Disk, Network};
        let pxe =
            Override { number: 1, target: BootTarget::Device(Network), lifetime: Lifetime::Once };
        assert_eq!(boot_order(&[Disk], None), [Disk, Cdrom, Network]);
        assert_eq!(boot_order(&[Network, Disk], None), [Network, Disk, Cdrom]);
        assert_eq!(boot_order(&[Disk], Some(pxe)), [Network, Disk, Cdrom]);
        assert_eq!(boot_order(&[], None), [Disk, Cdrom, Network]);
        assert_eq!(pxe.after_start(), None);
        let always = Override { lifetime: Lifetime::Always, ..pxe };
        assert_eq!(always.after_start(), Some(always));
    }
}
