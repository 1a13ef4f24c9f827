//! Which of the container's interfaces are there, and what has to be done for the VM's NICs.
//!
//! Links are known by their index: names are given to them later, and given to others again. What
//! counts is the link that has the wanted name now.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A network link as the kernel tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Index in its namespace, as long as it exists.
    pub index: u32,
    /// Present name.
    pub name: String,
    /// MAC address.
    pub mac: [u8; 6],
    /// MTU in bytes.
    pub mtu: u32,
    /// Somebody has switched it on.
    pub is_up: bool,
    /// Its other side is there.
    pub has_carrier: bool,
}

/// What has to be done. NICs are numbered as in the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Connect the NIC with this link.
    Wire {
        /// Which NIC.
        nic: usize,
        /// The link.
        link: Link,
    },
    /// The NIC's link is gone, or has another name. With an index, it is still there, to be let go.
    Unwire {
        /// Which NIC.
        nic: usize,
        /// The link, if it exists.
        index: Option<u32>,
    },
    /// The link's MTU has changed.
    Mtu {
        /// Which NIC.
        nic: usize,
        /// MTU in bytes.
        mtu: u32,
    },
    /// The link's MAC address has changed.
    Mac {
        /// Which NIC.
        nic: usize,
        /// MAC address.
        mac: [u8; 6],
    },
    /// Make a NIC of the spare with this number, for this interface; it is connected next.
    Plug {
        /// Which NIC.
        nic: usize,
        /// The link.
        link: Link,
    },
    /// The interface of a NIC that was plugged in stays away: unplug it.
    Unplug {
        /// Which NIC.
        nic: usize,
    },
    /// Tell the guest whether it has a carrier.
    Carrier {
        /// Which NIC.
        nic: usize,
        /// It has.
        up: bool,
    },
}

/// How long an interface may be away before its NIC is unplugged: containerlab makes links anew.
const AWAY_LIMIT: Duration = Duration::from_secs(30);

/// One NIC.
#[derive(Clone, Debug)]
struct Nic {
    /// `None`: a spare that nobody has taken.
    interface: Option<String>,
    /// It can be plugged in and unplugged.
    is_spare: bool,
    /// When it is unplugged, unless its interface comes back.
    unplug_at: Option<Instant>,
    /// The link that it is connected with.
    link: Option<Link>,
}

/// All NICs that are connected with interfaces, and all links.
#[derive(Clone, Debug)]
pub struct Wires {
    nics: BTreeMap<usize, Nic>,
    links: BTreeMap<u32, Link>,
    is_automatic: fn(&str) -> bool,
}

impl Wires {
    /// NICs by their number, with the interface each wants. No link is there yet.
    #[must_use]
    pub fn new(wanted: impl IntoIterator<Item = (usize, String)>) -> Self {
        let nics = wanted.into_iter().map(|(nic, interface)| {
            let interface = Some(interface);
            (nic, Nic { interface, is_spare: false, unplug_at: None, link: None })
        });
        Self { nics: nics.collect(), links: BTreeMap::new(), is_automatic: |_| false }
    }

    /// Has these NICs for interfaces that come unannounced, if their names are of this kind.
    #[must_use]
    pub fn with_spares(
        mut self,
        numbers: impl IntoIterator<Item = usize>,
        is_automatic: fn(&str) -> bool,
    ) -> Self {
        let spare = Nic { interface: None, is_spare: true, unplug_at: None, link: None };
        self.nics.extend(numbers.into_iter().map(|number| (number, spare.clone())));
        self.is_automatic = is_automatic;
        self
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.nics.values().filter_map(|nic| nic.unplug_at).min()
    }

    /// The time that [`Self::poll_timeout`] named has come.
    pub fn handle_timeout(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for (number, nic) in &mut self.nics {
            if nic.unplug_at.take_if(|at| *at <= now).is_some() {
                nic.interface = None;
                effects.push(Effect::Unplug { nic: *number });
            }
        }
        // Somebody may have waited for the place.
        self.settle(now, effects);
    }

    /// The link that a NIC is connected with.
    #[must_use]
    pub fn link(&self, nic: usize) -> Option<&Link> {
        self.nics.get(&nic)?.link.as_ref()
    }

    /// A link is new or has changed.
    pub fn handle_link(&mut self, now: Instant, link: Link, effects: &mut Vec<Effect>) {
        self.links.insert(link.index, link);
        self.settle(now, effects);
    }

    /// A link is gone from the namespace.
    pub fn handle_gone(&mut self, now: Instant, index: u32, effects: &mut Vec<Effect>) {
        self.links.remove(&index);
        self.settle(now, effects);
    }

    /// These are all links: events may have been lost.
    pub fn handle_all(&mut self, now: Instant, links: Vec<Link>, effects: &mut Vec<Effect>) {
        self.links = links.into_iter().map(|link| (link.index, link)).collect();
        self.settle(now, effects);
    }

    /// A NIC could not be connected with its link: it is tried again when that link changes.
    pub fn handle_failed(&mut self, nic: usize) {
        if let Some(nic) = self.nics.get_mut(&nic) {
            nic.link = None;
        }
    }

    fn settle(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.plug(effects);
        for (number, nic) in &mut self.nics {
            let number = *number;
            let wanted = |link: &&Link| Some(&link.name) == nic.interface.as_ref();
            let found = self.links.values().find(wanted);
            let before = nic.link.take();
            match (&before, found) {
                (Some(old), Some(new)) if old.index == new.index => {
                    if old.mtu != new.mtu {
                        effects.push(Effect::Mtu { nic: number, mtu: new.mtu });
                    }
                    if old.mac != new.mac {
                        effects.push(Effect::Mac { nic: number, mac: new.mac });
                    }
                    if old.has_carrier != new.has_carrier {
                        effects.push(Effect::Carrier { nic: number, up: new.has_carrier });
                    }
                }
                (_, found) => {
                    if let Some(old) = &before {
                        if old.has_carrier && found.is_none_or(|new| !new.has_carrier) {
                            effects.push(Effect::Carrier { nic: number, up: false });
                        }
                        let index = self.links.contains_key(&old.index).then_some(old.index);
                        effects.push(Effect::Unwire { nic: number, index });
                    }
                    if let Some(new) = found {
                        effects.push(Effect::Wire { nic: number, link: new.clone() });
                        if new.has_carrier && before.is_none_or(|old| !old.has_carrier) {
                            effects.push(Effect::Carrier { nic: number, up: true });
                        }
                    }
                }
            }
            nic.unplug_at = match found {
                None if nic.is_spare && nic.interface.is_some() => {
                    nic.unplug_at.or(Some(now + AWAY_LIMIT))
                }
                _ => None,
            };
            nic.link = found.cloned();
        }
    }

    /// Gives each link that nobody has announced a spare NIC, as long as there are some.
    fn plug(&mut self, effects: &mut Vec<Effect>) {
        for link in self.links.values() {
            let wants = |nic: &Nic| nic.interface.as_ref() == Some(&link.name);
            if !(self.is_automatic)(&link.name) || self.nics.values().any(wants) {
                continue;
            }
            let free = self.nics.iter_mut().find(|(_, nic)| nic.interface.is_none());
            let Some((number, nic)) = free else { return };
            nic.interface = Some(link.name.clone());
            effects.push(Effect::Plug { nic: *number, link: link.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, has_carrier: bool) -> Link {
        Link {
            index,
            name: name.into(),
            mtu: 9500,
            is_up: has_carrier,
            has_carrier,
            ..Link::default()
        }
    }

    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn now() -> Instant {
        Instant::now()
    }

    fn wires() -> Wires {
        Wires::new([(0, "eth2".to_owned()), (1, "eth4".to_owned())])
    }

    fn after(wires: &mut Wires, handle: impl FnOnce(&mut Wires, &mut Vec<Effect>)) -> Vec<Effect> {
        let mut effects = Vec::new();
        handle(wires, &mut effects);
        effects
    }

    #[test]
    fn a_link_comes_under_another_name_and_gets_its_carrier_late() {
        let mut wires = wires();
        let seen =
            |wires: &mut Wires, link: Link| after(wires, |w, e| w.handle_link(now(), link, e));
        assert_eq!(seen(&mut wires, link(7, "clab-1a2b", false)), []);
        let named = link(7, "eth2", false);
        let wire = Effect::Wire { nic: 0, link: named.clone() };
        assert_eq!(seen(&mut wires, named.clone()), [wire]);
        assert_eq!(seen(&mut wires, named), [], "once");
        let up = seen(&mut wires, link(7, "eth2", true));
        assert_eq!(up, [Effect::Carrier { nic: 0, up: true }]);
        let mtu = seen(&mut wires, Link { mtu: 1500, ..link(7, "eth2", true) });
        assert_eq!(mtu, [Effect::Mtu { nic: 0, mtu: 1500 }]);
        let named = Link { mtu: 1500, mac: [2, 0, 0, 0, 0, 7], ..link(7, "eth2", true) };
        let mac = seen(&mut wires, named.clone());
        assert_eq!(mac, [Effect::Mac { nic: 0, mac: named.mac }]);
        let down = seen(&mut wires, Link { mac: named.mac, mtu: 1500, ..link(7, "eth2", false) });
        assert_eq!(down, [Effect::Carrier { nic: 0, up: false }]);
    }

    #[test]
    fn a_link_is_made_anew_with_another_index() {
        let mut wires = wires();
        after(&mut wires, |w, e| w.handle_link(now(), link(7, "eth2", true), e));
        let gone = after(&mut wires, |w, e| w.handle_gone(now(), 7, e));
        let unwire = Effect::Unwire { nic: 0, index: None };
        assert_eq!(gone, [Effect::Carrier { nic: 0, up: false }, unwire.clone()]);
        let again = after(&mut wires, |w, e| w.handle_link(now(), link(9, "eth2", true), e));
        let wire = Effect::Wire { nic: 0, link: link(9, "eth2", true) };
        assert_eq!(again, [wire.clone(), Effect::Carrier { nic: 0, up: true }]);
        // The same, when the events between were lost: the guest need not see it.
        let mut wires = self::wires();
        after(&mut wires, |w, e| w.handle_link(now(), link(7, "eth2", true), e));
        let all = after(&mut wires, |w, e| w.handle_all(now(), vec![link(9, "eth2", true)], e));
        assert_eq!(all, [unwire, wire]);
    }

    #[test]
    fn a_link_that_is_renamed_away_is_let_go() {
        let mut wires = wires();
        after(&mut wires, |w, e| w.handle_link(now(), link(7, "eth4", true), e));
        let renamed = after(&mut wires, |w, e| w.handle_link(now(), link(7, "parked", true), e));
        let carrier = Effect::Carrier { nic: 1, up: false };
        assert_eq!(renamed, [carrier, Effect::Unwire { nic: 1, index: Some(7) }]);
    }

    #[test]
    fn what_failed_is_tried_again() {
        let mut wires = wires();
        after(&mut wires, |w, e| w.handle_link(now(), link(7, "eth2", false), e));
        wires.handle_failed(0);
        let again = after(&mut wires, |w, e| w.handle_link(now(), link(7, "eth2", false), e));
        assert_eq!(again, [Effect::Wire { nic: 0, link: link(7, "eth2", false) }]);
    }

    #[test]
    fn an_interface_that_nobody_announced_gets_a_spare_and_gives_it_back() {
        let mut wires = wires().with_spares([5], |name| name.starts_with("eth"));
        let start = now();
        let mut effects = Vec::new();
        wires.handle_link(start, link(7, "eth9", true), &mut effects);
        let new = link(7, "eth9", true);
        let plug = Effect::Plug { nic: 5, link: new.clone() };
        let wire = Effect::Wire { nic: 5, link: new };
        assert_eq!(effects, [plug, wire, Effect::Carrier { nic: 5, up: true }]);
        // No more spares, and no interface of that kind.
        effects.clear();
        wires.handle_link(start, link(8, "eth10", true), &mut effects);
        wires.handle_link(start, link(9, "wlan0", true), &mut effects);
        assert_eq!(effects, []);
        // It is made anew in time.
        wires.handle_gone(start, 7, &mut effects);
        let at = wires.poll_timeout().unwrap();
        wires.handle_link(start, link(11, "eth9", true), &mut effects);
        assert_eq!(wires.poll_timeout(), None);
        assert!(!effects.iter().any(|effect| matches!(effect, Effect::Plug { .. })));
        // It stays away, and another one has waited.
        wires.handle_gone(start, 11, &mut effects);
        effects.clear();
        wires.handle_timeout(at, &mut effects);
        assert_eq!(effects[0], Effect::Unplug { nic: 5 });
        assert!(matches!(&effects[1], Effect::Plug { nic: 5, link } if link.name == "eth10"));
    }
}
