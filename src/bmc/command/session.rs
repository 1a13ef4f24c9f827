//! Session commands (v2.0 sections 22.13 and 22.16–22.20).

use std::net::IpAddr;

use crate::bmc::command::channel::lan;
use crate::bmc::command::{
    Access, After, CALLBACK, Context, Entry, LAN_CHANNEL, Source, USER, exactly,
};
use crate::bmc::crypto::V15Key;
use crate::bmc::session::MAX_OPEN;
use crate::wire::code::{AuthType, CompletionCode, NetFn, Privilege};

#[rustfmt::skip]
pub(super) const TABLE: &[Entry] = &[
    Entry::reads(NetFn::APP, 0x38, Access::Anyone, "22.13", "Get Channel Authentication Capabilities", get_channel_authentication_capabilities),
    Entry::reads(NetFn::APP, 0x39, Access::V15Setup, "22.16", "Get Session Challenge", get_session_challenge).over_lan(),
    Entry::reads(NetFn::APP, 0x3A, Access::V15Setup, "22.17", "Activate Session", activate_session).over_lan(),
    Entry::reads(NetFn::APP, 0x3B, CALLBACK, "22.18", "Set Session Privilege Level", set_session_privilege_level).over_lan(),
    Entry::reads(NetFn::APP, 0x3C, CALLBACK, "22.19", "Close Session", close_session).over_lan(),
    Entry::reads(NetFn::APP, 0x3D, USER, "22.20", "Get Session Info", get_session_info),
];

/// Most that a field of six bits can count.
const SIX_BITS: u8 = 0x3F;

/// Get Channel Authentication Capabilities (section 22.13).
pub(super) fn get_channel_authentication_capabilities(
    context: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    let [channel, privilege] = exactly(data)?;
    lan(context, channel)?;
    let core = &context.core;
    let [callback, user, operator, administrator, _oem] = core.enabled_auth_types();
    let mut auth_types = match Privilege(privilege & 0x0F) {
        Privilege::CALLBACK => callback,
        Privilege::USER => user,
        Privilege::OPERATOR => operator,
        Privilege::ADMINISTRATOR => administrator,
        _ => return Err(CompletionCode::INVALID_FIELD),
    };
    // Messages and user level commands are always authenticated (bits 4 and 3 clear), and nobody
    // has an empty name (bits 1 and 0 clear).
    let named = core
        .store
        .users
        .iter()
        .any(|(_, user)| !user.name.is_empty() && core.highest(user).is_some());
    let k_g = core.k_g().is_some();
    let mut status = if named { 0x04 } else { 0 };
    let mut extended = 0;
    // Bit 7 of the request asks for what IPMI 2.0 has added.
    if channel & 0x80 != 0 {
        auth_types |= 0x80;
        status |= if k_g { 0x20 } else { 0 };
        extended = if core.v15.is_empty() { 0x02 } else { 0x03 };
    }
    Ok(vec![LAN_CHANNEL, auth_types, status, extended, 0, 0, 0, 0])
}

/// Get Session Challenge (section 22.16).
pub(super) fn get_session_challenge(
    context: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    const INVALID_NAME: CompletionCode = CompletionCode(0x81);
    const NO_NULL_NAME: CompletionCode = CompletionCode(0x82);
    let [auth_type, name @ ..] = exactly::<17>(data)?;
    let Source::Lan(peer) = context.source else { return Err(CompletionCode::INVALID_COMMAND) };
    let auth_type = AuthType(auth_type & 0x0F);
    let types = context.core.enabled_auth_types();
    if types.iter().all(|types| types & auth_type.bit() == 0) {
        return Err(CompletionCode::INVALID_FIELD);
    }
    let len = name.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let name = &name[..len];
    if name.is_empty() {
        return Err(NO_NULL_NAME);
    }
    let found = context.core.store.users.by_name(name);
    let found = found.filter(|(_, user)| context.core.highest(user).is_some());
    let key = found.and_then(|(id, user)| {
        let password = user.password.as_ref().filter(|_| !user.long_password)?;
        Some((id, V15Key::new(auth_type, password)?))
    });
    let Some((user, key)) = key else {
        let why = if found.is_some() { LONG_PASSWORD } else { "unknown or disabled" };
        let user = (found.map_or(0, |(id, _)| id), name);
        let what = format!("refused: {why}");
        context.core.login_refused(context.now, user, peer, &what);
        return Err(INVALID_NAME);
    };
    if context.core.is_locked_out(context.now, (user, name), peer) {
        return Err(INVALID_NAME);
    }
    let (id, string) = context.core.challenge(context.now, peer, user, key);
    Ok([&id.to_le_bytes()[..], &string].concat())
}

const LONG_PASSWORD: &str = "IPMI 1.5 cannot use a password of more than 16 bytes";

/// Activate Session (section 22.17), where it is not the answer to a challenge: outside a session,
/// or in one that is active.
pub(super) fn activate_session(
    _: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    const INVALID_SESSION_ID: CompletionCode = CompletionCode(0x85);
    let _: [u8; 22] = exactly(data)?;
    Err(INVALID_SESSION_ID)
}

/// Set Session Privilege Level (section 22.18).
pub(super) fn set_session_privilege_level(
    context: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    const EXCEEDS_LIMIT: CompletionCode = CompletionCode(0x81);
    let [wanted] = exactly(data)?;
    let Some((id, session)) = &mut context.session else {
        return Err(CompletionCode::INSUFFICIENT_PRIVILEGE);
    };
    match wanted & 0x0F {
        0 => {}
        2..=4 if Privilege(wanted & 0x0F) <= session.limit => {
            session.privilege = Privilege(wanted & 0x0F);
            if let Some(info) = context.core.open_sessions.get_mut(id) {
                info.privilege = session.privilege;
            }
        }
        2..=4 => return Err(EXCEEDS_LIMIT),
        _ => return Err(CompletionCode::INVALID_FIELD),
    }
    Ok(vec![session.privilege.0])
}

/// Close Session (section 22.19): by ID, or with ID 0 by session handle.
pub(super) fn close_session(
    context: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    const INVALID_HANDLE: CompletionCode = CompletionCode(0x88);
    let (id, handle) = match *data {
        [a, b, c, d] => (u32::from_le_bytes([a, b, c, d]), None),
        [0, 0, 0, 0, handle] => (0, Some(handle)),
        _ => return Err(CompletionCode::LENGTH_INVALID),
    };
    let Some((own, session)) = &context.session else {
        return Err(CompletionCode::INSUFFICIENT_PRIVILEGE);
    };
    let sessions = &context.core.open_sessions;
    let wanted = match handle {
        Some(handle) => sessions.iter().find(|(_, info)| info.handle == handle).map(|(id, _)| *id),
        None => Some(id).filter(|id| sessions.contains_key(id)),
    };
    // A stranger's session is an administrator's to close, and whether it exists his to know.
    if wanted != Some(*own) && session.privilege < Privilege::ADMINISTRATOR {
        return Err(CompletionCode::INSUFFICIENT_PRIVILEGE);
    }
    let Some(wanted) = wanted else {
        return Err(handle.map_or(CompletionCode::INVALID_SESSION_ID, |_| INVALID_HANDLE));
    };
    context.after = After::Close(wanted);
    Ok(Vec::new())
}

/// Get Session Info (section 22.20).
pub(super) fn get_session_info(
    context: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    let sessions = &context.core.open_sessions;
    let found = match *data {
        [0] => context.session.as_ref().and_then(|(id, _)| sessions.get(id)),
        // The Nth active one, by handle.
        [index @ 1..=0xFD] => {
            let mut all: Vec<_> = sessions.values().collect();
            all.sort_unstable_by_key(|info| info.handle);
            all.get(usize::from(index) - 1).copied()
        }
        [0xFE, handle] => {
            let found = sessions.values().find(|info| info.handle == handle);
            Some(found.ok_or(CompletionCode::NOT_PRESENT)?)
        }
        [0xFF, a, b, c, d] => {
            let found = sessions.get(&u32::from_le_bytes([a, b, c, d]));
            Some(found.ok_or(CompletionCode::NOT_PRESENT)?)
        }
        _ => return Err(CompletionCode::LENGTH_INVALID),
    };
    let possible = u8::try_from(MAX_OPEN).unwrap_or(SIX_BITS).min(SIX_BITS);
    let active = u8::try_from(sessions.len()).unwrap_or(SIX_BITS).min(SIX_BITS);
    let Some(info) = found else { return Ok(vec![0, possible, active]) };
    let protocol = u8::from(info.rmcp_plus) << 4;
    let mut response = vec![info.handle, possible, active, info.user, info.privilege.0];
    response.push(protocol | LAN_CHANNEL);
    // The field is made for IPv4; the console's MAC address is not ours to know.
    response.extend(match info.peer.ip().to_canonical() {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(_) => [0; 4],
    });
    response.extend([0; 6]);
    response.extend(info.peer.port().to_le_bytes());
    Ok(response)
}
