//! RMCP+ session set-up: the managed system's side of Open Session and RAKP (v2.0 sections
//! 13.15–13.24).
//!
//! Each refusal is a status in the answer. Repetitions of a message are answered the same.

use std::net::SocketAddr;
use std::time::Instant;

use rand_core::Rng;
use tracing::{info, warn};

use crate::bmc::crypto::{Exchange, SUITES};
use crate::bmc::session::{Challenged, MAX_OPEN, Open, Session, Stage, Window};
use crate::bmc::{Bmc, Drop, shown};
use crate::wire::code::{Privilege, RakpStatus};
use crate::wire::rakp::{
    OpenSessionRequest, OpenSessionResponse, Rakp1, Rakp3, rakp2, rakp4, refusal,
};

impl Bmc {
    /// Open Session Request: the response's payload.
    pub(super) fn open_session(
        &mut self,
        now: Instant,
        from: SocketAddr,
        payload: &[u8],
    ) -> Result<Vec<u8>, Drop> {
        let request = OpenSessionRequest::decode(payload)?;
        if let Some(Session { stage: Stage::Opened { response, .. }, .. }) =
            self.sessions.opened_by(from, payload)
        {
            return Ok(response.clone());
        }
        let refuse = |status| Ok(refusal(request.tag, status, request.console_session_id));
        let offered = &self.core.suites;
        let suite = offered
            .iter()
            .filter_map(|id| SUITES.iter().find(|suite| suite.id == *id))
            .filter_map(|suite| Some((suite, self.core.limit(suite.id)?)))
            .find(|(suite, _)| suite.matches(&request.proposal));
        let Some((&suite, limit)) = suite else { return refuse(RakpStatus::NO_CIPHER_SUITE_MATCH) };
        if request.privilege > Privilege::ADMINISTRATOR.0 {
            return refuse(RakpStatus::INVALID_ROLE);
        }
        if self.sessions.open() >= MAX_OPEN {
            return refuse(RakpStatus::INSUFFICIENT_RESOURCES);
        }
        let managed_session_id = loop {
            let id = self.rng.next_u32();
            if id != 0 && !self.sessions.contains(id) {
                break id;
            }
        };
        let response = OpenSessionResponse {
            tag: request.tag,
            // 0 asks for the highest; who echoes it locks FreeIPMI out.
            privilege: match request.privilege {
                0 => limit,
                level => limit.min(Privilege(level)),
            },
            console_session_id: request.console_session_id,
            managed_session_id,
            authentication: suite.authentication,
            integrity: suite.integrity,
            confidentiality: suite.confidentiality,
        };
        let response = response.encode();
        let stage = Stage::Opened { request: payload.to_vec(), response: response.clone() };
        let console_id = request.console_session_id;
        self.sessions.insert(now, managed_session_id, console_id, from, suite, stage);
        Ok(response)
    }

    /// RAKP Message 1: RAKP Message 2.
    pub(super) fn rakp1(&mut self, payload: &[u8]) -> Result<Vec<u8>, Drop> {
        let message = Rakp1::decode(payload)?;
        let id = message.managed_session_id;
        let Some(session) = self.sessions.get_mut(id) else {
            return Ok(refusal(message.tag, RakpStatus::INVALID_SESSION_ID, 0));
        };
        let refuse = |status| Ok(refusal(message.tag, status, session.console_id));
        match &session.stage {
            Stage::Challenged(challenged) if challenged.request == payload => {
                return Ok(challenged.response.clone());
            }
            // A console may fall back to another privilege or name in the same session.
            Stage::Opened { .. } | Stage::Challenged(_) => {}
            Stage::Open(_) => return refuse(RakpStatus::INVALID_SESSION_ID),
        }
        if message.name_len > Rakp1::MAX_NAME_LEN {
            return refuse(RakpStatus::INVALID_NAME_LENGTH);
        }
        // Names are unique, so lookup by name and privilege finds the same user as by name only.
        let Some((id_of_user, user)) = self.core.store.users.by_name(message.name) else {
            let name = String::from_utf8_lossy(message.name);
            warn!(user = ?name, from = %shown(session.peer), "login refused: unknown user");
            return refuse(RakpStatus::UNAUTHORIZED_NAME);
        };
        let (Some(password), Some(highest), true) =
            (&user.password, user.lan.privilege(), user.enabled && user.lan.messaging)
        else {
            let name = String::from_utf8_lossy(message.name);
            warn!(user = ?name, from = %shown(session.peer), "login refused: the user is disabled");
            return refuse(RakpStatus::UNAUTHORIZED_NAME);
        };
        // A table that was changed meanwhile holds, too.
        let Some(suite_limit) = self.core.limit(session.suite.id) else {
            return refuse(RakpStatus::NO_CIPHER_SUITE_MATCH);
        };
        let highest = highest.min(suite_limit);
        let limit = match message.privilege() {
            0 => highest,
            level => Privilege(level),
        };
        // 09h and not 0Ah: consoles then fall back to a lower level.
        if limit > highest {
            return refuse(RakpStatus::INVALID_ROLE);
        }
        let mut managed_random = [0; 16];
        self.rng.fill_bytes(&mut managed_random);
        let exchange = Exchange {
            suite: session.suite,
            console_session_id: session.console_id,
            managed_session_id: id,
            console_random: message.console_random,
            managed_random,
            guid: self.core.guid,
            role: message.role,
            name: message.name.to_vec(),
        };
        let code = exchange.rakp2_code(password.expose());
        let response =
            rakp2(message.tag, session.console_id, &managed_random, &self.core.guid, &code);
        session.stage = Stage::Challenged(Box::new(Challenged {
            exchange,
            user: id_of_user,
            password: password.clone(),
            limit,
            request: payload.to_vec(),
            response: response.clone(),
        }));
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
        let id = message.managed_session_id;
        let Some(session) = self.sessions.get_mut(id) else {
            return Ok(Some(refusal(message.tag, RakpStatus::INVALID_SESSION_ID, 0)));
        };
        let console_id = session.console_id;
        let challenged = match &mut session.stage {
            Stage::Open(open) if open.request == payload => return Ok(Some(open.response.clone())),
            Stage::Open(_) | Stage::Opened { .. } => {
                return Ok(Some(refusal(message.tag, RakpStatus::INVALID_SESSION_ID, console_id)));
            }
            Stage::Challenged(challenged) => challenged,
        };
        let name = String::from_utf8_lossy(&challenged.exchange.name).into_owned();
        if message.status != RakpStatus::OK {
            warn!(user = %name, from = %shown(from), status = ?message.status, "login given up by the console");
            self.sessions.remove(id);
            return Ok(None);
        }
        let password = challenged.password.expose();
        if !challenged.exchange.rakp3_code_is(password, message.auth_code) {
            warn!(user = %name, from = %shown(from), "login refused: wrong password");
            self.sessions.remove(id);
            let status = RakpStatus::INVALID_INTEGRITY_CHECK_VALUE;
            return Ok(Some(refusal(message.tag, status, console_id)));
        }
        let (keys, check) = challenged.exchange.keys(password);
        let response = rakp4(message.tag, console_id, &check);
        let limit = challenged.limit;
        info!(user = %name, from = %shown(from), suite = session.suite.id, ?limit, "session {id:#010x} opened");
        session.stage = Stage::Open(Box::new(Open {
            keys,
            user: challenged.user,
            user_name: name,
            limit,
            // Every session starts as user, or lower (section 6.8).
            privilege: limit.min(Privilege::USER),
            window: Window::default(),
            sent: 0,
            request: payload.to_vec(),
            response: response.clone(),
            reply: None,
        }));
        session.touch(now, from);
        self.core.open_sessions.insert(id);
        Ok(Some(response))
    }
}
