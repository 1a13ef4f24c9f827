//! Channel commands (v2.0 sections 22.22–22.25), and those of payload access (24.3, 24.6, 24.7).

use tracing::warn;

use crate::bmc::command::users::{change, user_id};
use crate::bmc::command::{
    ADMINISTRATOR, Context, Entry, LAN_CHANNEL, OPERATOR, PRESENT_CHANNEL, SYSTEM_CHANNEL, Source,
    USER, exactly,
};
use crate::bmc::session::Protection;
use crate::bmc::store::channel::Access;
use crate::value::BmcKey;
use crate::wire::code::{CompletionCode, NetFn, PayloadType, Privilege};

#[rustfmt::skip]
pub(super) const TABLE: &[Entry] = &[
    Entry::acts(NetFn::APP, 0x40, ADMINISTRATOR, "22.22", "Set Channel Access", set_access),
    Entry::reads(NetFn::APP, 0x41, USER, "22.23", "Get Channel Access", get_access),
    Entry::reads(NetFn::APP, 0x42, USER, "22.24", "Get Channel Info", get_info),
    Entry::acts(NetFn::APP, 0x4C, ADMINISTRATOR, "24.6", "Set User Payload Access", set_user_payload_access),
    Entry::reads(NetFn::APP, 0x4D, OPERATOR, "24.7", "Get User Payload Access", get_user_payload_access),
    Entry::acts(NetFn::APP, 0x55, USER, "24.3", "Suspend/Resume Payload Encryption", suspend_or_resume_encryption).over_lan(),
    Entry::acts(NetFn::APP, 0x56, ADMINISTRATOR, "22.25", "Set Channel Security Keys", set_security_keys).secret(),
];

/// Channel access commands: not for this channel, which has no sessions.
const SESSIONLESS: CompletionCode = CompletionCode(0x82);
/// Set Channel Access: access mode not supported.
const MODE_NOT_SUPPORTED: CompletionCode = CompletionCode(0x83);

/// A channel that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    Lan,
    System,
}

/// The channel whose number is in the lower four bits.
pub(super) fn channel(context: &Context<'_>, byte: u8) -> Result<Channel, CompletionCode> {
    let number = match byte & 0x0F {
        PRESENT_CHANNEL => context.source.channel(),
        number => number,
    };
    match number {
        LAN_CHANNEL => Ok(Channel::Lan),
        SYSTEM_CHANNEL => Ok(Channel::System),
        _ => Err(CompletionCode::INVALID_FIELD),
    }
}

/// Refuses every channel but the LAN's.
pub(super) fn lan(context: &Context<'_>, byte: u8) -> Result<(), CompletionCode> {
    match channel(context, byte)? {
        Channel::Lan => Ok(()),
        Channel::System => Err(CompletionCode::INVALID_FIELD),
    }
}

/// Set Channel Access (section 22.22).
pub(super) fn set_access(
    context: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    let [number, access, limit] = exactly(data)?;
    if channel(context, number)? == Channel::System {
        return Err(SESSIONLESS);
    }
    // Upper two bits: leave as it is, set what is saved, set what holds now.
    let (mode_target, limit_target) = (access >> 6, limit >> 6);
    let (mode, limit) = (access & 0x07, limit & 0x0F);
    if mode_target == 0b11 || limit_target == 0b11 {
        return Err(CompletionCode::INVALID_FIELD);
    }
    if mode_target != 0 {
        // Disabled, or before boot only: nobody could take that back over the LAN.
        if !matches!(mode, 2 | 3) {
            return Err(MODE_NOT_SUPPORTED);
        }
        // Without authentication for some messages or for users.
        if access & 0x18 != 0 {
            return Err(CompletionCode::INVALID_FIELD);
        }
    }
    if limit_target != 0 && !(1..=4).contains(&limit) {
        return Err(CompletionCode::INVALID_FIELD);
    }
    let over_lan = matches!(context.source, Source::Lan(_));
    if limit_target != 0 && limit < Privilege::ADMINISTRATOR.0 && over_lan {
        warn!("refused: no administrator could ever log in again");
        return Err(CompletionCode::NOT_IN_PRESENT_STATE);
    }
    let settings = &mut context.core.store.channel;
    let merged = |old: Access, target: u8| {
        let mut new = old;
        if mode_target == target {
            new.mode = mode;
            new.alerting_disabled = access & 0x20 != 0;
        }
        if limit_target == target {
            new.limit = limit;
        }
        new
    };
    let (saved, volatile) = (merged(settings.saved(), 0b01), merged(settings.volatile(), 0b10));
    context.core.changed |= saved != settings.saved();
    settings.set(saved, volatile);
    Ok(Vec::new())
}

/// Get Channel Access (section 22.23).
pub(super) fn get_access(
    context: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    let [number, which] = exactly(data)?;
    if channel(context, number)? == Channel::System {
        return Err(SESSIONLESS);
    }
    let access = match which >> 6 {
        0b01 => context.core.store.channel.saved(),
        0b10 => context.core.store.channel.volatile(),
        _ => return Err(CompletionCode::INVALID_FIELD),
    };
    Ok(vec![u8::from(access.alerting_disabled) << 5 | access.mode, access.limit])
}

/// Get Channel Info (section 22.24).
pub(super) fn get_info(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    /// The IPMI forum's number, as protocol vendor.
    const FORUM: [u8; 3] = [0xF2, 0x1B, 0x00];
    let [number] = exactly(data)?;
    let head = match channel(context, number)? {
        // 802.3 LAN, IPMB-1.0 protocol, multi-session.
        Channel::Lan => {
            let active = context.core.open_sessions.len().min(0x3F);
            [LAN_CHANNEL, 0x04, 0x01, 0x80 | u8::try_from(active).unwrap_or(0x3F)]
        }
        // System interface, KCS protocol, no sessions.
        Channel::System => [SYSTEM_CHANNEL, 0x0C, 0x05, 0x00],
    };
    // No interrupts of the system interface are told of.
    let auxiliary = if head[0] == SYSTEM_CHANNEL { [0xFF, 0xFF] } else { [0, 0] };
    Ok([&head[..], &FORUM, &auxiliary].concat())
}

/// Set User Payload Access (section 24.6).
pub(super) fn set_user_payload_access(
    context: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    let [number, user, standard, _, _, _] = exactly(data)?;
    lan(context, number)?;
    let id = user_id(user)?;
    let enable = match user >> 6 {
        0b00 => true,
        0b01 => false,
        _ => return Err(CompletionCode::INVALID_FIELD),
    };
    // Bits name the payloads to change; SOL is the one that there is.
    if standard & 0x02 != 0 {
        change(context, id, |user| user.sol = enable)?;
    }
    Ok(Vec::new())
}

/// Get User Payload Access (section 24.7).
pub(super) fn get_user_payload_access(
    context: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    let [number, user] = exactly(data)?;
    lan(context, number)?;
    let id = user_id(user)?;
    let sol = context.core.store.users.get(id).is_some_and(|user| user.sol);
    Ok(vec![u8::from(sol) << 1, 0, 0, 0])
}

/// Suspend/Resume Payload Encryption (section 24.3).
pub(super) fn suspend_or_resume_encryption(
    context: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    const NOT_FOR_THIS_PAYLOAD: CompletionCode = CompletionCode(0x80);
    const NOT_ALLOWED: CompletionCode = CompletionCode(0x81);
    const NO_ENCRYPTION: CompletionCode = CompletionCode(0x82);
    const NOT_ACTIVE: CompletionCode = CompletionCode(0x83);
    let [payload_type, instance, operation] = exactly(data)?;
    match PayloadType(payload_type & 0x3F) {
        PayloadType::SOL if instance & 0x0F == 1 => {}
        PayloadType::IPMI => return Err(NOT_FOR_THIS_PAYLOAD),
        _ => return Err(CompletionCode::INVALID_FIELD),
    }
    let owner = context.core.sol.owner();
    let Some((_, session)) = context.session.as_ref().filter(|(id, _)| owner == Some(*id)) else {
        return Err(NOT_ACTIVE);
    };
    if !matches!(&session.protection, Protection::V20(keys) if keys.encrypts()) {
        return Err(NO_ENCRYPTION);
    }
    let encrypted = match operation & 0x1F {
        0 if context.core.store.sol.force_encryption => return Err(NOT_ALLOWED),
        0 => false,
        1 => true,
        // An initialization vector to renew is RC4's alone.
        2 => return Err(NOT_FOR_THIS_PAYLOAD),
        _ => return Err(CompletionCode::INVALID_FIELD),
    };
    context.core.sol.encrypt(encrypted);
    Ok(Vec::new())
}

/// Set Channel Security Keys (section 22.25).
pub(super) fn set_security_keys(
    context: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    const TOO_SHORT: CompletionCode = CompletionCode(0x81);
    const TOO_LONG: CompletionCode = CompletionCode(0x82);
    const K_R_NOT_USED: CompletionCode = CompletionCode(0x84);
    /// Lock status.
    const NOT_LOCKABLE: u8 = 0b00;
    let [number, operation, key_id, key @ ..] = data else {
        return Err(CompletionCode::LENGTH_INVALID);
    };
    lan(context, *number)?;
    match key_id {
        // Random numbers come from the kernel's entropy, not from a key.
        0 => return Err(K_R_NOT_USED),
        1 => {}
        _ => return Err(CompletionCode::INVALID_FIELD),
    }
    let core = &mut *context.core;
    match (operation & 0b11, key) {
        (0, []) => {
            let key = core.k_g().map_or([0; BmcKey::LEN], |key| *key.expose());
            Ok([&[NOT_LOCKABLE][..], &key].concat())
        }
        (0, _) => Err(CompletionCode::LENGTH_INVALID),
        (1, key) => {
            let key: [u8; BmcKey::LEN] = key
                .try_into()
                .map_err(|_| if key.len() < BmcKey::LEN { TOO_SHORT } else { TOO_LONG })?;
            // All zeros: none, whatever the profile says.
            let key = Some(BmcKey::new(key));
            core.changed |= core.store.k_g != key;
            core.store.k_g = key;
            Ok(vec![NOT_LOCKABLE])
        }
        // K_G cannot be locked: an administrator must always be able to set it.
        _ => Err(CompletionCode::INVALID_FIELD),
    }
}
