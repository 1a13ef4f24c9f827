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
/// When what could not be connected is tried again, if its link does not change before.
const AGAIN: Duration = Duration::from_secs(5);

/// How it is with a NIC and its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There is none.
    Apart,
    /// They are being connected.
    Wiring,
    /// They are connected.
    Connected,
    /// They could not be connected.
    Failed {
        /// When it is tried again.
        again_at: Instant,
    },
}

/// One NIC.
#[derive(Clone, Debug)]
struct Nic {
    /// `None`: a spare that nobody has taken.
    interface: Option<String>,
    /// It can be plugged in and unplugged.
    is_spare: bool,
    /// It was unplugged, and the guest has not let go of it.
    is_leaving: bool,
    /// When it is unplugged, unless its interface comes back.
    unplug_at: Option<Instant>,
    /// The link that it belongs to.
    link: Option<Link>,
    state: State,
    /// The guest was told that it has a carrier.
    has_carrier: bool,
}

impl Nic {
    fn new(interface: Option<String>) -> Self {
        Self {
            is_spare: interface.is_none(),
            interface,
            is_leaving: false,
            unplug_at: None,
            link: None,
            state: State::Apart,
            has_carrier: false,
        }
    }

    /// Lets go of a link that is not this NIC's any more. `next`: the one that is.
    fn part(
        &mut self,
        number: usize,
        links: &BTreeMap<u32, Link>,
        next: Option<&Link>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(old) = self.link.take() else { return };
        // One that is made anew at once is nothing that the guest need see.
        if self.has_carrier && next.is_none_or(|next| !next.has_carrier) {
            self.has_carrier = false;
            effects.push(Effect::Carrier { nic: number, up: false });
        }
        if !matches!(self.state, State::Failed { .. }) {
            let index = links.contains_key(&old.index).then_some(old.index);
            effects.push(Effect::Unwire { nic: number, index });
        }
        self.state = State::Apart;
    }

    /// Takes up with a link, or follows it.
    fn meet(&mut self, number: usize, new: &Link, effects: &mut Vec<Effect>) {
        let old = self.link.replace(new.clone());
        match (self.state, old) {
            (State::Connected | State::Wiring, Some(old)) => {
                if old.mtu != new.mtu {
                    effects.push(Effect::Mtu { nic: number, mtu: new.mtu });
                }
                if old.mac != new.mac {
                    effects.push(Effect::Mac { nic: number, mac: new.mac });
                }
            }
            // What we did to it ourselves is no reason to try again.
            (State::Failed { .. }, Some(old))
                if Link { has_carrier: new.has_carrier, ..old.clone() } == *new => {}
            _ => {
                self.state = State::Wiring;
                effects.push(Effect::Wire { nic: number, link: new.clone() });
            }
        }
    }

    /// Tells the guest of its carrier, if that has changed.
    fn tell_carrier(&mut self, number: usize, effects: &mut Vec<Effect>) {
        let up = match self.state {
            State::Connected => self.link.as_ref().is_some_and(|link| link.has_carrier),
            State::Wiring => return,
            State::Apart | State::Failed { .. } => false,
        };
        if std::mem::replace(&mut self.has_carrier, up) != up {
            effects.push(Effect::Carrier { nic: number, up });
        }
    }
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
        let nics = wanted.into_iter().map(|(nic, interface)| (nic, Nic::new(Some(interface))));
        Self { nics: nics.collect(), links: BTreeMap::new(), is_automatic: |_| false }
    }

    /// Has these NICs for interfaces that come unannounced, if their names are of this kind.
    #[must_use]
    pub fn with_spares(
        mut self,
        numbers: impl IntoIterator<Item = usize>,
        is_automatic: fn(&str) -> bool,
    ) -> Self {
        self.nics.extend(numbers.into_iter().map(|number| (number, Nic::new(None))));
        self.is_automatic = is_automatic;
        self
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let again = |nic: &Nic| match nic.state {
            State::Failed { again_at } => Some(again_at),
            _ => None,
        };
        self.nics.values().flat_map(|nic| [nic.unplug_at, again(nic)]).flatten().min()
    }

    /// The time that [`Self::poll_timeout`] named has come.
    pub fn handle_timeout(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for (number, nic) in &mut self.nics {
            if nic.unplug_at.take_if(|at| *at <= now).is_some() {
                nic.interface = None;
                nic.is_leaving = true;
                effects.push(Effect::Unplug { nic: *number });
            }
            if matches!(nic.state, State::Failed { again_at } if again_at <= now) {
                nic.state = State::Apart;
                nic.link = None;
            }
        }
        self.settle(now, effects);
    }

    /// The guest has let go of a NIC that was unplugged: somebody may have waited for the place.
    pub fn handle_unplugged(&mut self, now: Instant, nic: usize, effects: &mut Vec<Effect>) {
        if let Some(nic) = self.nics.get_mut(&nic) {
            nic.is_leaving = false;
        }
        self.settle(now, effects);
    }

    /// The link that a NIC is connected with.
    #[must_use]
    pub fn link(&self, nic: usize) -> Option<&Link> {
        let nic = self.nics.get(&nic)?;
        nic.link.as_ref().filter(|_| nic.state == State::Connected)
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

    /// A NIC was connected with this link.
    pub fn handle_wired(&mut self, number: usize, index: u32, effects: &mut Vec<Effect>) {
        let Some(nic) = self.nics.get_mut(&number) else { return };
        if nic.state == State::Wiring && nic.link.as_ref().is_some_and(|link| link.index == index) {
            nic.state = State::Connected;
            nic.tell_carrier(number, effects);
        }
    }

    /// A NIC could not be connected with this link: it is tried again when that link changes, or after
    /// some time.
    pub fn handle_failed(
        &mut self,
        now: Instant,
        number: usize,
        index: u32,
        effects: &mut Vec<Effect>,
    ) {
        let Some(nic) = self.nics.get_mut(&number) else { return };
        if nic.link.as_ref().is_some_and(|link| link.index == index) {
            nic.state = State::Failed { again_at: now + AGAIN };
            nic.tell_carrier(number, effects);
        }
    }

    /// A NIC is not connected with this link any more, which somebody else has brought about: it is
    /// connected anew at once.
    pub fn handle_apart(
        &mut self,
        now: Instant,
        number: usize,
        index: u32,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(nic) = self.nics.get_mut(&number)
            && nic.link.take_if(|link| link.index == index).is_some()
        {
            nic.state = State::Apart;
        }
        self.settle(now, effects);
    }

    fn settle(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.plug(effects);
        let found = |nic: &Nic, links: &BTreeMap<u32, Link>| {
            links.values().find(|link| Some(&link.name) == nic.interface.as_ref()).cloned()
        };
        // All let go before any takes up: a name may have gone from one NIC's link to another's.
        for (number, nic) in &mut self.nics {
            let next = found(nic, &self.links);
            let stays = |old: &Link| next.as_ref().is_some_and(|next| next.index == old.index);
            if nic.link.as_ref().is_some_and(|old| !stays(old)) {
                nic.part(*number, &self.links, next.as_ref(), effects);
            }
        }
        for (number, nic) in &mut self.nics {
            let next = found(nic, &self.links);
            nic.unplug_at = match next {
                None if nic.is_spare && nic.interface.is_some() => {
                    nic.unplug_at.or(Some(now + AWAY_LIMIT))
                }
                _ => None,
            };
            if let Some(next) = &next {
                nic.meet(*number, next, effects);
            }
            nic.tell_carrier(*number, effects);
        }
    }

    /// Gives each link that nobody has announced a spare NIC, as long as there are some.
    fn plug(&mut self, effects: &mut Vec<Effect>) {
        for link in self.links.values() {
            let wants = |nic: &Nic| nic.interface.as_ref() == Some(&link.name);
            if !(self.is_automatic)(&link.name) || self.nics.values().any(wants) {
                continue;
            }
            let is_free = |nic: &Nic| nic.interface.is_none() && !nic.is_leaving;
            let free = self.nics.iter_mut().find(|(_, nic)| is_free(nic));
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

    /// What becomes of an event, where all that is to be connected can be.
    fn after(wires: &mut Wires, handle: impl FnOnce(&mut Wires, &mut Vec<Effect>)) -> Vec<Effect> {
        let mut effects = Vec::new();
        handle(wires, &mut effects);
        for effect in effects.clone() {
            if let Effect::Wire { nic, link } = effect {
                wires.handle_wired(nic, link.index, &mut effects);
            }
        }
        effects
    }

    fn seen(wires: &mut Wires, link: Link) -> Vec<Effect> {
        after(wires, |wires, effects| wires.handle_link(now(), link, effects))
    }

    fn gone(wires: &mut Wires, index: u32) -> Vec<Effect> {
        after(wires, |wires, effects| wires.handle_gone(now(), index, effects))
    }

    #[test]
    fn a_link_comes_under_another_name_and_gets_its_carrier_late() {
        let mut wires = wires();
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
        seen(&mut wires, link(7, "eth2", true));
        let unwire = Effect::Unwire { nic: 0, index: None };
        let carrier = |up| Effect::Carrier { nic: 0, up };
        assert_eq!(gone(&mut wires, 7), [carrier(false), unwire.clone()]);
        let wire = Effect::Wire { nic: 0, link: link(9, "eth2", true) };
        assert_eq!(seen(&mut wires, link(9, "eth2", true)), [wire.clone(), carrier(true)]);
        // The same, when the events between were lost: the guest need not see it.
        let mut wires = self::wires();
        seen(&mut wires, link(7, "eth2", true));
        let all = after(&mut wires, |w, e| w.handle_all(now(), vec![link(9, "eth2", true)], e));
        assert_eq!(all, [unwire, wire]);
    }

    #[test]
    fn a_link_that_is_renamed_away_is_let_go() {
        let mut wires = wires();
        seen(&mut wires, link(7, "eth4", true));
        let renamed = seen(&mut wires, link(7, "parked", true));
        let carrier = Effect::Carrier { nic: 1, up: false };
        assert_eq!(renamed, [carrier, Effect::Unwire { nic: 1, index: Some(7) }]);
    }

    #[test]
    fn a_name_goes_from_one_nics_link_to_another_nic() {
        let mut wires = wires();
        seen(&mut wires, link(7, "eth4", true));
        let renamed = seen(&mut wires, link(7, "eth2", true));
        let at = |wanted: &Effect| renamed.iter().position(|effect| effect == wanted);
        let unwire = at(&Effect::Unwire { nic: 1, index: Some(7) });
        let wire = at(&Effect::Wire { nic: 0, link: link(7, "eth2", true) });
        assert!(unwire.is_some() && unwire < wire, "{renamed:?}");
    }

    #[test]
    fn what_failed_has_no_carrier_and_is_tried_again() {
        let mut wires = wires();
        let start = now();
        let mut effects = Vec::new();
        wires.handle_link(start, link(7, "eth2", true), &mut effects);
        let wire = Effect::Wire { nic: 0, link: link(7, "eth2", true) };
        assert_eq!(effects, std::slice::from_ref(&wire), "no carrier before it is connected");
        wires.handle_failed(start, 0, 7, &mut effects);
        assert_eq!((effects.len(), wires.link(0)), (1, None));
        // Neither what we did to it nor another link is a reason.
        let without = Link { has_carrier: false, ..link(7, "eth2", true) };
        wires.handle_link(start, without, &mut effects);
        wires.handle_link(start, link(8, "other", true), &mut effects);
        assert_eq!(effects.len(), 1);
        // That it has changed is one, and so is time.
        let changed = Link { mtu: 1500, ..link(7, "eth2", false) };
        wires.handle_link(start, changed.clone(), &mut effects);
        assert_eq!(effects.pop(), Some(Effect::Wire { nic: 0, link: changed.clone() }));
        wires.handle_failed(start, 0, 7, &mut effects);
        let at = wires.poll_timeout().unwrap();
        wires.handle_timeout(at, &mut effects);
        assert_eq!(effects.pop(), Some(Effect::Wire { nic: 0, link: changed }));
        wires.handle_wired(0, 7, &mut effects);
        // Found apart later on, it is connected anew; failing that, it loses its carrier.
        assert_eq!(effects, [wire]);
        let last = Link { mtu: 1500, ..link(7, "eth2", true) };
        seen(&mut wires, last.clone());
        wires.handle_apart(start, 0, 7, &mut effects);
        assert_eq!(effects.pop(), Some(Effect::Wire { nic: 0, link: last }));
        wires.handle_failed(start, 0, 7, &mut effects);
        assert_eq!(effects.pop(), Some(Effect::Carrier { nic: 0, up: false }));
    }

    #[test]
    fn an_interface_that_nobody_announced_gets_a_spare_and_gives_it_back() {
        let mut wires = wires().with_spares([5], |name| name.starts_with("eth"));
        let new = link(7, "eth9", true);
        let plug = Effect::Plug { nic: 5, link: new.clone() };
        let wire = Effect::Wire { nic: 5, link: new.clone() };
        assert_eq!(seen(&mut wires, new), [plug, wire, Effect::Carrier { nic: 5, up: true }]);
        // No more spares, and no interface of that kind.
        assert_eq!(seen(&mut wires, link(8, "eth10", true)), []);
        assert_eq!(seen(&mut wires, link(9, "wlan0", true)), []);
        // It is made anew in time.
        gone(&mut wires, 7);
        assert!(wires.poll_timeout().is_some());
        let again = seen(&mut wires, link(11, "eth9", true));
        assert_eq!(wires.poll_timeout(), None);
        assert!(!again.iter().any(|effect| matches!(effect, Effect::Plug { .. })));
        // It stays away, and another one has waited, for the guest as well.
        gone(&mut wires, 11);
        let at = wires.poll_timeout().unwrap();
        let unplugged = after(&mut wires, |w, e| w.handle_timeout(at, e));
        assert_eq!(unplugged, [Effect::Unplug { nic: 5 }]);
        let free = after(&mut wires, |w, e| w.handle_unplugged(at, 5, e));
        assert!(matches!(&free[0], Effect::Plug { nic: 5, link } if link.name == "eth10"));
    }
}
