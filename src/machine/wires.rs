//! Which of the container's interfaces are there, and what has to be done for the VM's NICs.
//!
//! Links are known by their index: names are given to them later, and given to others again. What
//! counts is the link that has the wanted name now.

use std::collections::BTreeMap;

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
    /// Tell the guest whether it has a carrier.
    Carrier {
        /// Which NIC.
        nic: usize,
        /// It has.
        up: bool,
    },
}

/// One NIC.
#[derive(Clone, Debug)]
struct Nic {
    interface: String,
    /// The link that it is connected with.
    link: Option<Link>,
}

/// All NICs that are connected with interfaces, and all links.
#[derive(Clone, Debug, Default)]
pub struct Wires {
    nics: BTreeMap<usize, Nic>,
    links: BTreeMap<u32, Link>,
}

impl Wires {
    /// NICs by their number, with the interface each wants. No link is there yet.
    #[must_use]
    pub fn new(wanted: impl IntoIterator<Item = (usize, String)>) -> Self {
        let nics = wanted.into_iter();
        let nics = nics.map(|(nic, interface)| (nic, Nic { interface, link: None })).collect();
        Self { nics, links: BTreeMap::new() }
    }

    /// The link that a NIC is connected with.
    #[must_use]
    pub fn link(&self, nic: usize) -> Option<&Link> {
        self.nics.get(&nic)?.link.as_ref()
    }

    /// A link is new or has changed.
    pub fn handle_link(&mut self, link: Link, effects: &mut Vec<Effect>) {
        self.links.insert(link.index, link);
        self.settle(effects);
    }

    /// A link is gone from the namespace.
    pub fn handle_gone(&mut self, index: u32, effects: &mut Vec<Effect>) {
        self.links.remove(&index);
        self.settle(effects);
    }

    /// These are all links: events may have been lost.
    pub fn handle_all(&mut self, links: Vec<Link>, effects: &mut Vec<Effect>) {
        self.links = links.into_iter().map(|link| (link.index, link)).collect();
        self.settle(effects);
    }

    /// A NIC could not be connected with its link: it is tried again when that link changes.
    pub fn handle_failed(&mut self, nic: usize) {
        if let Some(nic) = self.nics.get_mut(&nic) {
            nic.link = None;
        }
    }

    fn settle(&mut self, effects: &mut Vec<Effect>) {
        for (number, nic) in &mut self.nics {
            let number = *number;
            let found = self.links.values().find(|link| link.name == nic.interface);
            let before = nic.link.take();
            match (&before, found) {
                (Some(old), Some(new)) if old.index == new.index => {
                    if old.mtu != new.mtu {
                        effects.push(Effect::Mtu { nic: number, mtu: new.mtu });
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
            nic.link = found.cloned();
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
        let seen = |wires: &mut Wires, link: Link| after(wires, |w, e| w.handle_link(link, e));
        assert_eq!(seen(&mut wires, link(7, "clab-1a2b", false)), []);
        let named = link(7, "eth2", false);
        let wire = Effect::Wire { nic: 0, link: named.clone() };
        assert_eq!(seen(&mut wires, named.clone()), [wire]);
        assert_eq!(seen(&mut wires, named), [], "once");
        let up = seen(&mut wires, link(7, "eth2", true));
        assert_eq!(up, [Effect::Carrier { nic: 0, up: true }]);
        let mtu = seen(&mut wires, Link { mtu: 1500, ..link(7, "eth2", true) });
        assert_eq!(mtu, [Effect::Mtu { nic: 0, mtu: 1500 }]);
        let down = seen(&mut wires, Link { mtu: 1500, ..link(7, "eth2", false) });
        assert_eq!(down, [Effect::Carrier { nic: 0, up: false }]);
    }

    #[test]
    fn a_link_is_made_anew_with_another_index() {
        let mut wires = wires();
        after(&mut wires, |w, e| w.handle_link(link(7, "eth2", true), e));
        let gone = after(&mut wires, |w, e| w.handle_gone(7, e));
        let unwire = Effect::Unwire { nic: 0, index: None };
        assert_eq!(gone, [Effect::Carrier { nic: 0, up: false }, unwire.clone()]);
        let again = after(&mut wires, |w, e| w.handle_link(link(9, "eth2", true), e));
        let wire = Effect::Wire { nic: 0, link: link(9, "eth2", true) };
        assert_eq!(again, [wire.clone(), Effect::Carrier { nic: 0, up: true }]);
        // The same, when the events between were lost: the guest need not see it.
        let mut wires = self::wires();
        after(&mut wires, |w, e| w.handle_link(link(7, "eth2", true), e));
        let all = after(&mut wires, |w, e| w.handle_all(vec![link(9, "eth2", true)], e));
        assert_eq!(all, [unwire, wire]);
    }

    #[test]
    fn a_link_that_is_renamed_away_is_let_go() {
        let mut wires = wires();
        after(&mut wires, |w, e| w.handle_link(link(7, "eth4", true), e));
        let renamed = after(&mut wires, |w, e| w.handle_link(link(7, "parked", true), e));
        let carrier = Effect::Carrier { nic: 1, up: false };
        assert_eq!(renamed, [carrier, Effect::Unwire { nic: 1, index: Some(7) }]);
    }

    #[test]
    fn what_failed_is_tried_again() {
        let mut wires = wires();
        after(&mut wires, |w, e| w.handle_link(link(7, "eth2", false), e));
        wires.handle_failed(0);
        let again = after(&mut wires, |w, e| w.handle_link(link(7, "eth2", false), e));
        assert_eq!(again, [Effect::Wire { nic: 0, link: link(7, "eth2", false) }]);
    }
}
