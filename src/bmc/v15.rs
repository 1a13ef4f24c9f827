//! IPMI 1.5 sessions: challenges, Activate Session, packets (v2.0 sections 6.12, 13.6, 22.16 and
//! 22.17).
//!
//! A session keeps the ID that its challenge had. Every message of a session is authenticated, with
//! the type that the session was activated with, and so is every answer.

use std::net::SocketAddr;
use std::time::Instant;

use rand_core::Rng;
use tracing::{debug, info};

use crate::bmc::attempts::{Attempt, Attempts};
use crate::bmc::crypto::V15Key;
use crate::bmc::session::{Open, Protection, SETUP_LIMIT, Way, Window, has_room};
use crate::bmc::{BMC_ADDRESS, Bmc, Core, Drop, shown};
use crate::wire::code::{AuthType, CompletionCode, NetFn, Privilege};
use crate::wire::message::Request;
use crate::wire::session::V15;

/// Activate Session.
const ACTIVATE_SESSION: (NetFn, u8) = (NetFn::APP, 0x3A);

/// Completion codes of Activate Session (section 22.17).
const NO_SLOT: CompletionCode = CompletionCode(0x81);
const SEQUENCE_OUT_OF_RANGE: CompletionCode = CompletionCode(0x84);
const INVALID_SESSION_ID: CompletionCode = CompletionCode(0x85);
const EXCEEDS_LIMIT: CompletionCode = CompletionCode(0x86);

/// A challenge that waits for Activate Session.
#[derive(Debug)]
pub(super) struct Challenge {
    /// Temporary Session ID.
    id: u32,
    peer: SocketAddr,
    user: u8,
    key: V15Key,
    string: [u8; 16],
    expiry: Instant,
}

impl Attempt for Challenge {
    fn id(&self) -> u32 {
        self.id
    }

    fn peer(&self) -> SocketAddr {
        self.peer
    }

    fn expiry(&self) -> Instant {
        self.expiry
    }
}

/// All challenges.
pub(super) type Challenges = Attempts<Challenge>;

impl Core {
    /// Takes back the challenges of a user, whose rights have changed.
    pub(super) fn forget_challenges(&mut self, user: u8) {
        self.challenges.retain(|challenge| challenge.user != user);
    }

    /// Temporary Session ID and challenge string for a user. A console that asks again before it
    /// has answered gets the same ones.
    pub(super) fn challenge(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        user: u8,
        key: V15Key,
    ) -> (u32, [u8; 16]) {
        self.challenges.expire(now);
        let expiry = now + SETUP_LIMIT;
        let is_same = |challenge: &Challenge| challenge.user == user && challenge.key == key;
        let again = self.challenges.find(peer, is_same).map(|challenge| challenge.id);
        if let Some(challenge) = again.and_then(|id| self.challenges.remove(id)) {
            let (id, string) = (challenge.id, challenge.string);
            self.challenges.insert(Challenge { expiry, ..challenge });
            return (id, string);
        }
        let id = loop {
            let id = self.rng.next_u32();
            let taken = self.challenges.get(id).is_some() || self.open_sessions.contains_key(&id);
            if id != 0 && !taken {
                break id;
            }
        };
        let mut string = [0; 16];
        self.rng.fill_bytes(&mut string);
        self.challenges.insert(Challenge { id, peer, user, key, string, expiry });
        (id, string)
    }
}

impl Core {
    /// The authentication types that the profile names, bit n for type n, as LAN parameter 1 has
    /// them (v2.0 table 23-4).
    pub(super) fn supported_auth_types(&self) -> u8 {
        self.v15.iter().fold(0, |bits, auth_type| bits | auth_type.bit())
    }

    /// Those that may be used, by privilege level: callback to OEM (LAN parameter 2).
    pub(super) fn enabled_auth_types(&self) -> [u8; 5] {
        let supported = self.supported_auth_types();
        self.store.lan.auth_enables.unwrap_or([supported; 5]).map(|types| types & supported)
    }

    /// Whether a session may have this privilege level with this authentication type.
    fn allows_auth_type(&self, auth_type: AuthType, level: Privilege) -> bool {
        let index = usize::from(level.0).checked_sub(1);
        let types = index.and_then(|index| self.enabled_auth_types().get(index).copied());
        types.is_some_and(|types| types & auth_type.bit() != 0)
    }
}

/// What Activate Session asks for.
struct Activation {
    privilege: Privilege,
    /// Initial outbound sequence number: the first one that we send.
    outbound: u32,
}

impl Bmc {
    /// An IPMI 1.5 packet that claims a session.
    pub(super) fn v15_in_session(
        &mut self,
        now: Instant,
        from: SocketAddr,
        packet: &V15<'_>,
    ) -> Result<(), Drop> {
        let id = packet.session_id;
        let Some(session) = self.sessions.get_mut(id) else {
            return self.activate_session(now, from, packet);
        };
        let peer = session.peer;
        let Some(open) = session.open_mut() else { return Err(Drop::NoSession) };
        let Protection::V15(key) = &open.protection else { return Err(Drop::NoSession) };
        if packet.auth_type != key.auth_type {
            return Err(Drop::Unprotected);
        }
        let code = packet.auth_code.as_ref();
        if !key.auth_code_is(id, packet.sequence, packet.payload, code) {
            return Err(Drop::AuthCode);
        }
        if !key.authenticates() && peer != from {
            return Err(Drop::NoSession);
        }
        if packet.sequence == 0 && packet.payload == open.request {
            let again = open.response.clone();
            self.send(from, again);
            return Ok(());
        }
        if !open.window.accept(packet.sequence) {
            return Err(Drop::Sequence);
        }
        self.heard(now, id, from);
        self.command(now, id, packet.payload)
    }

    /// A packet with an ID that no session has: Activate Session, if anything.
    fn activate_session(
        &mut self,
        now: Instant,
        from: SocketAddr,
        packet: &V15<'_>,
    ) -> Result<(), Drop> {
        let request = Request::decode(packet.payload)?;
        let wanted = (request.net_fn, request.command) == ACTIVATE_SESSION && request.lun == 0;
        if request.responder != BMC_ADDRESS || !wanted || self.core.v15.is_empty() {
            return Err(Drop::NoSession);
        }
        let id = packet.session_id;
        let found = self.core.challenges.get(id).filter(|challenge| now < challenge.expiry);
        let Some(challenge) = found else {
            // Nobody's key: the answer has no AuthCode.
            let payload = request.respond(INVALID_SESSION_ID, &[]);
            self.send(from, V15 { session_id: id, ..V15::outside_session(&payload) }.encode());
            return Ok(());
        };
        let key = challenge.key.clone();
        if packet.auth_type != key.auth_type {
            return Err(Drop::Unprotected);
        }
        let name = self.core.store.users.get(challenge.user).map(|user| user.name.as_slice());
        let name = String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
        let (user, peer) = ((challenge.user, name.as_bytes()), challenge.peer);
        if self.core.is_locked_out(now, user, peer) {
            return Err(Drop::LockedOut);
        }
        let code = packet.auth_code.as_ref();
        if !key.auth_code_is(id, packet.sequence, packet.payload, code) {
            self.core.bad_password(now, user, peer, "refused: wrong password");
            // The specification has no code for it, and no client hears an answer that is not
            // authenticated.
            return Err(Drop::AuthCode);
        }
        let activation = match self.activation(challenge, request.data) {
            Ok(activation) => activation,
            Err(code) => {
                info!(user = %name, from = %shown(from), ?code, "login refused");
                let payload = request.respond(code, &[]);
                self.send(from, seal(&key, id, 0, &payload));
                return Ok(());
            }
        };
        let user = challenge.user;
        // Small, so that it does not wrap in the life of a session.
        let inbound = (self.core.rng.next_u32() >> 8) | 1;
        let mut data = vec![key.auth_type.0];
        data.extend(id.to_le_bytes());
        data.extend(inbound.to_le_bytes());
        data.push(activation.privilege.0);
        let payload = request.respond(CompletionCode::OK, &data);
        let response = seal(&key, id, activation.outbound, &payload);
        debug!(user = %name, from = %shown(from), auth_type = ?key.auth_type, limit = ?activation.privilege, "IPMI 1.5 session {id:#010x} opened");
        self.core.challenges.remove(id);
        self.core.lockouts.good(peer, user);
        let open = Open {
            user,
            user_name: name,
            way: Way::V15(key.auth_type),
            limit: activation.privilege,
            // Every session starts as user, or lower (section 6.8).
            privilege: activation.privilege.min(Privilege::USER),
            window: Window::before(inbound),
            sent: activation.outbound,
            request: packet.payload.to_vec(),
            response: response.clone(),
            reply: None,
            protection: Protection::V15(key),
        };
        self.core.session_opened(id, from, &open);
        self.sessions.insert_open(now, id, from, open);
        self.send(from, response);
        Ok(())
    }

    /// Checks an authentic Activate Session (section 22.17).
    fn activation(&self, challenge: &Challenge, data: &[u8]) -> Result<Activation, CompletionCode> {
        let data: &[u8; 22] = data.try_into().map_err(|_| CompletionCode::LENGTH_INVALID)?;
        let [auth_type, privilege, rest @ ..] = data;
        let (string, outbound) = rest.split_at(16);
        let outbound = u32::from_le_bytes(outbound.try_into().unwrap_or_default());
        let privilege = Privilege(privilege & 0x0F);
        if auth_type & 0x0F != challenge.key.auth_type.0
            || string != challenge.string
            || !(Privilege::CALLBACK..=Privilege::ADMINISTRATOR).contains(&privilege)
        {
            return Err(CompletionCode::INVALID_FIELD);
        }
        if outbound == 0 {
            return Err(SEQUENCE_OUT_OF_RANGE);
        }
        let user = self.core.store.users.get(challenge.user);
        let enabled = self.core.allows_auth_type(challenge.key.auth_type, privilege);
        let highest = user.and_then(|user| self.core.highest(user)).filter(|_| enabled);
        if highest.is_none_or(|highest| privilege > highest) {
            return Err(EXCEEDS_LIMIT);
        }
        if !has_room(self.sessions.open(), privilege) {
            return Err(NO_SLOT);
        }
        Ok(Activation { privilege, outbound })
    }
}

/// A datagram of a session.
pub(super) fn seal(key: &V15Key, session_id: u32, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let auth_code = key.auth_code(session_id, sequence, payload);
    V15 { auth_type: key.auth_type, sequence, session_id, auth_code, payload }.encode()
}
