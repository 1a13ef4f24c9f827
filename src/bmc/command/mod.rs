//! Commands: one table, NetFn and command to privilege and handler.
//!
//! Handlers are plain functions of the BMC's state and the request data. They never wait: what
//! takes time is asked of the machine, and answered for from its last known state.

mod app;
mod chassis;
mod payload;

use std::time::Instant;

use crate::bmc::Core;
use crate::bmc::session::Open;
use crate::wire::code::{CompletionCode, NetFn, Privilege};
use crate::wire::message::Request;

/// The LAN channel (v2.0 section 6.3); the only one yet.
pub(super) const LAN_CHANNEL: u8 = 1;
/// "The channel this came in on."
const PRESENT_CHANNEL: u8 = 0x0E;

/// Who asks, and what about.
pub(super) struct Context<'a> {
    pub(super) now: Instant,
    pub(super) core: &'a mut Core,
    /// The session's ID and state; `None` before login.
    pub(super) session: Option<(u32, &'a mut Open)>,
    /// What to do after the response is sent.
    pub(super) after: After,
}

/// What to do after the response is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum After {
    #[default]
    Nothing,
    /// End this session.
    Close(u32),
}

type Handler = fn(&mut Context<'_>, &[u8]) -> Result<Vec<u8>, CompletionCode>;

/// When a command may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// Also before login.
    Anyone,
    /// In a session with at least this privilege, as of now.
    From(Privilege),
}

struct Entry {
    net_fn: NetFn,
    command: u8,
    access: Access,
    /// Running it twice is not the same as once: its answer is kept for repetitions.
    effect: bool,
    /// Name as in the specification, for the log.
    name: &'static str,
    handler: Handler,
}

const fn reads(
    net_fn: NetFn,
    command: u8,
    access: Access,
    name: &'static str,
    handler: Handler,
) -> Entry {
    Entry { net_fn, command, access, effect: false, name, handler }
}

const fn acts(
    net_fn: NetFn,
    command: u8,
    access: Access,
    name: &'static str,
    handler: Handler,
) -> Entry {
    Entry { net_fn, command, access, effect: true, name, handler }
}

const ADMINISTRATOR: Access = Access::From(Privilege::ADMINISTRATOR);
const OPERATOR: Access = Access::From(Privilege::OPERATOR);
const USER: Access = Access::From(Privilege::USER);
const CALLBACK: Access = Access::From(Privilege::CALLBACK);

/// Privileges as in v2.0 appendix G; the section of each command stands at its handler.
#[rustfmt::skip]
const TABLE: [Entry; 19] = [
    reads(NetFn::CHASSIS, 0x00, USER, "Get Chassis Capabilities", chassis::get_capabilities),
    reads(NetFn::CHASSIS, 0x01, USER, "Get Chassis Status", chassis::get_status),
    acts(NetFn::CHASSIS, 0x02, OPERATOR, "Chassis Control", chassis::control),
    acts(NetFn::CHASSIS, 0x08, OPERATOR, "Set System Boot Options", chassis::set_boot_options),
    reads(NetFn::CHASSIS, 0x09, OPERATOR, "Get System Boot Options", chassis::get_boot_options),
    reads(NetFn::APP, 0x01, USER, "Get Device ID", app::get_device_id),
    reads(NetFn::APP, 0x37, Access::Anyone, "Get System GUID", app::get_system_guid),
    reads(NetFn::APP, 0x38, Access::Anyone, "Get Channel Authentication Capabilities", app::get_channel_authentication_capabilities),
    reads(NetFn::APP, 0x3B, CALLBACK, "Set Session Privilege Level", app::set_session_privilege_level),
    reads(NetFn::APP, 0x3C, CALLBACK, "Close Session", app::close_session),
    reads(NetFn::APP, 0x42, USER, "Get Channel Info", app::get_channel_info),
    acts(NetFn::APP, 0x48, ADMINISTRATOR, "Activate Payload", payload::activate),
    acts(NetFn::APP, 0x49, ADMINISTRATOR, "Deactivate Payload", payload::deactivate),
    reads(NetFn::APP, 0x4A, USER, "Get Payload Activation Status", payload::get_activation_status),
    reads(NetFn::APP, 0x4B, USER, "Get Payload Instance Info", payload::get_instance_info),
    reads(NetFn::APP, 0x4E, USER, "Get Channel Payload Support", payload::get_channel_support),
    reads(NetFn::APP, 0x4F, USER, "Get Channel Payload Version", payload::get_channel_version),
    reads(NetFn::APP, 0x54, Access::Anyone, "Get Channel Cipher Suites", app::get_channel_cipher_suites),
    reads(NetFn::APP, 0x59, USER, "Get System Info Parameters", app::get_system_info_parameters),
];

/// A command that was looked up.
#[derive(Clone, Copy)]
pub(super) struct Command(&'static Entry);

impl Command {
    /// The command of a request. Unknown ones are C1h whatever the privilege: clients probe for
    /// extensions at every login and complain of anything else.
    pub(super) fn find(request: &Request<'_>) -> Result<Self, CompletionCode> {
        let entry = TABLE
            .iter()
            .find(|entry| entry.net_fn == request.net_fn && entry.command == request.command)
            .ok_or(CompletionCode::INVALID_COMMAND)?;
        if request.lun == 0 { Ok(Self(entry)) } else { Err(CompletionCode::INVALID_LUN) }
    }

    /// May be used before login.
    pub(super) fn is_for_anyone(self) -> bool {
        self.0.access == Access::Anyone
    }

    /// Its answer is to be kept for repetitions.
    pub(super) fn has_effect(self) -> bool {
        self.0.effect
    }

    /// Name as in the specification.
    pub(super) fn name(self) -> &'static str {
        self.0.name
    }

    /// Runs it, if the session's privilege allows.
    pub(super) fn run(
        self,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Result<Vec<u8>, CompletionCode> {
        let allowed = match (self.0.access, &context.session) {
            (Access::Anyone, _) => true,
            (Access::From(needed), Some((_, session))) => session.privilege >= needed,
            (Access::From(_), None) => false,
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

/// Refuses every channel but ours.
fn lan_channel(channel: u8) -> Result<(), CompletionCode> {
    match channel & 0x0F {
        LAN_CHANNEL | PRESENT_CHANNEL => Ok(()),
        _ => Err(CompletionCode::INVALID_FIELD),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_each_command_once() {
        for (index, entry) in TABLE.iter().enumerate() {
            let key = (entry.net_fn, entry.command);
            assert!(TABLE[..index].iter().all(|other| (other.net_fn, other.command) != key));
            assert_eq!(entry.net_fn.0 & 1, 0);
        }
    }

    #[test]
    fn before_login_only_what_the_contract_names() {
        let anyone: Vec<(NetFn, u8)> = TABLE
            .iter()
            .filter(|entry| entry.access == Access::Anyone)
            .map(|entry| (entry.net_fn, entry.command))
            .collect();
        assert_eq!(anyone, [(NetFn::APP, 0x37), (NetFn::APP, 0x38), (NetFn::APP, 0x54)]);
    }
}
