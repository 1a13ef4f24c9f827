//! The engine on its UDP socket.

use std::io;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error};

use crate::bmc::event::Request;
use crate::bmc::{Bmc, Difference, SelEntry, SensorError, SensorStatus, Transmit};
use crate::host;
use crate::host::timer::Timer;
use crate::host::udp::{BATCH, Datagram, Udp};
use crate::machine::activity::Activity;
use crate::machine::boot::{BootTarget, Lifetime};
use crate::machine::{Event, Status};
use crate::plan::LanIdentity;
use crate::runtime::{console, machine};

/// Room in the inbox. Machine events wait when it is full.
pub(super) const INBOX: usize = 64;

/// What the engine is told.
#[derive(Debug)]
pub(super) enum Input {
    /// Something happened to the machine.
    Machine(Status, Event),
    /// The machine's process with this number has a system interface, and takes bytes for it here.
    SystemInterface(u64, mpsc::UnboundedSender<Vec<u8>>),
    /// The system interface of the process with this number has said this.
    FromSystemInterface(u64, Vec<u8>),
    /// The interface that is served on is this by now.
    Lan(LanIdentity),
    /// Somebody wants to know.
    Query(oneshot::Sender<Snapshot>),
    /// `ctl` sets what to boot, for how long, and whether by UEFI.
    Boot(Option<BootTarget>, Lifetime, bool),
    /// How busy the machine is.
    Activity(Activity),
    /// Somebody wants to read the sensors.
    Sensors(oneshot::Sender<Vec<SensorStatus>>),
    /// `ctl` sets the reading of the sensor with this name; `None`: it is to be its own again.
    Sensor(String, Option<f64>, oneshot::Sender<Result<(), SensorError>>),
    /// Somebody wants to read the SEL.
    Sel(oneshot::Sender<Vec<SelEntry>>),
    /// The serial port has said all: answer when all has arrived, and take leave.
    Finish(oneshot::Sender<()>),
}

/// What the engine knows.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) sessions: usize,
    pub(super) sol_active: bool,
    pub(super) dropped: u64,
    /// The chassis shows where it is, and for how long yet, if not for ever.
    pub(super) identify: (bool, Option<Duration>),
    pub(super) differences: Vec<Difference>,
    /// The boot override in words.
    pub(super) boot: Option<String>,
}

/// The engine and all it talks to.
pub(super) struct Serving {
    pub(super) udp: Udp,
    pub(super) timer: Timer,
    pub(super) engine: Bmc,
    pub(super) inbox: mpsc::Receiver<Input>,
    pub(super) machine: mpsc::UnboundedSender<machine::Input>,
    pub(super) console: console::Port,
    /// What the console's hub has for Serial-over-LAN.
    pub(super) for_sol: mpsc::UnboundedReceiver<console::ForSol>,
    pub(super) save: mpsc::UnboundedSender<String>,
    /// To be sent; kept for its room.
    pub(super) transmits: Vec<Transmit>,
    /// The machine's system interface: number of the process, and where bytes for it go.
    pub(super) system_interface: Option<(u64, mpsc::UnboundedSender<Vec<u8>>)>,
}

pub(super) async fn serve(mut serving: Serving) {
    let mut finish: Option<oneshot::Sender<()>> = None;
    let keys = serving.console.keys.clone();
    loop {
        if let Err(error) = serving.timer.set(serving.engine.poll_timeout()) {
            error!(%error, "the timer is broken");
            return;
        }
        let now = tokio::select! {
            input = serving.inbox.recv() => match input {
                Some(Input::Finish(finished)) => {
                    finish = Some(finished);
                    host::now()
                }
                Some(input) => serving.handle(input),
                None => return,
            },
            ready = serving.udp.readable() => {
                if let Err(error) = ready {
                    error!(%error, "the IPMI socket is broken");
                    return;
                }
                let (now, answered) = serving.receive();
                if answered >= BATCH {
                    // Who floods this socket is not to keep the other tasks from their turn.
                    tokio::task::yield_now().await;
                }
                now
            }
            Some(for_sol) = serving.for_sol.recv() => {
                let console::ForSol { activation, chunk } = for_sol;
                let (now, lost) = (host::now(), chunk.skipped > 0);
                serving.engine.handle_console(now, activation, &chunk.marked(), lost);
                now
            }
            // The place stays free until it is used: nobody else runs meanwhile.
            Ok(place) = keys.reserve(), if serving.engine.wants_console_room() => {
                drop(place);
                serving.engine.handle_console_room(true);
                host::now()
            }
            expired = serving.timer.expired() => match expired {
                Ok(()) => {
                    let now = serving.tell_time();
                    serving.engine.handle_timeout(now);
                    now
                }
                Err(error) => {
                    error!(%error, "the timer is broken");
                    return;
                }
            },
        };
        serving.drain(now);
        if serving.engine.console_is_delivered()
            && let Some(finished) = finish.take()
        {
            serving.engine.handle_end();
            serving.drain(now);
            let _ = finished.send(());
        }
    }
}

impl Serving {
    /// The host's clock can have been set. Answers what time it is.
    fn tell_time(&mut self) -> Instant {
        let now = host::now();
        self.engine.handle_clock(now, host::unix_s());
        now
    }

    /// Answers what waits on the socket, about a batch of it at most. Answers the time as of then, and how
    /// many there were.
    fn receive(&mut self) -> (Instant, usize) {
        let now = self.tell_time();
        let mut answered = 0;
        while answered < BATCH {
            // A console that waits for its answer has sent one only; where there are two, there are many.
            let room = if answered < 2 { 1 } else { BATCH - answered };
            let received = match self.udp.receive(room) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An ICMP error for an answer of ours; that console's problem alone.
                Err(error) => {
                    debug!(%error, "receiving a datagram");
                    0
                }
            };
            for index in 0..received {
                if let Some(Datagram { peer, at, bytes }) = self.udp.datagram(index) {
                    // Each packet may fill the last place in the console's inbox.
                    self.engine.handle_console_room(self.console.keys.capacity() > 1);
                    self.engine.handle_datagram(now, peer, at, bytes);
                    self.pass_on();
                }
            }
            self.transmit(now);
            answered += received.max(1);
        }
        (now, answered)
    }

    fn handle(&mut self, input: Input) -> Instant {
        let now = self.tell_time();
        match input {
            Input::Machine(status, event) => {
                self.engine.handle_machine(now, status, &event);
            }
            Input::SystemInterface(number, sender) => {
                self.system_interface = Some((number, sender));
                self.engine.handle_system_interface_start();
            }
            Input::FromSystemInterface(number, bytes) => {
                if self.system_interface.as_ref().is_some_and(|(present, _)| *present == number) {
                    self.engine.handle_system_interface(now, &bytes);
                }
            }
            Input::Lan(identity) => self.engine.handle_lan(identity),
            // `serve` has its own way with it.
            Input::Finish(_) => {}
            Input::Query(reply) => {
                let _ = reply.send(Snapshot {
                    sessions: self.engine.open_sessions(),
                    sol_active: self.engine.sol_active(),
                    dropped: self.engine.dropped(),
                    identify: self.engine.identify(now),
                    differences: self.engine.differences(),
                    boot: self.engine.boot_override(),
                });
            }
            Input::Boot(target, lifetime, uefi) => {
                self.engine.handle_boot(now, target, lifetime, uefi);
            }
            Input::Activity(activity) => self.engine.handle_activity(now, activity),
            Input::Sensors(reply) => {
                let _ = reply.send(self.engine.sensors());
            }
            Input::Sensor(name, value, reply) => {
                let _ = reply.send(match value {
                    Some(value) => self.engine.set_sensor(now, &name, value),
                    None => self.engine.clear_sensor(now, &name),
                });
            }
            Input::Sel(reply) => {
                let _ = reply.send(self.engine.sel());
            }
        }
        now
    }

    /// Passes on all that the engine wants, and sends what it has to send.
    pub(super) fn drain(&mut self, now: Instant) {
        self.pass_on();
        self.transmit(now);
    }

    fn transmit(&mut self, now: Instant) {
        while let Some(transmit) = self.engine.poll_transmit(now) {
            self.transmits.push(transmit);
        }
        if !self.transmits.is_empty() {
            let datagrams = self.transmits.iter();
            self.udp.send(datagrams.map(|Transmit { to, from, datagram }| Datagram {
                peer: *to,
                at: *from,
                bytes: datagram,
            }));
            let sent = self.transmits.drain(..);
            sent.for_each(|Transmit { datagram, .. }| self.engine.reuse(datagram));
        }
    }

    fn pass_on(&mut self) {
        while let Some(request) = self.engine.poll_request() {
            match request {
                Request::Power(request, origin) => {
                    let _ = self.machine.send(machine::Input::Request(request, origin, None));
                }
                Request::Boot(boot) => {
                    let _ = self.machine.send(machine::Input::Boot(boot));
                }
                Request::CycleInterval(interval) => {
                    let _ = self.machine.send(machine::Input::CycleInterval(interval));
                }
                Request::Break => {
                    let _ = self.console.send_break(&self.machine);
                }
                Request::Console(characters) => {
                    if self.console.keys.try_send(characters).is_err() {
                        error!("characters for the serial port are lost: its inbox is full");
                    }
                }
                Request::Flush => {
                    let _ = self.console.inbox.send(console::Input::Flush);
                }
                Request::Watch(watch) => {
                    let _ = self.console.inbox.send(console::Input::Watch(watch));
                }
            }
        }
        if let Some((_, sender)) = &self.system_interface
            && let Some(bytes) = self.engine.poll_system_interface()
        {
            // Where it has gone, the next one begins anew.
            let _ = sender.send(bytes);
        }
        if let Some(saved) = self.engine.poll_save() {
            let _ = self.save.send(saved);
        }
    }
}
