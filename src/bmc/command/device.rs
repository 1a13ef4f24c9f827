//! Global commands (v2.0 chapter 20) and the BMC's own switches (chapter 22).

use crate::bmc::command::channel::{Channel, channel};
use crate::bmc::command::{ADMINISTRATOR, After, Context, Entry, OPERATOR, Source, USER, exactly};
use crate::bmc::in_band::enable;
use crate::machine::Power;
use crate::wire::code::{CompletionCode, NetFn};

#[rustfmt::skip]
pub(super) const TABLE: &[Entry] = &[
    Entry::acts(NetFn::APP, 0x02, ADMINISTRATOR, "20.2", "Cold Reset", cold_reset),
    Entry::acts(NetFn::APP, 0x03, ADMINISTRATOR, "20.3", "Warm Reset", warm_reset),
    Entry::reads(NetFn::APP, 0x04, USER, "20.4", "Get Self Test Results", get_self_test_results),
    Entry::acts(NetFn::APP, 0x06, ADMINISTRATOR, "20.6", "Set ACPI Power State", set_acpi_power_state),
    Entry::reads(NetFn::APP, 0x07, USER, "20.7", "Get ACPI Power State", get_acpi_power_state),
    Entry::reads(NetFn::APP, 0x08, USER, "20.8", "Get Device GUID", get_device_guid),
    Entry::acts(NetFn::APP, 0x2E, ADMINISTRATOR, "22.1", "Set BMC Global Enables", set_global_enables),
    Entry::reads(NetFn::APP, 0x2F, USER, "22.2", "Get BMC Global Enables", get_global_enables),
    Entry::acts(NetFn::APP, 0x30, ADMINISTRATOR, "22.3", "Clear Message Flags", clear_message_flags),
    Entry::reads(NetFn::APP, 0x31, ADMINISTRATOR, "22.4", "Get Message Flags", get_message_flags),
    Entry::reads(NetFn::APP, 0x33, ADMINISTRATOR, "22.6", "Get Message", get_message),
    Entry::acts(NetFn::APP, 0x34, USER, "22.7", "Send Message", send_message).secret(),
    Entry::reads(NetFn::APP, 0x35, ADMINISTRATOR, "22.8", "Read Event Message Buffer", read_event_message_buffer),
    Entry::reads(NetFn::APP, 0x36, OPERATOR, "22.9", "Get BT Interface Capabilities", get_bt_interface_capabilities),
];

/// Cold Reset (section 20.2): all sessions end; the machine runs on.
fn cold_reset(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [] = exactly(data)?;
    context.after = After::Reset { spared: None };
    Ok(Vec::new())
}

/// Warm Reset (section 20.3): the same, but for the session that asked: clients close it then, and
/// take it for a failure if nobody answers.
fn warm_reset(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [] = exactly(data)?;
    context.after = After::Reset { spared: context.session.as_ref().map(|(id, _)| *id) };
    Ok(Vec::new())
}

/// Get Self Test Results (section 20.4): no error.
fn get_self_test_results(_: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [] = exactly(data)?;
    Ok(vec![0x55, 0x00])
}

/// Set ACPI Power State (section 20.6): taken note of by nobody, since the BMC sees the state itself.
fn set_acpi_power_state(_: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [_system, _device] = exactly(data)?;
    Err(CompletionCode::NOT_IN_PRESENT_STATE)
}

/// Get ACPI Power State (section 20.7): S0 or S5, D0 or D3.
fn get_acpi_power_state(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [] = exactly(data)?;
    Ok(if context.core.machine.power == Power::On { vec![0x00, 0x00] } else { vec![0x05, 0x03] })
}

/// Get Device GUID (section 20.8): the BMC is not a device of its own.
fn get_device_guid(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [] = exactly(data)?;
    Ok(context.core.guid.to_vec())
}

/// BMC global enables: system event logging.
const SEL_ENABLED: u8 = 0x08;

/// Set BMC Global Enables (section 22.1). Those of the system interface are its own to set.
fn set_global_enables(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [enables] = exactly(data)?;
    if enables & 0xF0 != 0 {
        return Err(CompletionCode::INVALID_FIELD);
    }
    let core = &mut context.core;
    let sel_disabled = enables & SEL_ENABLED == 0;
    core.changed |= core.store.device.sel_disabled != sel_disabled;
    core.store.device.sel_disabled = sel_disabled;
    if context.source == Source::System {
        core.messages.enables = enables & enable::ALL;
    }
    Ok(Vec::new())
}

/// Get BMC Global Enables (section 22.2).
fn get_global_enables(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [] = exactly(data)?;
    let core = &context.core;
    let sel = if core.store.device.sel_disabled { 0 } else { SEL_ENABLED };
    Ok(vec![sel | core.messages.enables])
}

/// Clear Message Flags (section 22.3): the system software's.
fn clear_message_flags(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [flags] = exactly(data)?;
    if context.source == Source::System {
        context.core.clear_message_flags(flags);
    }
    Ok(Vec::new())
}

/// Get Message Flags (section 22.4).
fn get_message_flags(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [] = exactly(data)?;
    Ok(vec![context.core.message_flags()])
}

/// Get Message (section 22.6): the receive queue is empty, as nobody can put anything there.
fn get_message(_: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    const QUEUE_EMPTY: CompletionCode = CompletionCode(0x80);
    let [] = exactly(data)?;
    Err(QUEUE_EMPTY)
}

/// Send Message (section 22.7): no channel leads on to other controllers, and no console has asked for
/// messages.
fn send_message(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    const INVALID_SESSION_HANDLE: CompletionCode = CompletionCode(0x80);
    let [number, _message @ ..] = data else { return Err(CompletionCode::LENGTH_INVALID) };
    let to_console = channel(context, *number)? == Channel::Lan;
    Err(match context.source {
        Source::System if to_console => INVALID_SESSION_HANDLE,
        _ => CompletionCode::INVALID_FIELD,
    })
}

/// Read Event Message Buffer (section 22.8): it belongs to the system's software.
fn read_event_message_buffer(
    context: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    const EMPTY: CompletionCode = CompletionCode(0x80);
    let [] = exactly(data)?;
    if context.source != Source::System {
        return Err(EMPTY);
    }
    Ok(context.core.messages.event.take().ok_or(EMPTY)?.to_vec())
}

/// Get BT Interface Capabilities (section 22.9): there is no BT interface.
fn get_bt_interface_capabilities(
    _: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    let [] = exactly(data)?;
    Err(CompletionCode::INVALID_COMMAND)
}
