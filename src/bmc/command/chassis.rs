//! Chassis commands (v2.0 chapter 28).

use std::time::Duration;

use tracing::{info, warn};

use crate::bmc::boot;
use crate::bmc::command::{ADMINISTRATOR, Context, Entry, OPERATOR, USER, exactly};
use crate::bmc::event::Request;
use crate::bmc::store::chassis::{IDENTIFY, Identify};
use crate::bmc::story::last_event;
use crate::machine::{self, Power, Refusal};
use crate::profile::document::Restore;
use crate::wire::code::{CompletionCode, NetFn};

#[rustfmt::skip]
pub(super) const TABLE: &[Entry] = &[
    Entry::reads(NetFn::CHASSIS, 0x00, USER, "28.1", "Get Chassis Capabilities", get_capabilities),
    Entry::reads(NetFn::CHASSIS, 0x01, USER, "28.2", "Get Chassis Status", get_status),
    Entry::acts(NetFn::CHASSIS, 0x02, OPERATOR, "28.3", "Chassis Control", control),
    Entry::acts(NetFn::CHASSIS, 0x04, OPERATOR, "28.5", "Chassis Identify", identify),
    Entry::acts(NetFn::CHASSIS, 0x05, ADMINISTRATOR, "28.7", "Set Chassis Capabilities", set_capabilities),
    Entry::acts(NetFn::CHASSIS, 0x06, OPERATOR, "28.8", "Set Power Restore Policy", set_restore_policy),
    Entry::reads(NetFn::CHASSIS, 0x07, USER, "28.11", "Get System Restart Cause", get_restart_cause),
    Entry::acts(NetFn::CHASSIS, 0x08, OPERATOR, "28.12", "Set System Boot Options", set_boot_options),
    Entry::reads(NetFn::CHASSIS, 0x09, OPERATOR, "28.13", "Get System Boot Options", get_boot_options),
    Entry::acts(NetFn::CHASSIS, 0x0A, ADMINISTRATOR, "28.6", "Set Front Panel Enables", set_front_panel_enables),
    Entry::acts(NetFn::CHASSIS, 0x0B, ADMINISTRATOR, "28.9", "Set Power Cycle Interval", set_power_cycle_interval),
    Entry::reads(NetFn::CHASSIS, 0x0F, USER, "28.14", "Get POH Counter", get_poh_counter),
];

/// Get Chassis Capabilities (section 28.1): no switch is locked, all devices are at the BMC.
pub(super) fn get_capabilities(
    context: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    let [] = exactly(data)?;
    let capabilities = context.core.store.chassis.capabilities;
    Ok(capabilities.unwrap_or([0x00, 0x20, 0x20, 0x20, 0x20, 0x20]).to_vec())
}

/// Set Chassis Capabilities (section 28.7): remembered, and answered again.
fn set_capabilities(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let capabilities = match *data {
        [flags, fru, sdr, sel, management] => [flags, fru, sdr, sel, management, 0x20],
        [flags, fru, sdr, sel, management, bridge] => [flags, fru, sdr, sel, management, bridge],
        _ => return Err(CompletionCode::LENGTH_INVALID),
    };
    context.core.store.chassis.capabilities = Some(capabilities);
    context.core.changed = true;
    Ok(Vec::new())
}

/// Chassis Identify (section 28.5).
fn identify(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let (interval, force) = match *data {
        [] => (IDENTIFY, 0),
        [seconds] => (Duration::from_secs(seconds.into()), 0),
        [seconds, force] => (Duration::from_secs(seconds.into()), force),
        _ => return Err(CompletionCode::LENGTH_INVALID),
    };
    let (identify, words) = match (force & 1 != 0, interval.is_zero()) {
        (true, _) => (Identify::On, "on".to_owned()),
        (false, true) => (Identify::Off, "off".to_owned()),
        (false, false) => {
            (Identify::Until(context.now + interval), format!("on for {} s", interval.as_secs()))
        }
    };
    context.core.store.chassis.identify = identify;
    info!("the chassis identifies itself: {words}");
    Ok(Vec::new())
}

/// Set Power Restore Policy (section 28.8).
fn set_restore_policy(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    /// Always off, previous state, always on.
    const SUPPORTED: u8 = 0x07;
    let [policy] = exactly(data)?;
    let restore = match policy & 0x07 {
        0 => Restore::AlwaysOff,
        1 => Restore::Previous,
        2 => Restore::AlwaysOn,
        // The console only wants to know what there is.
        3 => return Ok(vec![SUPPORTED]),
        _ => return Err(CompletionCode::INVALID_FIELD),
    };
    context.core.store.chassis.restore = Some(restore);
    context.core.changed = true;
    Ok(vec![SUPPORTED])
}

/// Get System Restart Cause (section 28.11).
fn get_restart_cause(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [] = exactly(data)?;
    let restart = context.core.story.restart;
    Ok(vec![restart.cause, restart.channel])
}

/// Set Front Panel Enables (section 28.6). There is no front panel, and so nobody to disobey.
fn set_front_panel_enables(
    context: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    let [disabled] = exactly(data)?;
    context.core.store.chassis.disabled_buttons = disabled & 0x0F;
    context.core.changed = true;
    Ok(Vec::new())
}

/// Set Power Cycle Interval (section 28.9).
fn set_power_cycle_interval(
    context: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    let [seconds] = exactly(data)?;
    context.core.store.chassis.cycle_interval_s = Some(seconds);
    context.core.changed = true;
    context.core.requests.push_back(Request::CycleInterval(Duration::from_secs(seconds.into())));
    Ok(Vec::new())
}

/// Get POH Counter (section 28.14): power-on hours.
fn get_poh_counter(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    const MINUTES_PER_COUNT: u8 = 60;
    const COUNT_S: u64 = 3600;
    let [] = exactly(data)?;
    let hours = context.core.store.chassis.powered_s(context.now) / COUNT_S;
    let mut response = vec![MINUTES_PER_COUNT];
    response.extend(u32::try_from(hours).unwrap_or(u32::MAX).to_le_bytes());
    Ok(response)
}

/// Get Chassis Status (section 28.2).
pub(super) fn get_status(
    context: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    let [] = exactly(data)?;
    let core = &context.core;
    let on = u8::from(core.machine.power == Power::On);
    let fault = u8::from(core.machine.fault);
    let restore = match core.restore_policy() {
        Restore::AlwaysOff => 0b00,
        Restore::Previous => 0b01,
        Restore::AlwaysOn => 0b10,
    };
    let fault_event = if core.machine.fault { last_event::POWER_FAULT } else { 0 };
    let last_event = core.store.chassis.last_event | fault_event;
    // Bit 6: identify can be told; 5 and 4: it is off, for a time, on.
    let chassis = &core.store.chassis;
    let identify = match chassis.identify(context.now) {
        Identify::Off => 0b00,
        Identify::Until(_) => 0b01,
        Identify::On => 0b10,
    };
    let front_panel = 0xF0 | chassis.disabled_buttons;
    Ok(vec![restore << 5 | fault << 3 | on, last_event, 0x40 | identify << 4, front_panel])
}

/// Chassis Control (section 28.3).
pub(super) fn control(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [operation] = exactly(data)?;
    let request = match operation & 0x0F {
        0 => machine::Request::Off,
        1 => machine::Request::On,
        2 => machine::Request::Cycle,
        3 => machine::Request::Reset,
        4 => machine::Request::Diag,
        5 => machine::Request::Soft,
        _ => return Err(CompletionCode::INVALID_FIELD),
    };
    let origin = context.origin();
    let core = &mut context.core;
    core.promised().admit(request).map_err(|refusal| match refusal {
        Refusal::Busy => CompletionCode::NODE_BUSY,
        Refusal::NotInPresentState => CompletionCode::NOT_IN_PRESENT_STATE,
    })?;
    core.store.boot.restart_countdown(context.now);
    core.unanswered.push_back((request, origin.clone()));
    core.requests.push_back(Request::Power(request, origin));
    Ok(Vec::new())
}

/// Set System Boot Options (section 28.12).
pub(super) fn set_boot_options(
    context: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    let [selector, value @ ..] = data else { return Err(CompletionCode::LENGTH_INVALID) };
    let setter = context.session.as_ref().map_or(0, |(id, _)| *id);
    let origin = context.origin();
    let core = &mut context.core;
    let holder =
        core.store.boot.set_in_progress_by.filter(|id| core.open_sessions.contains_key(id));
    match (selector & 0x7F, value) {
        // Only the "parameter valid" bit, which nothing depends on.
        (0..=7, []) => {}
        (0, [state]) => match state & 3 {
            0 => core.store.boot.set_in_progress_by = None,
            // Parameters take effect as they are written, so there is nothing to commit.
            2 => {}
            1 if holder.is_none_or(|holder| holder == setter) => {
                core.store.boot.set_in_progress_by = Some(setter);
            }
            1 => return Err(CompletionCode::SET_IN_PROGRESS),
            _ => return Err(CompletionCode::INVALID_FIELD),
        },
        (1, [selector]) => core.store.boot.service_partition[0] = *selector,
        (2, [scan]) => core.store.boot.service_partition[1] = scan & 0b11,
        (3, [mask]) => {
            core.store.boot.set_keep_valid(context.now, *mask);
            core.changed = true;
        }
        (4, [mask, bits]) => {
            core.store.boot.acknowledged = core.store.boot.acknowledged & !mask | bits & mask;
        }
        (5, flags) => {
            let flags: [u8; 5] = exactly(flags)?;
            if flags[0] & boot::EFI != 0 && !core.uefi {
                warn!("a UEFI boot was asked for, and the machine's firmware is BIOS");
            }
            let before = core.store.boot.to_override();
            core.store.boot.set_flags(context.now, flags);
            core.boot_changed();
            core.log_boot_set(context.now, before, &origin.to_string());
        }
        (6, initiator) => core.store.boot.initiator = exactly(initiator)?,
        (7, [block, bytes @ ..]) => {
            if bytes.len() > boot::MAILBOX_BLOCK {
                return Err(CompletionCode::LENGTH_INVALID);
            }
            let block = core.store.boot.mailbox.get_mut(usize::from(*block));
            let block = block.ok_or(CompletionCode::OUT_OF_RANGE)?;
            block[..bytes.len()].copy_from_slice(bytes);
        }
        (0..=4, _) => return Err(CompletionCode::LENGTH_INVALID),
        _ => return Err(CompletionCode::PARAMETER_NOT_SUPPORTED),
    }
    Ok(Vec::new())
}

/// Get System Boot Options (section 28.13).
pub(super) fn get_boot_options(
    context: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    let [selector, set, _block] = exactly(data)?;
    let parameter = selector & 0x7F;
    let boot = &context.core.store.boot;
    let mut response = vec![boot::PARAMETER_VERSION, parameter];
    match parameter {
        0 => {
            let sessions = &context.core.open_sessions;
            let held = boot.set_in_progress_by.is_some_and(|id| sessions.contains_key(&id));
            response.push(u8::from(held));
        }
        1 | 2 => response.push(boot.service_partition[usize::from(parameter) - 1]),
        3 => response.push(boot.keep_valid()),
        4 => response.extend([0x00, boot.acknowledged]),
        5 => response.extend(boot.flags()),
        6 => response.extend(boot.initiator),
        7 => {
            let block = boot.mailbox.get(usize::from(set)).ok_or(CompletionCode::OUT_OF_RANGE)?;
            response.push(set);
            response.extend(block);
        }
        _ => return Err(CompletionCode::PARAMETER_NOT_SUPPORTED),
    }
    Ok(response)
}
