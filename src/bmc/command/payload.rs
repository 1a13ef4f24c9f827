//! Payload commands (v2.0 chapter 24), for the one payload there is beside IPMI: SOL, instance 1.

use crate::bmc::command::channel::lan;
use crate::bmc::command::{Context, Entry, USER, exactly};
use crate::bmc::session::{Open, Protection};
use crate::bmc::sol::{MAX_INBOUND, MAX_OUTBOUND};
use crate::wire::code::{CompletionCode, NetFn, PayloadType};

const INSTANCE: u8 = 1;

#[rustfmt::skip]
pub(super) const TABLE: &[Entry] = &[
    Entry::acts(NetFn::APP, 0x48, USER, "24.1", "Activate Payload", activate).over_lan(),
    Entry::acts(NetFn::APP, 0x49, USER, "24.2", "Deactivate Payload", deactivate).over_lan(),
    Entry::reads(NetFn::APP, 0x4A, USER, "24.4", "Get Payload Activation Status", get_activation_status),
    Entry::reads(NetFn::APP, 0x4B, USER, "24.5", "Get Payload Instance Info", get_instance_info),
    Entry::reads(NetFn::APP, 0x4E, USER, "24.8", "Get Channel Payload Support", get_channel_support),
    Entry::reads(NetFn::APP, 0x4F, USER, "24.9", "Get Channel Payload Version", get_channel_version),
];

/// Activate/Deactivate Payload: already active, or already deactivated.
const ALREADY: CompletionCode = CompletionCode(0x80);
/// Activate Payload: the payload type is disabled.
const DISABLED: CompletionCode = CompletionCode(0x81);
/// Activate Payload: the payload cannot be activated with encryption.
const NO_ENCRYPTION: CompletionCode = CompletionCode(0x83);
/// Activate Payload: the payload cannot be activated without encryption.
const NEEDS_ENCRYPTION: CompletionCode = CompletionCode(0x84);

fn is_sol(payload_type: u8) -> Result<(), CompletionCode> {
    if PayloadType(payload_type & 0x3F) == PayloadType::SOL {
        Ok(())
    } else {
        Err(CompletionCode::INVALID_FIELD)
    }
}

fn is_sol_instance(payload_type: u8, instance: u8) -> Result<(), CompletionCode> {
    is_sol(payload_type)?;
    if instance & 0x0F == INSTANCE { Ok(()) } else { Err(CompletionCode::INVALID_FIELD) }
}

/// The session of somebody who may have SOL (parameter 2 of SOL's configuration, section 26.3).
fn admitted<'a>(context: &'a Context<'_>) -> Result<(u32, &'a Open), CompletionCode> {
    match &context.session {
        Some((id, session)) if context.core.store.sol.admits(session.privilege) => {
            Ok((*id, session))
        }
        _ => Err(CompletionCode::INSUFFICIENT_PRIVILEGE),
    }
}

/// Activate Payload (section 24.1).
pub(super) fn activate(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [payload_type, instance, auxiliary, _, _, _] = exactly(data)?;
    let (id, session) = admitted(context)?;
    is_sol_instance(payload_type, instance)?;
    let Protection::V20(keys) = &session.protection else {
        return Err(CompletionCode::NOT_IN_PRESENT_STATE);
    };
    if !context.core.store.sol.enabled {
        return Err(DISABLED);
    }
    if !context.core.store.users.get(session.user).is_some_and(|user| user.sol) {
        return Err(CompletionCode::INSUFFICIENT_PRIVILEGE);
    }
    if context.core.sol.owner().is_some() {
        return Err(ALREADY);
    }
    // Bits 7 and 6. It is authenticated as the session is, and never less.
    let (encrypted, authenticated) = (auxiliary & 0x80 != 0, auxiliary & 0x40 != 0);
    let sol = &context.core.store.sol;
    if sol.force_encryption && !(keys.encrypts() && encrypted)
        || sol.force_authentication && !keys.authenticates()
        || keys.authenticates() && !authenticated
    {
        return Err(NEEDS_ENCRYPTION);
    }
    if encrypted && !keys.encrypts() || authenticated && !keys.authenticates() {
        return Err(NO_ENCRYPTION);
    }
    let tuning = sol.tuning();
    context.core.sol.activate(context.now, id, tuning, context.core.sol_replay);
    context.core.sol.encrypt(encrypted);
    let mut response = vec![0; 4];
    response.extend(MAX_INBOUND.to_le_bytes());
    response.extend(MAX_OUTBOUND.to_le_bytes());
    response.extend(context.core.advertised_port.to_le_bytes());
    response.extend([0xFF, 0xFF]);
    Ok(response)
}

/// Deactivate Payload (section 24.2). Any session may free SOL for itself.
pub(super) fn deactivate(
    context: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    let [payload_type, instance, _, _, _, _] = exactly(data)?;
    let (id, _) = admitted(context)?;
    is_sol_instance(payload_type, instance)?;
    if context.core.sol.owner().is_none() {
        return Err(ALREADY);
    }
    context.core.sol.deactivate(id);
    Ok(Vec::new())
}

/// Get Payload Activation Status (section 24.4).
pub(super) fn get_activation_status(
    context: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    let [payload_type] = exactly(data)?;
    is_sol(payload_type)?;
    Ok(vec![INSTANCE, u8::from(context.core.sol.owner().is_some()), 0])
}

/// Get Payload Instance Info (section 24.5). pyghmi keeps its console alive by finding its own
/// Managed System Session ID here.
pub(super) fn get_instance_info(
    context: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    let [payload_type, instance] = exactly(data)?;
    is_sol_instance(payload_type, instance)?;
    let mut response = context.core.sol.owner().unwrap_or(0).to_le_bytes().to_vec();
    response.extend([0; 8]);
    Ok(response)
}

/// Get Channel Payload Support (section 24.8): IPMI and SOL, and the four set-up payloads with
/// their answers.
pub(super) fn get_channel_support(
    context: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    let [channel] = exactly(data)?;
    lan(context, channel)?;
    Ok(vec![0x03, 0x00, 0x3F, 0x00, 0x00, 0x00, 0x00, 0x00])
}

/// Get Channel Payload Version (section 24.9): 1.0 of everything.
pub(super) fn get_channel_version(
    context: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    const NOT_AVAILABLE: CompletionCode = CompletionCode(0x80);
    let [channel, payload_type] = exactly(data)?;
    lan(context, channel)?;
    match payload_type & 0x3F {
        0x00 | 0x01 | 0x10..=0x15 => Ok(vec![0x10]),
        _ => Err(NOT_AVAILABLE),
    }
}
