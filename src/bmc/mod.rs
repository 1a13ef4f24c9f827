//! The BMC as a sans-IO engine: datagrams, machine events and time in; datagrams and requests out.
//!
//! Call a `handle_*` with each thing that happens, then drain [`Bmc::poll_transmit`],
//! [`Bmc::poll_request`] and [`Bmc::poll_system_interface`], and call [`Bmc::handle_timeout`] when
//! [`Bmc::poll_timeout`] says so. The engine has no clock, no socket and no source of entropy but its
//! seed, and never waits.
//!
//! Before login it answers only: ASF ping, Get Channel Authentication Capabilities, Get System
//! GUID, Get Channel Cipher Suites, the messages of the RMCP+ session set-up, and of IPMI 1.5 Get
//! Session Challenge and Activate Session.

mod allowance;
mod analog;
mod attempts;
mod boot;
mod command;
mod config;
mod crypto;
mod differences;
mod dispatch;
pub mod event;
mod handshake;
mod in_band;
mod lan;
mod lockout;
mod log;
mod packet;
mod readings;
mod sel_text;
mod sensors;
mod session;
mod sol;
mod store;
mod story;
mod v15;
mod watchdog;
mod words;

pub use command::{Channels, CommandInfo, commands};
pub use config::{Config, User};
pub use differences::Difference;
pub use readings::{SensorError, SensorStatus};
pub use sel_text::SelEntry;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;
use tracing::{debug, info, warn};

use crate::bmc::allowance::Allowance;
use crate::bmc::command::Statistics;
use crate::bmc::event::Request;
use crate::bmc::in_band::{Messages, SystemInterface};
use crate::bmc::lan::Interface;
use crate::bmc::lockout::Lockouts;
use crate::bmc::sensors::Sensors;
use crate::bmc::session::{Info, Open, Session, Stage, Table};
use crate::bmc::sol::Sol;
use crate::bmc::store::chassis::Identify;
use crate::bmc::store::{Clock, Fru, Store, Users};
use crate::bmc::story::Story;
use crate::bmc::v15::Challenges;
use crate::bmc::words::Bits;
use crate::machine::boot::{BootTarget, Override};
use crate::machine::{self, Origin, Power, Status};
use crate::plan::Identity;
use crate::profile::document::Restore;
use crate::value::BmcKey;
use crate::wire::DecodeError;
use crate::wire::code::{AuthType, CompletionCode, PayloadType, Privilege};
use crate::wire::sol::status;

/// The address of the BMC as responder of a LAN message (v2.0 section 5.5).
const BMC_ADDRESS: u8 = 0x20;

/// "Cannot return number of requested data bytes" (v2.0 table 5-2).
const CANNOT_RETURN_AS_MUCH: CompletionCode = CompletionCode(0xCA);

/// What the BMC is (v2.0 section 20.1, additional device support): chassis, FRU inventory, SEL, SDR
/// repository and sensor device.
const DEVICE_SUPPORT: u8 = 0x8F;

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// At which address of the BMC its console has asked, if that is known: the answer goes from there. A
    /// console whose socket is connected hears no other.
    pub from: Option<IpAddr>,
    /// The whole UDP payload.
    pub datagram: Vec<u8>,
}

/// What command handlers work on.
#[derive(Debug)]
struct Core {
    guid: [u8; 16],
    suites: Vec<u8>,
    v15: Vec<AuthType>,
    declared_k_g: Option<BmcKey>,
    advertised_port: u16,
    sol_replay: bool,
    /// The machine's firmware is UEFI.
    uefi: bool,
    /// The machine's kernel is booted directly.
    kernel: bool,
    restore: Restore,
    restore_declared: bool,
    cycle_interval_s: u32,
    cycle_interval_declared: bool,
    name: String,
    asset_tag: Option<String>,
    lan: Interface,
    statistics: Statistics,
    machine: Status,
    /// Power requests that were accepted, and of which the machine has not said that it has them.
    unanswered: VecDeque<(machine::Request, Origin)>,
    story: Story,
    sol: Sol,
    /// By Managed System Session ID.
    open_sessions: BTreeMap<u32, Info>,
    challenges: Challenges,
    lockouts: Lockouts,
    rng: ChaCha20Rng,
    clock: Clock,
    identity: Identity,
    sensors: Sensors,
    /// For the system interface.
    messages: Messages,
    /// Lines of the log that the machine's software may cause.
    lines: Allowance<32, 1>,
    store: Store,
    /// The store has changed since it was saved.
    changed: bool,
    requests: VecDeque<Request>,
}

impl Core {
    /// The machine as it will be when it has all that was accepted: what it says may be of before.
    fn promised(&self) -> Status {
        self.unanswered.iter().fold(self.machine, |status, (request, _)| status.after(*request))
    }

    /// A kernel that is booted directly comes before what `boot` names. SeaBIOS' boot menu comes
    /// before the kernel.
    fn is_void(&self, boot: Override) -> bool {
        self.kernel
            && match boot.target {
                BootTarget::Device(_) => true,
                BootTarget::Setup => self.uefi,
                BootTarget::Default => false,
            }
    }

    fn boot_changed(&mut self) {
        let boot = self.store.boot.to_override();
        info!(?boot, "boot override");
        if boot.is_some_and(|boot| self.is_void(boot)) {
            warn!("the boot override has no effect: the profile's `kernel` is booted directly");
        }
        self.changed = true;
        self.requests.push_back(Request::Boot(boot));
    }
}

/// The engine.
#[derive(Debug)]
pub struct Bmc {
    core: Core,
    sessions: Table,
    system_interface: Option<SystemInterface>,
    out: VecDeque<Transmit>,
    /// The address of ours that the datagram which is being handled came to.
    at: Option<IpAddr>,
    room: Room,
    console_room: bool,
    dropped: u64,
}

/// Memory that is used for one packet after the other.
#[derive(Debug, Default)]
struct Room {
    /// For a payload, decrypted.
    payload: Vec<u8>,
    /// For the message that answers it.
    response: Vec<u8>,
    /// For datagrams to send.
    datagrams: Vec<Vec<u8>>,
}

impl Room {
    /// Most datagrams that memory is kept for.
    const MOST: usize = 64;

    fn datagram(&mut self) -> Vec<u8> {
        self.datagrams.pop().unwrap_or_default()
    }
}

/// Why a datagram gets no answer.
#[derive(Debug, thiserror::Error)]
enum Drop {
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    #[error("no such session")]
    NoSession,
    #[error("not authenticated and encrypted as the session demands")]
    Unprotected,
    #[error("wrong AuthCode")]
    AuthCode,
    #[error("its user is locked out: too many bad passwords")]
    LockedOut,
    #[error("session sequence number seen or too old")]
    Sequence,
    #[error("undecipherable")]
    Decryption,
    #[error("not before login")]
    NotBeforeLogin,
    #[error("not addressed to the BMC")]
    NotForUs,
    #[error("a payload type that is not served")]
    PayloadType,
}

impl Bmc {
    /// An engine without sessions. All its randomness comes from `seed`.
    #[must_use]
    pub fn new(config: Config, seed: [u8; 32]) -> Self {
        let store = Store {
            users: Users::new(&config.users),
            fru: Fru::new(&config.identity),
            ..Store::default()
        };
        Self {
            core: Core {
                guid: config.guid,
                suites: config.cipher_suites,
                v15: config.v15,
                declared_k_g: config.k_g,
                advertised_port: config.advertised_port,
                sol_replay: config.sol_replay,
                uefi: config.uefi,
                kernel: config.kernel,
                restore: config.restore,
                restore_declared: config.restore_declared,
                cycle_interval_s: config.cycle_interval_s,
                cycle_interval_declared: config.cycle_interval_declared,
                name: config.name,
                asset_tag: config.asset_tag,
                lan: Interface { identity: config.lan, settable: config.lan_settable },
                statistics: Statistics::default(),
                machine: Status::OFF,
                unanswered: VecDeque::new(),
                story: Story::default(),
                sol: Sol::default(),
                open_sessions: BTreeMap::new(),
                challenges: Challenges::default(),
                lockouts: Lockouts::new(config.bad_password_threshold, config.lockout_interval_s),
                rng: ChaCha20Rng::from_seed(seed),
                clock: Clock::default(),
                sensors: Sensors::new(config.cpu_sockets, &config.sensors, DEVICE_SUPPORT),
                messages: Messages::default(),
                lines: Allowance::default(),
                identity: config.identity,
                store,
                changed: false,
                requests: VecDeque::new(),
            },
            sessions: Table::default(),
            system_interface: None,
            out: VecDeque::new(),
            at: None,
            room: Room::default(),
            console_room: true,
            dropped: 0,
        }
    }

    /// Takes over what [`Self::poll_save`] of an earlier run has answered. What the profile declares wins.
    ///
    /// # Errors
    /// When it is something else; then nothing has changed.
    pub fn restore(&mut self, saved: &str) -> Result<(), serde_json::Error> {
        // Not a list, which serde would take for one, too.
        let saved: serde_json::Map<String, serde_json::Value> = serde_json::from_str(saved)?;
        let mut store: Store = serde_json::from_value(saved.into())?;
        self.core.store.users.take_over(&store.users);
        store.users = std::mem::take(&mut self.core.store.users);
        if self.core.restore_declared {
            store.chassis.restore = None;
        }
        if self.core.cycle_interval_declared {
            store.chassis.cycle_interval_s = None;
        }
        if self.core.asset_tag.is_some() {
            store.dcmi.asset_tag = None;
        }
        store.k_g = store.k_g.filter(|_| self.core.declared_k_g.is_none());
        store.sel.settle();
        store.sdr.settle(&self.core.sensors.records);
        self.core.sensors.settle(&mut store);
        store.fru.settle(&self.core.identity);
        store.pef.settle();
        let limits = self.core.suites.iter().filter_map(|suite| store.lan.cipher_limit(*suite));
        if limits.max() != Some(Privilege::ADMINISTRATOR) {
            warn!(
                "the cipher suites' privileges that were set left administrators none; all are reset"
            );
            store.lan.cipher_privileges.clear();
        }
        self.core.store = store;
        self.core.take_over_lan();
        self.core.take_over_power();
        if !self.core.store.users.has_administrator() {
            warn!("no administrator can log in over IPMI");
        }
        Ok(())
    }

    /// It is `unix_s` seconds after the beginning of 1970. After [`Self::restore`], so that the
    /// start is logged in what was kept.
    pub fn handle_clock(&mut self, now: Instant, unix_s: u64) {
        let starts = !self.core.clock.is_set();
        self.core.clock.set(now, unix_s);
        if starts {
            self.core.log_start(now);
            self.core.store.boot.restart_countdown(now);
            if self.core.store.boot.to_override().is_some() {
                self.core.boot_changed();
            }
        }
    }

    /// A UDP datagram came from `from` to the address `at`, if that is known.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        at: Option<IpAddr>,
        datagram: &[u8],
    ) {
        self.at = at;
        self.core.statistics.received += 1;
        if let Err(reason) = self.try_datagram(now, from, datagram) {
            self.dropped += 1;
            debug!(from = %shown(from), %reason, "datagram dropped");
        } else {
            self.core.statistics.valid += 1;
        }
    }

    /// Characters came from the hub of the serial port's viewers, as [`Request::Watch`] has asked
    /// for with this number; none: there will be no more. `lost`: some before them were skipped.
    pub fn handle_console(&mut self, now: Instant, activation: u32, characters: &[u8], lost: bool) {
        self.core.sol.handle_console(now, activation, characters, lost);
    }

    /// Whether the serial port takes characters now.
    pub fn handle_console_room(&mut self, room: bool) {
        self.console_room = room;
        if room && let Some(characters) = self.core.sol.handle_room() {
            self.core.requests.push_back(Request::Console(characters));
        }
    }

    /// Characters wait for the serial port to take them: [`Self::handle_console_room`] is wanted.
    #[must_use]
    pub fn wants_console_room(&self) -> bool {
        self.core.sol.wants_room()
    }

    /// Something happened to the machine.
    pub fn handle_machine(&mut self, now: Instant, status: Status, event: &machine::Event) {
        self.core.machine = status;
        self.core.store.chassis.power(now, status.power == Power::On);
        match event {
            machine::Event::Requested(request, origin, result) => {
                let this =
                    |(asked, by): &(machine::Request, Origin)| asked == request && by == origin;
                if self.core.unanswered.front().is_some_and(this) {
                    self.core.unanswered.pop_front();
                }
                if result.is_ok() && *request != machine::Request::Diag {
                    self.core.story.asked = Some((*request, origin.clone()));
                }
            }
            machine::Event::Started(_) => {
                self.core.store.boot.countdown = None;
                self.core.store.watchdog.machine_started();
            }
            machine::Event::BootUsed(used) => {
                if self.core.store.boot.used(*used) {
                    self.core.boot_changed();
                }
            }
            machine::Event::Stopped(_) => self.core.store.watchdog.stop(),
            // The guest has not heeded it in time: what it does now, it does by itself.
            machine::Event::Changed if status.operation.is_none() => {
                self.core.story.asked.take_if(|(asked, _)| *asked == machine::Request::Soft);
            }
            machine::Event::Changed
            | machine::Event::Panicked
            | machine::Event::WatchdogExpired(_) => {}
        }
        self.core.log_machine(now, event);
    }

    /// The time that [`Self::poll_timeout`] named has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        for (id, session) in self.sessions.expire(now) {
            if let Stage::Challenged(challenged) = &session.stage {
                // Most clients see for themselves that the password is wrong, and go away.
                let user = (challenged.user, &challenged.exchange.name[..]);
                let why = "not completed: wrong password?";
                self.core.bad_password(now, user, session.peer, why);
            }
            self.ended(id, &session, "idle for too long");
        }
        self.core.challenges.expire(now);
        let boot = self.core.store.boot.to_override();
        if self.core.store.boot.expire(now) {
            self.core.boot_changed();
            self.core.log_boot_set(now, boot, "the BMC: no power command came within 60 s");
        }
        self.core.changed |= self.core.store.chassis.count_hours(now);
        self.core.run_watchdog(now);
    }

    /// All characters from the serial port, which says no more, have arrived where somebody waits
    /// for them.
    #[must_use]
    pub fn console_is_delivered(&self) -> bool {
        self.core.sol.is_delivered()
    }

    /// The program ends: tell who watches the console.
    pub fn handle_end(&mut self) {
        // No session has this ID, so the owner is told.
        self.core.sol.deactivate(0);
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        let transmit = self.out.pop_front().or_else(|| {
            let (id, payload) = self.core.sol.poll_transmit(now)?;
            if let [sequence, ack, accepted, status, characters @ ..] = &payload[..] {
                let status = Bits(*status, status::NAMES);
                debug!(sequence, ack, accepted, %status, characters = characters.len(), "SOL to {id:#010x}");
            }
            self.seal(id, PayloadType::SOL, &payload)
        });
        self.core.statistics.sent += u64::from(transmit.is_some());
        transmit
    }

    /// Takes back the memory of a datagram that was sent.
    pub fn reuse(&mut self, mut datagram: Vec<u8>) {
        if self.room.datagrams.len() < Room::MOST {
            datagram.clear();
            self.room.datagrams.push(datagram);
        }
    }

    /// The next wish.
    pub fn poll_request(&mut self) -> Option<Request> {
        let watch = |core: &mut Core| core.sol.poll_watch().map(Request::Watch);
        self.core.requests.pop_front().or_else(|| watch(&mut self.core))
    }

    /// What clients have changed, if that is not saved: to be handed in again by
    /// [`Self::restore`] after a restart. JSON, and it holds passwords.
    pub fn poll_save(&mut self) -> Option<String> {
        if !std::mem::take(&mut self.core.changed) {
            return None;
        }
        Some(serde_json::to_string_pretty(&self.core.store).expect("the store is plain data"))
    }

    /// When [`Self::handle_timeout`] and [`Self::poll_transmit`] want to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let watchdog = self.core.store.watchdog.poll_timeout();
        let sol = self.core.sol.poll_timeout();
        let hour = self.core.store.chassis.hour_is_over();
        let (sessions, challenges) =
            (self.sessions.next_expiry(), self.core.challenges.next_expiry());
        [sessions, challenges, sol, self.core.store.boot.countdown, watchdog, hour]
            .into_iter()
            .flatten()
            .min()
    }

    /// What becomes of the machine when the program starts.
    #[must_use]
    pub fn restore_policy(&self) -> Restore {
        self.core.restore_policy()
    }

    /// Whether the chassis shows where it is, and for how long yet, if not for ever.
    #[must_use]
    pub fn identify(&self, now: Instant) -> (bool, Option<Duration>) {
        match self.core.store.chassis.identify(now) {
            Identify::Off => (false, None),
            Identify::Until(end) => (true, Some(end.saturating_duration_since(now))),
            Identify::On => (true, None),
        }
    }

    /// How many sessions are open.
    #[must_use]
    pub fn open_sessions(&self) -> usize {
        self.core.open_sessions.len()
    }

    /// SOL is active.
    #[must_use]
    pub fn sol_active(&self) -> bool {
        self.core.sol.owner().is_some()
    }

    /// How many datagrams got no answer.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Tells session `id`, which is about to be ended by somebody else, that it has SOL no more.
    fn farewell(&mut self, now: Instant, id: u32) {
        if self.core.sol.owner() != Some(id) {
            return;
        }
        // No session has this ID, so the owner is told.
        self.core.sol.deactivate(0);
        while let Some((id, payload)) = self.core.sol.poll_transmit(now) {
            if let Some(transmit) = self.seal(id, PayloadType::SOL, &payload) {
                self.out.push_back(transmit);
            }
        }
    }

    /// A session is over; let go of all that it had.
    fn ended(&mut self, id: u32, session: &Session, why: &str) {
        if let Stage::Open(open) = &session.stage {
            let Open { user_name, way, limit, .. } = &**open;
            info!(user = %user_name, from = %shown(session.peer), %way, ?limit, "session {id:#010x} ended: {why}");
        }
        self.core.open_sessions.remove(&id);
        self.core.sol.session_ended(id);
    }

    fn send(&mut self, to: SocketAddr, datagram: Vec<u8>) {
        self.out.push_back(Transmit { to, from: self.at, datagram });
    }
}

/// An address as people write it: IPv4 on a socket for both stays IPv4.
fn shown(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
