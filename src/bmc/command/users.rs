//! User commands (v2.0 sections 22.26–22.30).

use subtle::ConstantTimeEq;
use tracing::warn;

use crate::bmc::command::channel::{Channel, channel};
use crate::bmc::command::{ADMINISTRATOR, After, Context, Entry, OPERATOR, exactly};
use crate::bmc::store::users::{ANONYMOUS, Access, LastAdministrator, MAX_NAME_LEN, SLOTS, User};
use crate::value::Secret;
use crate::wire::code::{CompletionCode, NetFn};

#[rustfmt::skip]
pub(super) const TABLE: &[Entry] = &[
    Entry::acts(NetFn::APP, 0x43, ADMINISTRATOR, "22.26", "Set User Access", set_access),
    Entry::reads(NetFn::APP, 0x44, OPERATOR, "22.27", "Get User Access", get_access),
    Entry::acts(NetFn::APP, 0x45, ADMINISTRATOR, "22.28", "Set User Name", set_name),
    Entry::reads(NetFn::APP, 0x46, OPERATOR, "22.29", "Get User Name", get_name),
    Entry::acts(NetFn::APP, 0x47, ADMINISTRATOR, "22.30", "Set User Password", set_password).secret(),
];

/// "No access" as privilege limit (table 22-32).
const NO_ACCESS: u8 = 0x0F;
/// Set User Password: wrong password.
const WRONG_PASSWORD: CompletionCode = CompletionCode(0x80);
/// Set User Password: the password was stored with the other size.
const WRONG_SIZE: CompletionCode = CompletionCode(0x81);

/// The user ID in the lower six bits.
pub(super) fn user_id(byte: u8) -> Result<u8, CompletionCode> {
    match byte & 0x3F {
        id @ 1..=SLOTS => Ok(id),
        _ => Err(CompletionCode::INVALID_FIELD),
    }
}

fn get(context: &Context<'_>, id: u8) -> Result<User, CompletionCode> {
    context.core.store.users.get(id).cloned().ok_or(CompletionCode::INVALID_FIELD)
}

/// Makes a change that saves itself, unless it locked everybody out.
pub(super) fn change(
    context: &mut Context<'_>,
    id: u8,
    make: impl FnOnce(&mut User),
) -> Result<(), CompletionCode> {
    let before = get(context, id)?;
    let users = &mut context.core.store.users;
    let changed = users.change(id, make).map_err(|LastAdministrator| {
        warn!(user = id, "refused: it is the last administrator who can log in");
        CompletionCode::NOT_IN_PRESENT_STATE
    })?;
    let now = users.get(id).cloned().unwrap_or_default();
    let may = now.may_log_in() && now.lan.privilege() >= before.lan.privilege();
    let asks = context.session.as_ref().filter(|(_, session)| session.user == id);
    if changed && (!may || now.name != before.name) {
        context.after = After::CloseAllOf { user: id, but: None };
    } else if now.password != before.password {
        // Who sets his own password goes on with what he is doing.
        context.after = After::CloseAllOf { user: id, but: asks.map(|(id, _)| *id) };
    } else if before.sol && !now.sol {
        context.after = After::EndSolOf(id);
    }
    context.core.changed |= changed;
    Ok(())
}

/// Set User Access (section 22.26).
pub(super) fn set_access(
    context: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    // A session limit may follow; there is none per user here.
    let ([head, id, limit] | [head, id, limit, _]) = *data else {
        return Err(CompletionCode::LENGTH_INVALID);
    };
    let channel = channel(context, head)?;
    let (id, limit) = (user_id(id)?, limit & 0x0F);
    if !matches!(limit, 1..=4 | NO_ACCESS) {
        return Err(CompletionCode::INVALID_FIELD);
    }
    let access = |old: Access| match head & 0x80 {
        0 => Access { limit, ..old },
        _ => Access {
            limit,
            callback: head & 0x40 != 0,
            link: head & 0x20 != 0,
            messaging: head & 0x10 != 0,
        },
    };
    if id == ANONYMOUS {
        // Clients write back what they have read, which is no harm.
        let now = shown(Access::default());
        return if access(now) == now {
            Ok(Vec::new())
        } else {
            Err(CompletionCode::INVALID_FIELD)
        };
    }
    change(context, id, |user| {
        let place = match channel {
            Channel::Lan => &mut user.lan,
            Channel::System => &mut user.system,
        };
        *place = access(*place);
    })?;
    Ok(Vec::new())
}

/// As clients are told: a limit that was never set is none.
fn shown(access: Access) -> Access {
    let limit = if access.limit == 0 { NO_ACCESS } else { access.limit };
    Access { limit, ..access }
}

/// Get User Access (section 22.27).
pub(super) fn get_access(
    context: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    let [number, id] = exactly(data)?;
    let channel = channel(context, number)?;
    let user = get(context, user_id(id)?)?;
    let access = shown(match channel {
        Channel::Lan => user.lan,
        Channel::System => user.system,
    });
    let users = context.core.store.users.iter();
    let enabled = users.fold(0, |count, (_, user)| count + u8::from(user.enabled));
    let status = if user.enabled { 0b01 } else { 0b10 };
    let bits = u8::from(access.callback) << 6
        | u8::from(access.link) << 5
        | u8::from(access.messaging) << 4;
    // One name is fixed: the anonymous user's.
    Ok(vec![SLOTS, status << 6 | enabled, 1, bits | access.limit])
}

/// Set User Name (section 22.28).
pub(super) fn set_name(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let data: [u8; 1 + MAX_NAME_LEN] = exactly(data)?;
    let [id, name @ ..] = &data;
    let id = user_id(*id)?;
    let name = trimmed(name);
    if id == ANONYMOUS {
        return if name.is_empty() { Ok(Vec::new()) } else { Err(CompletionCode::INVALID_FIELD) };
    }
    let taken = |(other, user): (u8, &User)| other != id && user.name == name;
    if name.iter().any(u8::is_ascii_control)
        || !name.is_empty() && context.core.store.users.iter().any(taken)
    {
        return Err(CompletionCode::INVALID_FIELD);
    }
    change(context, id, |user| {
        if name.is_empty() {
            // Whoever gets this slot next must have nothing of his.
            *user = User::default();
        } else {
            user.name = name.to_vec();
        }
    })?;
    Ok(Vec::new())
}

/// Get User Name (section 22.29). A slot without a user has a name of zeros.
pub(super) fn get_name(context: &mut Context<'_>, data: &[u8]) -> Result<Vec<u8>, CompletionCode> {
    let [id] = exactly(data)?;
    let mut name = get(context, user_id(id)?)?.name;
    name.resize(MAX_NAME_LEN, 0);
    Ok(name)
}

/// Set User Password (section 22.30): enable, disable, set, test.
pub(super) fn set_password(
    context: &mut Context<'_>,
    data: &[u8],
) -> Result<Vec<u8>, CompletionCode> {
    let [head, operation, password @ ..] = data else {
        return Err(CompletionCode::LENGTH_INVALID);
    };
    let operation = operation & 0b11;
    let long = head & 0x80 != 0;
    let is_used = operation & 0b10 != 0;
    match password.len() {
        // Some clients send a password where none is used, and of either size.
        0 | 16 | 20 if !is_used => {}
        16 if !long => {}
        20 if long => {}
        _ => return Err(CompletionCode::LENGTH_INVALID),
    }
    let id = user_id(*head)?;
    match operation {
        0b00 => change(context, id, |user| user.enabled = false)?,
        0b01 if id == ANONYMOUS => return Err(CompletionCode::INVALID_FIELD),
        0b01 => change(context, id, |user| user.enabled = true)?,
        0b10 if id == ANONYMOUS => return Err(CompletionCode::INVALID_FIELD),
        0b10 => {
            let password = trimmed(password);
            let secret = match password {
                [] => None,
                password => Some(Secret::new(password).map_err(|_| CompletionCode::INVALID_FIELD)?),
            };
            change(context, id, |user| {
                user.password = secret;
                user.long_password = long;
            })?;
        }
        _ => {
            let user = get(context, id)?;
            let stored = user.password.ok_or(WRONG_PASSWORD)?;
            if user.long_password != long {
                return Err(WRONG_SIZE);
            }
            if !bool::from(stored.expose().ct_eq(trimmed(password))) {
                return Err(WRONG_PASSWORD);
            }
        }
    }
    Ok(Vec::new())
}

/// Without the zeros that fill it up.
fn trimmed(padded: &[u8]) -> &[u8] {
    let len = padded.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    &padded[..len]
}
