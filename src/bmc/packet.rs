//! Datagrams: what may come in outside and inside a session, and how an answer goes out.

use std::net::SocketAddr;
use std::time::Instant;

use rand_core::Rng;
use tracing::debug;

use crate::bmc::command::{After, Asked, Command, Context, Source};
use crate::bmc::dispatch::respond;
use crate::bmc::event::Request;
use crate::bmc::session::Protection;
use crate::bmc::words::{Bits, Hex};
use crate::bmc::{BMC_ADDRESS, Bmc, Drop, Transmit, shown, v15};
use crate::wire::code::{CompletionCode, PayloadType, RakpStatus};
use crate::wire::message;
use crate::wire::rmcp::{self, Datagram};
use crate::wire::session::{SessionPacket, V15, V20, V20Header, pad_trailer};
use crate::wire::sol::{Inbound, operation};

/// How a message before login is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    V15,
    V20,
}

impl Bmc {
    /// Answers a datagram, or says why not.
    pub(super) fn try_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: &[u8],
    ) -> Result<(), Drop> {
        let packet = match Datagram::decode(bytes)? {
            Datagram::Ping { tag } => {
                debug!(from = %shown(from), tag, "RMCP presence ping");
                self.send(from, rmcp::pong(tag).to_vec());
                return Ok(());
            }
            Datagram::Ipmi(bytes) => SessionPacket::decode(bytes)?,
        };
        match packet {
            SessionPacket::V15(packet) if packet.session_id == 0 => {
                let response = self.before_login(now, from, Framing::V15, packet.payload)?;
                self.send(from, V15::outside_session(&response).encode());
                Ok(())
            }
            SessionPacket::V15(packet) => self.v15_in_session(now, from, &packet),
            SessionPacket::V20(packet) if packet.session_id == 0 => {
                self.sessionless(now, from, &packet)
            }
            SessionPacket::V20(packet) => self.in_session(now, from, &packet),
        }
    }

    /// An RMCP+ packet outside a session.
    fn sessionless(
        &mut self,
        now: Instant,
        from: SocketAddr,
        packet: &V20<'_>,
    ) -> Result<(), Drop> {
        if packet.encrypted || packet.authenticated {
            return Err(Drop::NoSession);
        }
        let (payload_type, payload) = match packet.payload_type {
            PayloadType::IPMI => {
                (PayloadType::IPMI, self.before_login(now, from, Framing::V20, packet.payload)?)
            }
            PayloadType::OPEN_SESSION_REQUEST => {
                (PayloadType::OPEN_SESSION_RESPONSE, self.open_session(now, from, packet.payload)?)
            }
            PayloadType::RAKP_1 => (PayloadType::RAKP_2, self.rakp1(now, packet.payload)?),
            PayloadType::RAKP_3 => match self.rakp3(now, from, packet.payload)? {
                Some(payload) => (PayloadType::RAKP_4, payload),
                None => return Ok(()),
            },
            _ => return Err(Drop::PayloadType),
        };
        // Second byte of each answer of the set-up.
        if let (false, [_, status, ..]) = (payload_type == PayloadType::IPMI, &payload[..]) {
            debug!(to = %shown(from), status = ?RakpStatus(*status), "{payload_type:?}");
        }
        let header = V20Header {
            payload_type,
            encrypted: false,
            authenticated: false,
            session_id: 0,
            sequence: 0,
        };
        let mut datagram = Vec::with_capacity(16 + payload.len());
        header.encode(len_u16(payload.len()), &mut datagram);
        datagram.extend_from_slice(&payload);
        self.send(from, datagram);
        Ok(())
    }

    /// A command before login: the response, if it may be answered at all.
    fn before_login(
        &mut self,
        now: Instant,
        from: SocketAddr,
        framing: Framing,
        message: &[u8],
    ) -> Result<Vec<u8>, Drop> {
        let request = message::Request::decode(message)?;
        if request.responder != BMC_ADDRESS {
            return Err(Drop::NotForUs);
        }
        let sets_up = framing == Framing::V15 && !self.core.v15.is_empty();
        let command = Command::find(&Asked::from(&request))
            .ok()
            .filter(|command| command.is_for_anyone() || sets_up && command.sets_up_v15_session());
        let command = command.ok_or(Drop::NotBeforeLogin)?;
        let mut context = Context {
            now,
            core: &mut self.core,
            source: Source::Lan(from),
            session: None,
            after: After::Nothing,
        };
        let result = command.run(&mut context, request.data);
        let code = result.as_ref().err().copied().unwrap_or(CompletionCode::OK);
        debug!(from = %shown(from), data = %Hex(request.data), ?code, "before login: {}", command.name());
        let mut response = Vec::new();
        respond(&request, result, &mut response);
        Ok(response)
    }

    /// An RMCP+ packet that claims a session.
    fn in_session(&mut self, now: Instant, from: SocketAddr, packet: &V20<'_>) -> Result<(), Drop> {
        let id = packet.session_id;
        let in_the_clear = self.is_in_the_clear(id, packet.payload_type);
        let session = self.sessions.get_mut(id).ok_or(Drop::NoSession)?;
        let peer = session.peer;
        let Some(open) = session.open_mut() else { return Err(Drop::NoSession) };
        let Protection::V20(keys) = &mut open.protection else { return Err(Drop::NoSession) };
        // Exactly as the suite has it, neither less nor more. Where encryption is suspended, what the
        // console sends may be with or without it.
        if packet.authenticated != keys.authenticates()
            || packet.encrypted != keys.encrypts() && (packet.encrypted || !in_the_clear)
        {
            return Err(Drop::Unprotected);
        }
        if keys.authenticates() {
            let (covered, code) = packet.split_auth_code(keys.auth_code_len())?;
            if !keys.accept_auth_code(covered, code) {
                return Err(Drop::AuthCode);
            }
        } else if peer != from {
            // All that tells the console from somebody else.
            return Err(Drop::NoSession);
        }
        if !open.window.accept(packet.sequence) {
            return Err(Drop::Sequence);
        }
        let mut buffer = std::mem::take(&mut self.room.payload);
        buffer.clear();
        buffer.extend_from_slice(packet.payload);
        let payload = if packet.encrypted {
            keys.open(&mut buffer).ok_or(Drop::Decryption)?
        } else {
            &buffer[..]
        };
        self.heard(now, id, from);
        let result = self.payload(now, id, from, packet, payload);
        self.room.payload = buffer;
        result
    }

    /// An authentic payload of session `id`, which came in this packet.
    fn payload(
        &mut self,
        now: Instant,
        id: u32,
        from: SocketAddr,
        packet: &V20<'_>,
        payload: &[u8],
    ) -> Result<(), Drop> {
        match packet.payload_type {
            PayloadType::IPMI => self.command(now, id, payload),
            PayloadType::SOL => {
                let inbound = Inbound::decode(payload)?;
                let operation = Bits(inbound.operation, operation::NAMES);
                debug!(from = %shown(from), sequence = inbound.sequence, ack = inbound.ack, accepted = inbound.accepted, %operation, characters = inbound.data.len(), "SOL");
                let room = self.console_room;
                let incoming =
                    self.core.sol.handle_packet(now, id, packet.sequence, &inbound, room);
                if incoming.flush {
                    self.core.requests.push_back(Request::Flush);
                }
                if incoming.send_break {
                    self.core.requests.push_back(Request::Break);
                }
                if !incoming.characters.is_empty() {
                    self.core.requests.push_back(Request::Console(incoming.characters.to_vec()));
                }
                Ok(())
            }
            _ => Err(Drop::PayloadType),
        }
    }

    /// An authentic packet of session `id` came from `from`.
    pub(super) fn heard(&mut self, now: Instant, id: u32, from: SocketAddr) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.touch(now, from, self.at);
        }
        if let Some(info) = self.core.open_sessions.get_mut(&id) {
            info.peer = from;
        }
    }

    /// Payloads of this type are not encrypted in session `id`, whatever its cipher suite.
    fn is_in_the_clear(&self, id: u32, payload_type: PayloadType) -> bool {
        payload_type == PayloadType::SOL
            && self.core.sol.in_the_clear() == Some(id)
            && !self.core.store.sol.force_encryption
    }

    /// A datagram for open session `id`.
    pub(super) fn seal(
        &mut self,
        id: u32,
        payload_type: PayloadType,
        payload: &[u8],
    ) -> Option<Transmit> {
        let in_the_clear = self.is_in_the_clear(id, payload_type);
        let session = self.sessions.get_mut(id)?;
        let (to, from, console_id) = (session.peer, session.at, session.console_id);
        let open = session.open_mut()?;
        let sequence = open.next_sequence();
        let keys = match &open.protection {
            Protection::V15(key) => {
                // IPMI 1.5 has no other payloads.
                let datagram = v15::seal(key, id, sequence, payload);
                return (payload_type == PayloadType::IPMI).then_some(Transmit {
                    to,
                    from,
                    datagram,
                });
            }
            Protection::V20(keys) => keys,
        };
        let encrypted = keys.encrypts() && !in_the_clear;
        let header = V20Header {
            payload_type,
            encrypted,
            authenticated: keys.authenticates(),
            session_id: console_id,
            sequence,
        };
        let mut iv = [0; 16];
        self.core.rng.fill_bytes(&mut iv);
        let sealed_len = if encrypted { keys.sealed_len(payload.len()) } else { payload.len() };
        let mut datagram = self.room.datagram();
        datagram.reserve(sealed_len + 40);
        header.encode(len_u16(sealed_len), &mut datagram);
        if encrypted {
            keys.seal(iv, payload, &mut datagram);
        } else {
            datagram.extend_from_slice(payload);
        }
        if keys.authenticates() {
            pad_trailer(&mut datagram);
            keys.append_auth_code(&mut datagram, rmcp::HEADER_LEN);
        }
        Some(Transmit { to, from, datagram })
    }
}

/// Length of a payload of ours, all of which are short.
fn len_u16(len: usize) -> u16 {
    u16::try_from(len).expect("our payloads are below 64 KiB")
}
