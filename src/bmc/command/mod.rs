//! Commands: one table, NetFn and command to privilege and handler.
//!
//! Handlers are plain functions of the BMC's state and the request data. They never wait: what
//! takes time is asked of the machine, and answered for from its last known state.

mod app;
mod channel;
mod chassis;
mod dcmi;
mod device;
mod event;
mod fru;
mod lan;
mod payload;
mod sdr;
mod sel;
mod sensor;
mod session;
mod sol_config;
mod system_info;
mod users;
mod watchdog;

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Instant;

pub(super) use lan::Statistics;

use crate::bmc::session::Open;
use crate::bmc::{Core, shown};
use crate::machine::Origin;
use crate::wire::code::{CompletionCode, NetFn, Privilege};
use crate::wire::{message, vm};

/// The LAN channel (v2.0 section 6.3).
pub(super) const LAN_CHANNEL: u8 = 1;
/// The system interface's channel (v2.0 section 6.3).
pub(super) const SYSTEM_CHANNEL: u8 = 0x0F;
/// "The channel this came in on."
const PRESENT_CHANNEL: u8 = 0x0E;

/// Who asks, and what about.
pub(super) struct Context<'a> {
    pub(super) now: Instant,
    pub(super) core: &'a mut Core,
    /// Where the request came in.
    pub(super) source: Source,
    /// The session's ID and state; `None` before login, and on the system interface.
    pub(super) session: Option<(u32, &'a mut Open)>,
    /// What to do after the response is sent.
    pub(super) after: After,
}

/// Where a request comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The LAN channel, from a console at this address.
    Lan(SocketAddr),
    /// The system interface: software on the machine itself.
    System,
}

impl Source {
    /// The number of the channel.
    pub(super) fn channel(self) -> u8 {
        match self {
            Self::Lan(_) => LAN_CHANNEL,
            Self::System => SYSTEM_CHANNEL,
        }
    }
}

impl Display for Source {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lan(peer) => shown(*peer).fmt(f),
            Self::System => f.write_str("system interface"),
        }
    }
}

/// A command with its data, wherever it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    pub(super) net_fn: NetFn,
    pub(super) lun: u8,
    pub(super) command: u8,
    pub(super) data: &'a [u8],
}

impl<'a> From<&message::Request<'a>> for Asked<'a> {
    fn from(request: &message::Request<'a>) -> Self {
        let message::Request { net_fn, lun, command, data, .. } = *request;
        Self { net_fn, lun, command, data }
    }
}

impl<'a> From<&'a vm::Request> for Asked<'a> {
    fn from(request: &'a vm::Request) -> Self {
        let vm::Request { net_fn, lun, command, ref data, .. } = *request;
        Self { net_fn, lun, command, data }
    }
}

/// What to do after the response is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum After {
    #[default]
    Nothing,
    /// End this session.
    Close(u32),
    /// End all sessions, as a BMC does that starts anew; the one that is spared has time to close.
    Reset { spared: Option<u32> },
    /// End all sessions of this user, who has lost the right to them, but for one.
    CloseAllOf { user: u8, but: Option<u32> },
    /// End SOL if this user has it.
    EndSolOf(u8),
    /// End SOL, whoever has it.
    EndSol,
}

impl Context<'_> {
    /// Who asks.
    pub(super) fn origin(&self) -> Origin {
        match (&self.session, self.source) {
            (Some((session, open)), Source::Lan(peer)) => Origin::Lan {
                user: open.user_name.clone(),
                user_id: open.user,
                console: shown(peer),
                session: *session,
            },
            _ => Origin::SystemInterface,
        }
    }
}

type Handler = fn(&mut Context<'_>, &[u8]) -> Result<Vec<u8>, CompletionCode>;

/// When a command may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// Also before login.
    Anyone,
    /// Also before login, in the set-up of an IPMI 1.5 session.
    V15Setup,
    /// In a session with at least this privilege, as of now.
    From(Privilege),
}

/// Over which channels a command may be used (v2.0 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// All of them.
    All,
    /// Those with sessions: the LAN.
    Lan,
}

/// One command.
struct Entry {
    net_fn: NetFn,
    command: u8,
    access: Access,
    channels: Channels,
    /// Running it twice is not the same as once: its answer is kept for repetitions.
    effect: bool,
    /// Whether its data may hold a password, and is not for the log.
    secret: fn(&[u8]) -> bool,
    /// Name as in the specification, for the log.
    name: &'static str,
    /// Section of the specification (v2.0, or that of the group).
    section: &'static str,
    handler: Handler,
}

impl Entry {
    fn number(&self) -> (NetFn, u8) {
        (self.net_fn, self.command)
    }

    /// A command that only reads.
    const fn reads(
        net_fn: NetFn,
        command: u8,
        access: Access,
        section: &'static str,
        name: &'static str,
        handler: Handler,
    ) -> Self {
        const NEVER: fn(&[u8]) -> bool = |_| false;
        Self {
            net_fn,
            command,
            access,
            channels: Channels::All,
            effect: false,
            secret: NEVER,
            name,
            section,
            handler,
        }
    }

    /// A command that changes something.
    const fn acts(
        net_fn: NetFn,
        command: u8,
        access: Access,
        section: &'static str,
        name: &'static str,
        handler: Handler,
    ) -> Self {
        let entry = Self::reads(net_fn, command, access, section, name, handler);
        Self { effect: true, ..entry }
    }

    /// The same command, for channels with sessions only.
    const fn over_lan(self) -> Self {
        Self { channels: Channels::Lan, ..self }
    }

    /// The same command, whose data is not for the log.
    const fn secret(self) -> Self {
        const ALWAYS: fn(&[u8]) -> bool = |_| true;
        Self { secret: ALWAYS, ..self }
    }

    /// The same command, whose data is not for the log when this holds.
    const fn secret_if(self, secret: fn(&[u8]) -> bool) -> Self {
        Self { secret, ..self }
    }
}

const ADMINISTRATOR: Access = Access::From(Privilege::ADMINISTRATOR);
const OPERATOR: Access = Access::From(Privilege::OPERATOR);
const USER: Access = Access::From(Privilege::USER);
const CALLBACK: Access = Access::From(Privilege::CALLBACK);

/// All commands, one table a module. Privileges as in v2.0 appendix G.
const TABLES: [&[Entry]; 17] = [
    chassis::TABLE,
    app::TABLE,
    session::TABLE,
    device::TABLE,
    watchdog::TABLE,
    system_info::TABLE,
    payload::TABLE,
    dcmi::TABLE,
    event::TABLE,
    sensor::TABLE,
    sdr::TABLE,
    sel::TABLE,
    fru::TABLE,
    users::TABLE,
    channel::TABLE,
    lan::TABLE,
    sol_config::TABLE,
];

fn table() -> impl Iterator<Item = &'static Entry> {
    TABLES.into_iter().flatten()
}

/// All commands, in the order of their numbers.
static BY_NUMBER: LazyLock<Vec<&Entry>> = LazyLock::new(|| {
    let mut entries: Vec<_> = table().collect();
    entries.sort_unstable_by_key(|entry| entry.number());
    entries
});

/// A command as the reference, `docs/ipmi.md`, has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandInfo {
    /// Network function.
    pub net_fn: NetFn,
    /// Command number.
    pub command: u8,
    /// Name as in the specification.
    pub name: &'static str,
    /// Section of the specification (v2.0, or that of the group).
    pub section: &'static str,
    /// The privilege that it needs; `None`: it is answered before login, too.
    pub privilege: Option<Privilege>,
    /// Where it may be used.
    pub channels: Channels,
    /// Its answer is kept for repetitions, as running it twice is not the same as once.
    pub effect: bool,
}

/// All commands there are, by number.
#[must_use]
pub fn commands() -> Vec<CommandInfo> {
    let info = |entry: &Entry| CommandInfo {
        net_fn: entry.net_fn,
        command: entry.command,
        name: entry.name,
        section: entry.section,
        privilege: if let Access::From(privilege) = entry.access { Some(privilege) } else { None },
        channels: entry.channels,
        effect: entry.effect,
    };
    BY_NUMBER.iter().copied().map(info).collect()
}

/// A command that was looked up.
#[derive(Clone, Copy)]
pub(super) struct Command(&'static Entry);

impl Command {
    /// The command of a request. Unknown ones are C1h whatever the privilege: clients probe for
    /// extensions at every login and complain of anything else.
    pub(super) fn find(asked: &Asked<'_>) -> Result<Self, CompletionCode> {
        let number = (asked.net_fn, asked.command);
        let index = BY_NUMBER
            .binary_search_by_key(&number, |entry| entry.number())
            .map_err(|_| CompletionCode::INVALID_COMMAND)?;
        let entry = BY_NUMBER[index];
        if asked.lun == 0 { Ok(Self(entry)) } else { Err(CompletionCode::INVALID_LUN) }
    }

    /// May be used before login.
    pub(super) fn is_for_anyone(self) -> bool {
        self.0.access == Access::Anyone
    }

    /// Sets up an IPMI 1.5 session.
    pub(super) fn sets_up_v15_session(self) -> bool {
        self.0.access == Access::V15Setup
    }

    /// Its answer is to be kept for repetitions.
    pub(super) fn has_effect(self) -> bool {
        self.0.effect
    }

    /// This data is not for the log.
    pub(super) fn is_secret(self, data: &[u8]) -> bool {
        (self.0.secret)(data)
    }

    /// Name as in the specification.
    pub(super) fn name(self) -> &'static str {
        self.0.name
    }

    /// Runs it, if the session's privilege allows. The system interface needs no session: whoever gets
    /// at it owns the machine.
    pub(super) fn run(
        self,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Result<Vec<u8>, CompletionCode> {
        if self.0.channels == Channels::Lan && context.source == Source::System {
            return Err(CompletionCode::INVALID_COMMAND);
        }
        let allowed = match (self.0.access, &context.session) {
            (Access::Anyone | Access::V15Setup, _) => true,
            (Access::From(needed), Some((_, session))) => session.privilege >= needed,
            (Access::From(_), None) => context.source == Source::System,
        };
        if !allowed {
            return Err(CompletionCode::INSUFFICIENT_PRIVILEGE);
        }
        (self.0.handler)(context, data)
    }
}

/// `data` as exactly N bytes.
fn exactly<const N: usize>(data: &[u8]) -> Result<[u8; N], CompletionCode> {
    data.try_into().map_err(|_| CompletionCode::LENGTH_INVALID)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_each_command_once() {
        let mut seen = std::collections::BTreeSet::new();
        for entry in table() {
            assert!(seen.insert((entry.net_fn, entry.command)), "{}", entry.name);
            assert_eq!(entry.net_fn.0 & 1, 0);
        }
    }

    #[test]
    fn before_login_only_what_the_contract_names() {
        let named = |access| {
            let entries = table().filter(|entry| entry.access == access);
            let mut named: Vec<_> = entries.map(|entry| (entry.net_fn, entry.command)).collect();
            named.sort_unstable();
            named
        };
        assert_eq!(named(Access::Anyone), [0x37, 0x38, 0x54].map(|command| (NetFn::APP, command)));
        assert_eq!(named(Access::V15Setup), [0x39, 0x3A].map(|command| (NetFn::APP, command)));
    }

    #[test]
    fn session_commands_are_for_the_lan_only() {
        let lan = table().filter(|entry| entry.channels == Channels::Lan);
        let lan: Vec<_> = lan.map(|entry| entry.command).collect();
        assert_eq!(lan, [0x39, 0x3A, 0x3B, 0x3C, 0x48, 0x49, 0x55]);
    }
}
