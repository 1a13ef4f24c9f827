//! What the clients share: the machine, what has been done to it lately, and when all pause or end.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Condvar, Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::command::tool;
use crate::machine::Machine;
use crate::namespace::Namespace;
use crate::wait::SOON;

/// How long what was done can be what a client runs into: a machine that hangs is killed, and starts
/// anew, on a host that does other things as well.
const LATELY: Duration = Duration::from_secs(30);
/// How long a session without its client is open (the BMC's idle limit), and until that is seen.
pub(super) const EXPIRY: Duration = Duration::from_secs(60).saturating_add(SOON);

/// What one client does and another runs into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Event {
    /// A power request, or QEMU killed or stopped.
    Power,
    /// QEMU killed.
    Kill,
    /// QEMU stopped, so that it answers nobody.
    Stop,
    /// Serial-over-LAN opened, or taken over.
    Sol,
    /// Serial-over-LAN ended for another.
    SolEnd,
    /// Entries of the event log written or cleared, or its reservation taken.
    Sel,
    /// The link switched or deleted.
    Link,
    /// A login with a wrong password.
    WrongPassword,
}

/// Who does something.
pub(super) type Actor = &'static str;

#[derive(Default)]
struct Events {
    running: HashMap<Actor, Event>,
    done: HashMap<Event, Instant>,
}

pub(super) struct Scene {
    // Dropped in this order: the program goes before its namespace.
    pub(super) machine: Machine,
    pub(super) node: Namespace,
    pub(super) lab: Namespace,
    /// Held while a client is at work; held alone while the machine is looked at.
    pub(super) gate: RwLock<()>,
    over: Mutex<bool>,
    ended: Condvar,
    events: Mutex<Events>,
    /// When clients left sessions behind.
    left: Mutex<Vec<Instant>>,
    /// How often something was done, and how often it did not work as was to be expected.
    tally: Mutex<BTreeMap<String, (usize, usize)>>,
}

impl Scene {
    pub(super) fn new(machine: Machine, node: Namespace, lab: Namespace) -> Self {
        Self {
            machine,
            node,
            lab,
            gate: RwLock::default(),
            over: Mutex::default(),
            ended: Condvar::new(),
            events: Mutex::default(),
            left: Mutex::default(),
            tally: Mutex::default(),
        }
    }

    /// A client in the machine's namespace.
    pub(super) fn client(&self, name: &str) -> std::process::Command {
        let mut command = tool("ip");
        command.args(["netns", "exec", &self.node.0, name]);
        command
    }

    pub(super) fn end(&self) {
        *self.over.lock().unwrap() = true;
        self.ended.notify_all();
    }

    pub(super) fn is_over(&self) -> bool {
        *self.over.lock().unwrap()
    }

    /// Lets this time pass, or what is left until the end.
    pub(super) fn pause(&self, time: Duration) {
        let over = self.over.lock().unwrap();
        drop(self.ended.wait_timeout_while(over, time, |over| !*over).unwrap());
    }

    /// Does what others may run into.
    pub(super) fn doing<T>(&self, actor: Actor, event: Event, work: impl FnOnce() -> T) -> T {
        self.events.lock().unwrap().running.insert(actor, event);
        let result = work();
        let mut events = self.events.lock().unwrap();
        events.running.remove(actor);
        events.done.insert(event, Instant::now());
        result
    }

    /// Whether that was done lately, or another is at it.
    pub(super) fn lately(&self, me: Actor, event: Event) -> bool {
        let events = self.events.lock().unwrap();
        events.done.get(&event).is_some_and(|when| when.elapsed() < LATELY)
            || events.running.iter().any(|(actor, running)| *actor != me && *running == event)
    }

    /// A client has gone without closing its session.
    pub(super) fn leave_session(&self) {
        self.left.lock().unwrap().push(Instant::now());
    }

    /// How many sessions may be open that have no client any more.
    pub(super) fn sessions_left(&self) -> usize {
        let mut left = self.left.lock().unwrap();
        left.retain(|when| when.elapsed() < EXPIRY);
        left.len()
    }

    pub(super) fn count(&self, what: &str, worked: bool) {
        let mut tally = self.tally.lock().unwrap();
        let (done, failed) = tally.entry(what.to_owned()).or_default();
        *done += 1;
        *failed += usize::from(!worked);
    }

    /// What was done, a line each.
    pub(super) fn tally(&self) -> String {
        let tally = self.tally.lock().unwrap();
        let line = |(what, (done, failed)): (&String, &(usize, usize))| {
            format!("  {done:6}  {what}, {failed} of them refused as expected\n")
        };
        tally.iter().map(line).collect()
    }

    /// How often what begins so did not work.
    pub(super) fn refused(&self, prefix: &str) -> usize {
        let tally = self.tally.lock().unwrap();
        let of = tally.iter().filter(|(what, _)| what.starts_with(prefix));
        of.map(|(_, (_, refused))| refused).sum()
    }

    /// How much was done.
    pub(super) fn total(&self) -> usize {
        self.tally.lock().unwrap().values().map(|(done, _)| done).sum()
    }
}

/// Ends the scene for all when one fails.
pub(super) struct EndsOnPanic<'a>(pub(super) &'a Scene);

impl Drop for EndsOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.end();
        }
    }
}
