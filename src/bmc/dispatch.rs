//! Commands: run, answered, followed up; from a session, or from the machine itself.

use std::time::Instant;

use tracing::field::{DisplayValue, display};
use tracing::{debug, info};

use crate::bmc::command::{After, Asked, Command, Context, Source};
use crate::bmc::session::{Open, Reply};
use crate::bmc::words::Hex;
use crate::bmc::{BMC_ADDRESS, Bmc, CANNOT_RETURN_AS_MUCH, Core, Drop};
use crate::wire::code::{CompletionCode, PayloadType};
use crate::wire::message;
use crate::wire::session::V15;

/// What has come of a command.
pub(super) struct Outcome {
    pub(super) result: Result<Vec<u8>, CompletionCode>,
    pub(super) after: After,
    /// Its answer is to be kept for repetitions.
    pub(super) has_effect: bool,
}

impl Core {
    /// Runs a command, and notes it in the log.
    pub(super) fn execute(
        &mut self,
        now: Instant,
        source: Source,
        session: Option<(u32, &mut Open)>,
        asked: &Asked<'_>,
    ) -> Outcome {
        let command = match Command::find(asked) {
            Ok(command) => command,
            Err(code) => {
                let (net_fn, number) = (asked.net_fn.0, asked.command);
                let user = user_name(session.as_ref());
                debug!(user, from = %source, ?code, "command {net_fn:02x}h/{number:02x}h");
                return Outcome { result: Err(code), after: After::Nothing, has_effect: false };
            }
        };
        let mut context = Context { now, core: self, source, session, after: After::Nothing };
        let result = command.run(&mut context, asked.data);
        let after = context.after;
        let data = Hex(if command.is_secret(asked.data) { &[] } else { asked.data });
        let code = result.as_ref().err().copied().unwrap_or(CompletionCode::OK);
        let (name, has_effect) = (command.name(), command.has_effect());
        let user = user_name(context.session.as_ref());
        let core = &mut context.core;
        // What a driver does by itself changes nothing that is kept; and whoever has the machine can ask
        // as often as it likes.
        let told = match source {
            Source::Lan(_) => has_effect,
            Source::System => {
                let is_news = has_effect && (core.changed || !core.requests.is_empty());
                let allowed = is_news.then(|| core.lines.admit(now)).flatten();
                if let Some(withheld @ 1..) = allowed {
                    info!(from = %source, withheld, "commands that are not in this log");
                }
                allowed.is_some()
            }
        };
        if told {
            info!(user, from = %source, %data, ?code, "{name}");
        } else {
            debug!(user, from = %source, %data, ?code, "{name}");
        }
        Outcome { result, after, has_effect }
    }
}

impl Bmc {
    /// A command in session `id`.
    pub(super) fn command(&mut self, now: Instant, id: u32, message: &[u8]) -> Result<(), Drop> {
        let request = message::Request::decode(message)?;
        if request.responder != BMC_ADDRESS {
            return Err(Drop::NotForUs);
        }
        let session = self.sessions.get_mut(id).ok_or(Drop::NoSession)?;
        let peer = session.peer;
        let Some(open) = session.open_mut() else { return Err(Drop::NoSession) };
        let mut after = After::Nothing;
        let mut response = std::mem::take(&mut self.room.response);
        if let Some(kept) = open.repeated(now, message) {
            let from = Source::Lan(peer);
            debug!(user = %open.user_name, %from, "repeated request, answered as before");
            response.clear();
            response.extend_from_slice(kept);
        } else {
            let asked = Asked::from(&request);
            let outcome = self.core.execute(now, Source::Lan(peer), Some((id, &mut *open)), &asked);
            after = outcome.after;
            respond(&request, outcome.result, &mut response);
            if open.is_v15() && response.len() > V15::MAX_PAYLOAD {
                respond(&request, Err(CANNOT_RETURN_AS_MUCH), &mut response);
            }
            if outcome.has_effect {
                open.reply = Some(Reply::new(now, message, &response));
            }
        }
        if let Some(transmit) = self.seal(id, PayloadType::IPMI, &response) {
            self.out.push_back(transmit);
        }
        self.room.response = response;
        self.follow_up(now, Some(id), after);
        Ok(())
    }

    /// Does what a command wants done after its response. `asker`: the session that it came in.
    pub(super) fn follow_up(&mut self, now: Instant, asker: Option<u32>, after: After) {
        match after {
            After::Nothing => {}
            After::Close(closing) => {
                if Some(closing) != asker {
                    self.farewell(now, closing);
                }
                if let Some(session) = self.sessions.remove(closing) {
                    self.ended(closing, &session, "closed");
                }
            }
            After::EndSol => {
                self.core.sol.owner().into_iter().for_each(|id| self.farewell(now, id))
            }
            After::EndSolOf(user) => {
                let owner =
                    self.core.sol.owner().filter(|id| self.sessions.of_user(user).contains(id));
                owner.into_iter().for_each(|id| self.farewell(now, id));
            }
            After::CloseAllOf { user, but } => {
                self.core.forget_challenges(user);
                self.core.lockouts.forget(user);
                for id in self.sessions.of_user(user) {
                    if Some(id) == but {
                        continue;
                    }
                    self.farewell(now, id);
                    if let Some(session) = self.sessions.remove(id) {
                        self.ended(id, &session, "its user has lost the right to it");
                    }
                }
            }
            After::Reset { spared } => {
                if let Some(owner) = self.core.sol.owner() {
                    self.farewell(now, owner);
                }
                for (id, session) in self.sessions.take_all_but(now, spared) {
                    self.ended(id, &session, "the BMC is reset");
                }
                self.core.challenges = Default::default();
                self.core.store.boot.set_in_progress_by = None;
                self.core.store.watchdog = Default::default();
                self.core.store.channel.forget_volatile();
                self.core.store.sol.volatile_bit_rate = None;
                self.core.messages = Default::default();
            }
        }
    }
}

/// Who asks, for the log.
fn user_name<'a>(session: Option<&'a (u32, &mut Open)>) -> Option<DisplayValue<&'a str>> {
    session.map(|(_, open)| display(&open.user_name[..]))
}

/// Writes the response to a request over the LAN, in place of what is there.
pub(super) fn respond(
    request: &message::Request<'_>,
    result: Result<Vec<u8>, CompletionCode>,
    response: &mut Vec<u8>,
) {
    match result {
        Ok(data) => request.write_response(CompletionCode::OK, &data, response),
        Err(code) => request.write_response(code, &[], response),
    }
}
