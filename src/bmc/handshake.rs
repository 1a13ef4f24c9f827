//! RMCP+ session set-up: the managed system's side of Open Session and RAKP (v2.0 sections
//! 13.15–13.24).
//!
//! Each refusal is a status in the answer. Repetitions of a message are answered the same, under the tag of
//! the repetition.

use std::net::SocketAddr;
use std::time::Instant;

use rand_core::Rng;
use tracing::debug;

use crate::bmc::attempts::{OpenSession, Opened};
use crate::bmc::crypto::{Exchange, SUITES};
use crate::bmc::session::{
    Challenged, MAX_OPEN, Open, Protection, SETUP_LIMIT, Stage, Way, Window, has_room,
};
use crate::bmc::store::users::User;
use crate::bmc::{Bmc, Core, Drop, shown};
use crate::value::BmcKey;
use crate::wire::DecodeError;
use crate::wire::code::{Privilege, RakpStatus};
use crate::wire::rakp::{
    OpenSessionRequest, OpenSessionResponse, Rakp1, Rakp3, rakp2, rakp4, refusal,
};

/// The suite that the specification demands of everybody (v2.0 section 22.15.2).
const MANDATORY_SUITE: u8 = 3;

/// Whether `payload` is this RAKP message once more. Some consoles give each try a tag of its own
/// (FreeIPMI does): that is the first byte.
fn is_repeated(message: &[u8], payload: &[u8]) -> bool {
    message.get(1..) == payload.get(1..)
}

/// The answer of before, under another tag.
fn with_tag(response: &[u8], tag: u8) -> Vec<u8> {
    [&[tag], response.get(1..).unwrap_or_default()].concat()
}

impl Core {
    /// The highest privilege level that a session with this cipher suite can have; `None`: it may
    /// not be used.
    fn suite_limit(&self, id: u8) -> Option<Privilege> {
        Some(self.store.lan.cipher_limit(id)?.min(self.store.channel.limit()))
    }

    /// The highest privilege level that `user` can have on the LAN channel; `None`: it may not log
    /// in.
    pub(super) fn highest(&self, user: &User) -> Option<Privilege> {
        let highest = user.lan.privilege().filter(|_| user.may_log_in())?;
        Some(highest.min(self.store.channel.limit()))
    }

    /// K_G, if it is set: what a client has set, else what the profile says.
    pub(super) fn k_g(&self) -> Option<&BmcKey> {
        self.store.k_g.as_ref().or(self.declared_k_g.as_ref()).filter(|key| key.is_set())
    }
}

impl Bmc {
    /// Open Session Request: the response's payload.
    pub(super) fn open_session(
        &mut self,
        now: Instant,
        from: SocketAddr,
        payload: &[u8],
    ) -> Result<Vec<u8>, Drop> {
        let request = OpenSessionRequest::decode(payload)?;
        debug!(from = %shown(from), ?request, "Open Session Request");
        let is_same = |attempt: &OpenSession| payload.starts_with(&attempt.request);
        if let Some(attempt) = self.sessions.attempts.find(from, is_same) {
            return Ok(attempt.response.encode());
        }
        let refuse = |status| Ok(refusal(request.tag, status, request.console_session_id));
        let Some(proposal) = request.proposal.filter(|_| request.console_session_id != 0) else {
            return refuse(RakpStatus::ILLEGAL_PARAMETER);
        };
        let offered = self.core.suites.iter().filter_map(|id| {
            let suite = SUITES.iter().find(|suite| suite.id == *id)?;
            Some((*suite, self.core.suite_limit(suite.id)?))
        });
        let mut fitting: Vec<_> = offered.filter(|(suite, _)| suite.matches(&proposal)).collect();
        // A console that leaves the choice to us tells not what it knows; every one knows this.
        fitting.sort_by_key(|(suite, _)| suite.id != MANDATORY_SUITE);
        let chosen = fitting.first().copied();
        let Some((suite, limit)) = chosen else {
            return refuse(RakpStatus::NO_CIPHER_SUITE_MATCH);
        };
        if request.privilege > limit.0 {
            return refuse(RakpStatus::INVALID_ROLE);
        }
        if self.sessions.open() >= MAX_OPEN {
            return refuse(RakpStatus::INSUFFICIENT_RESOURCES);
        }
        let managed_session_id = loop {
            let id = self.core.rng.next_u32();
            let taken = self.sessions.contains(id) || self.core.challenges.get(id).is_some();
            if id != 0 && !taken {
                break id;
            }
        };
        // 0 asks for the highest; who echoes it locks FreeIPMI out.
        let promised = match request.privilege {
            0 => limit,
            level => Privilege(level),
        };
        let response = OpenSessionResponse {
            tag: request.tag,
            privilege: promised,
            console_session_id: request.console_session_id,
            managed_session_id,
            authentication: suite.authentication,
            integrity: suite.integrity,
            confidentiality: suite.confidentiality,
        };
        let opened = Opened {
            peer: from,
            console_id: request.console_session_id,
            suite,
            limit: promised,
            expiry: now + SETUP_LIMIT,
        };
        let request = *payload.first_chunk().ok_or(DecodeError::Truncated)?;
        self.sessions.attempts.insert(OpenSession { opened, request, response });
        Ok(response.encode())
    }

    /// RAKP Message 1: RAKP Message 2.
    pub(super) fn rakp1(&mut self, now: Instant, payload: &[u8]) -> Result<Vec<u8>, Drop> {
        let message = Rakp1::decode(payload)?;
        let id = message.managed_session_id;
        // A console may fall back to another privilege or name in the same session.
        let opened =
            match self.sessions.get_mut(id).map(|session| (&session.stage, session.console_id)) {
                Some((Stage::Challenged(challenged), _))
                    if is_repeated(&challenged.request, payload) =>
                {
                    return Ok(with_tag(&challenged.response, message.tag));
                }
                Some((Stage::Challenged(challenged), _)) => Some(challenged.opened),
                Some((Stage::Open(_), console_id)) => {
                    return Ok(refusal(message.tag, RakpStatus::INVALID_SESSION_ID, console_id));
                }
                None => self.sessions.attempts.get(id).map(|attempt| attempt.opened),
            };
        let Some(opened) = opened else {
            return Ok(refusal(message.tag, RakpStatus::INVALID_SESSION_ID, 0));
        };
        let Opened { peer, console_id, suite, limit: opened_limit, .. } = opened;
        let (name, role) = (String::from_utf8_lossy(message.name), message.role);
        debug!(from = %shown(peer), user = ?name, role, "RAKP Message 1");
        let refuse = |status| Ok(refusal(message.tag, status, console_id));
        if message.name_len > Rakp1::MAX_NAME_LEN {
            return refuse(RakpStatus::INVALID_NAME_LENGTH);
        }
        // Names are unique, so lookup by name and privilege finds the same user as by name only.
        let Some((id_of_user, user)) = self.core.store.users.by_name(message.name) else {
            self.core.login_refused(now, (0, message.name), peer, "refused: unknown user");
            return refuse(RakpStatus::UNAUTHORIZED_NAME);
        };
        let (Some(password), Some(highest)) = (&user.password, self.core.highest(user)) else {
            let user = (id_of_user, message.name);
            self.core.login_refused(now, user, peer, "refused: the user is disabled");
            return refuse(RakpStatus::UNAUTHORIZED_NAME);
        };
        // A table that was changed meanwhile holds, too.
        let Some(suite_limit) = self.core.suite_limit(suite.id) else {
            return refuse(RakpStatus::NO_CIPHER_SUITE_MATCH);
        };
        // As if the user were disabled (v2.0 table 23-4, parameter 26).
        if self.core.is_locked_out(now, (id_of_user, message.name), peer) {
            return refuse(RakpStatus::UNAUTHORIZED_NAME);
        }
        let highest = highest.min(opened_limit).min(suite_limit);
        let limit = match message.privilege() {
            0 => highest,
            level => Privilege(level),
        };
        // 09h and not 0Ah: consoles then fall back to a lower level.
        if limit > highest {
            return refuse(RakpStatus::INVALID_ROLE);
        }
        let mut managed_random = [0; 16];
        self.core.rng.fill_bytes(&mut managed_random);
        let exchange = Exchange {
            suite,
            console_session_id: console_id,
            managed_session_id: id,
            console_random: message.console_random,
            managed_random,
            guid: self.core.guid,
            role: message.role,
            name: message.name.to_vec(),
        };
        let code = exchange.rakp2_code(password.expose());
        let response = rakp2(message.tag, console_id, &managed_random, &self.core.guid, &code);
        let challenged = Challenged {
            opened,
            exchange,
            user: id_of_user,
            password: password.clone(),
            limit,
            request: payload.to_vec(),
            response: response.clone(),
        };
        self.sessions.challenge(id, challenged);
        Ok(response)
    }

    /// RAKP Message 3: RAKP Message 4, unless the console has only said that it gives up.
    pub(super) fn rakp3(
        &mut self,
        now: Instant,
        from: SocketAddr,
        payload: &[u8],
    ) -> Result<Option<Vec<u8>>, Drop> {
        let message = Rakp3::decode(payload)?;
        debug!(from = %shown(from), status = ?message.status, "RAKP Message 3");
        let id = message.managed_session_id;
        let Some(session) = self.sessions.get_mut(id) else {
            let attempt = self.sessions.attempts.get(id);
            let console_id = attempt.map_or(0, |attempt| attempt.opened.console_id);
            return Ok(Some(refusal(message.tag, RakpStatus::INVALID_SESSION_ID, console_id)));
        };
        // Not where this message comes from, which may be forged.
        let (console_id, peer) = (session.console_id, session.peer);
        let challenged = match &mut session.stage {
            Stage::Open(open) if is_repeated(&open.request, payload) => {
                return Ok(Some(with_tag(&open.response, message.tag)));
            }
            Stage::Open(_) => {
                return Ok(Some(refusal(message.tag, RakpStatus::INVALID_SESSION_ID, console_id)));
            }
            Stage::Challenged(challenged) => challenged,
        };
        let name = String::from_utf8_lossy(&challenged.exchange.name).into_owned();
        if message.status != RakpStatus::OK {
            let user = (challenged.user, name.as_bytes());
            let why = format!("given up by the console, {:?}: wrong password?", message.status);
            self.core.bad_password(now, user, peer, &why);
            self.sessions.remove(id);
            return Ok(None);
        }
        let user = (challenged.user, name.as_bytes());
        // Since RAKP Message 1: many attempts can be under way at once.
        let locked_out = self.core.is_locked_out(now, user, peer);
        let password = challenged.password.expose();
        if locked_out || !challenged.exchange.rakp3_code_is(password, message.auth_code) {
            if !locked_out {
                self.core.bad_password(now, user, peer, "refused: wrong password");
            }
            self.sessions.remove(id);
            let status = RakpStatus::INVALID_INTEGRITY_CHECK_VALUE;
            return Ok(Some(refusal(message.tag, status, console_id)));
        }
        if !has_room(self.core.open_sessions.len(), challenged.limit) {
            let status = RakpStatus::INSUFFICIENT_RESOURCES;
            return Ok(Some(refusal(message.tag, status, console_id)));
        }
        let (keys, check) = challenged.exchange.keys(password, self.core.k_g());
        let response = rakp4(message.tag, console_id, &check);
        let (limit, suite) = (challenged.limit, challenged.exchange.suite.id);
        debug!(user = %name, from = %shown(from), suite, ?limit, "session {id:#010x} opened");
        let open = Open {
            protection: Protection::V20(Box::new(keys)),
            user: challenged.user,
            user_name: name,
            way: Way::Suite(suite),
            limit,
            // Every session starts as user, or lower (section 6.8).
            privilege: limit.min(Privilege::USER),
            window: Window::default(),
            sent: 0,
            request: payload.to_vec(),
            response: response.clone(),
            reply: None,
        };
        self.core.lockouts.good(peer, open.user);
        self.core.session_opened(id, from, &open);
        session.stage = Stage::Open(Box::new(open));
        session.touch(now, from, self.at);
        Ok(Some(response))
    }
}
