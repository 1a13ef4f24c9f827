//! Chassis commands (v2.0 chapter 28).

use crate::bmc::boot;
use crate::bmc::command::{Context, Entry, OPERATOR, USER, exactly};
use crate::bmc::event::Request;
use crate::machine::{self, Power, Refusal};
use crate::profile::document::Restore;
use crate::wire::code::{CompletionCode, NetFn};

#[rustfmt::skip]
pub(super) const TABLE: &[Entry] = &[
    Entry::reads(NetFn::CHASSIS, 0x00, USER, "28.1", "Get Chassis Capabilities", get_capabilities),
    Entry::reads(NetFn::CHASSIS, 0x01, USER, "28.2", "Get Chassis Status", get_status),
    Entry::acts(NetFn::CHASSIS, 0x02, OPERATOR, "28.3", "Chassis Control", control),
    Entry::acts(NetFn::CHASSIS, 0x08, OPERATOR, "28.12", "Set System Boot Options", set_boot_options),
    Entry::reads(NetFn::CHASSIS, 0x09, OPERATOR, "28.13", "Get System Boot Options", get_boot_options),
];

/// Get Chassis Capabilities (section 28.1): no switch is locked, all devices are at the BMC.
pub(super) fn get_capabilities(
    _: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    let [] = exactly(data)?;
    Ok(vec![0x00, 0x20, 0x20, 0x20, 0x20])
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
    let restore = match core.restore {
        Restore::AlwaysOff => 0b00,
        Restore::Previous => 0b01,
        Restore::AlwaysOn => 0b10,
    };
    let last_event = u8::from(core.started_by_ipmi) << 4 | fault << 3;
    Ok(vec![restore << 5 | fault << 3 | on, last_event, 0x00])
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
    let core = &mut context.core;
    core.machine.admit(request).map_err(|refusal| match refusal {
        Refusal::Busy => CompletionCode::NODE_BUSY,
        Refusal::NotInPresentState => CompletionCode::NOT_IN_PRESENT_STATE,
    })?;
    core.boot.countdown = None;
    core.requests.push_back(Request::Power(request));
    // The machine will say so itself; until then nobody may slip in a request that conflicts.
    let changes = match request {
        machine::Request::On => core.machine.power == Power::Off,
        machine::Request::Off | machine::Request::Soft => core.machine.power == Power::On,
        machine::Request::Cycle => true,
        machine::Request::Reset | machine::Request::Diag => false,
    };
    if changes {
        core.machine.operation = Some(request);
    }
    Ok(Vec::new())
}

/// Set System Boot Options (section 28.12).
pub(super) fn set_boot_options(
    context: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    let [selector, value @ ..] = data else { return Err(CompletionCode::LENGTH_INVALID) };
    let setter = context.session.as_ref().map_or(0, |(id, _)| *id);
    let core = &mut context.core;
    let holder = core.boot.set_in_progress_by.filter(|id| core.open_sessions.contains(id));
    match (selector & 0x7F, value) {
        // Only the "parameter valid" bit, which nothing depends on.
        (0 | 3 | 4 | 5, []) => {}
        (0, [state]) => match state & 3 {
            0 => core.boot.set_in_progress_by = None,
            // Parameters take effect as they are written, so there is nothing to commit.
            2 => {}
            1 if holder.is_none_or(|holder| holder == setter) => {
                core.boot.set_in_progress_by = Some(setter);
            }
            1 => return Err(CompletionCode::SET_IN_PROGRESS),
            _ => return Err(CompletionCode::INVALID_FIELD),
        },
        (3, [mask]) => core.boot.keep_valid = mask & 0x1F,
        (4, [mask, bits]) => {
            core.boot.acknowledged = core.boot.acknowledged & !mask | bits & mask;
        }
        (5, flags) => {
            core.boot.set_flags(context.now, exactly(flags)?);
            core.boot_changed();
        }
        (0 | 3 | 4, _) => return Err(CompletionCode::LENGTH_INVALID),
        _ => return Err(CompletionCode::PARAMETER_NOT_SUPPORTED),
    }
    Ok(Vec::new())
}

/// Get System Boot Options (section 28.13).
pub(super) fn get_boot_options(
    context: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    let [selector, _set, _block] = exactly(data)?;
    let parameter = selector & 0x7F;
    let boot = &context.core.boot;
    let mut response = vec![boot::PARAMETER_VERSION, parameter];
    match parameter {
        0 => {
            let sessions = &context.core.open_sessions;
            let held = boot.set_in_progress_by.is_some_and(|id| sessions.contains(&id));
            response.push(u8::from(held));
        }
        3 => response.push(boot.keep_valid),
        4 => response.extend([0x00, boot.acknowledged]),
        5 => response.extend(boot.flags),
        _ => return Err(CompletionCode::PARAMETER_NOT_SUPPORTED),
    }
    Ok(response)
}
