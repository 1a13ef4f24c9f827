//! OpenIPMI's VM protocol, which QEMU's `ipmi-bmc-extern` speaks to a BMC outside (OpenIPMI,
//! `lanserv/README.vm`; QEMU, `hw/ipmi/ipmi_bmc_extern.c`).
//!
//! Both sides send messages and commands over one byte stream. A message (a request of the machine's,
//! or its response) ends with A0h, a command with A1h; where these bytes, or AAh, stand within, AAh
//! goes before them and they have bit 4 set.

use crate::wire::DecodeError;
use crate::wire::code::{CompletionCode, NetFn};
use crate::wire::message::checksum;

const END_OF_MESSAGE: u8 = 0xA0;
const END_OF_COMMAND: u8 = 0xA1;
const ESCAPE: u8 = 0xAA;
const ESCAPED: u8 = 0x10;

/// The version that we speak, as QEMU does.
pub const VERSION: u8 = 1;

/// Longest message in bytes, unescaped; QEMU cuts longer ones.
pub const MAX_LEN: usize = 300;

/// What the machine can be told, as it says by itself.
pub mod capability {
    /// To switch off.
    pub const POWER: u8 = 0x01;
    /// To reset.
    pub const RESET: u8 = 0x02;
    /// To have its system interface make interrupts.
    pub const IRQ: u8 = 0x04;
    /// To send itself an NMI.
    pub const NMI: u8 = 0x08;
    /// To set the attention bit of its system interface.
    pub const ATTENTION: u8 = 0x10;
    /// To shut down.
    pub const GRACEFUL_SHUTDOWN: u8 = 0x20;
    /// The bits in words, from bit 0 on.
    pub const NAMES: [&str; 8] =
        ["power", "reset", "IRQ", "NMI", "attention", "graceful shutdown", "", ""];
}

/// Numbers of the commands.
mod number {
    pub(super) const NO_ATTENTION: u8 = 0x00;
    pub(super) const ATTENTION: u8 = 0x01;
    pub(super) const ATTENTION_IRQ: u8 = 0x02;
    pub(super) const POWER_OFF: u8 = 0x03;
    pub(super) const RESET: u8 = 0x04;
    pub(super) const ENABLE_IRQ: u8 = 0x05;
    pub(super) const DISABLE_IRQ: u8 = 0x06;
    pub(super) const SEND_NMI: u8 = 0x07;
    pub(super) const CAPABILITIES: u8 = 0x08;
    pub(super) const GRACEFUL_SHUTDOWN: u8 = 0x09;
    pub(super) const VERSION: u8 = 0xFF;
}

/// A request of the machine's software.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// To be echoed.
    pub sequence: u8,
    /// Network function; an odd one is nobody's, but has to be answered as well.
    pub net_fn: NetFn,
    /// The LUN that is addressed.
    pub lun: u8,
    /// Command number.
    pub command: u8,
    /// Request data.
    pub data: Vec<u8>,
}

/// What comes from the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromMachine {
    /// A request.
    Request(Request),
    /// The version of the protocol that it speaks.
    Version(u8),
    /// What it can be told, see [`capability`].
    Capabilities(u8),
    /// It was reset.
    Reset,
}

/// What goes to the machine, besides responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToMachine {
    /// The version that we speak.
    Version,
    /// There is nothing to be fetched.
    NoAttention,
    /// There is something to be fetched.
    Attention {
        /// With an interrupt.
        interrupt: bool,
    },
    /// Make interrupts when a response is there.
    EnableInterrupts(bool),
    /// Switch off at once.
    PowerOff,
    /// Reset.
    Reset,
    /// Interrupt the CPUs so that they cannot overlook it.
    SendNmi,
    /// Shut down as by the power button.
    GracefulShutdown,
}

impl ToMachine {
    /// As it goes over the stream.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(3);
        match self {
            Self::Version => escape(&[number::VERSION, VERSION], &mut out),
            Self::NoAttention => out.push(number::NO_ATTENTION),
            Self::Attention { interrupt: false } => out.push(number::ATTENTION),
            Self::Attention { interrupt: true } => out.push(number::ATTENTION_IRQ),
            Self::EnableInterrupts(true) => out.push(number::ENABLE_IRQ),
            Self::EnableInterrupts(false) => out.push(number::DISABLE_IRQ),
            Self::PowerOff => out.push(number::POWER_OFF),
            Self::Reset => out.push(number::RESET),
            Self::SendNmi => out.push(number::SEND_NMI),
            Self::GracefulShutdown => out.push(number::GRACEFUL_SHUTDOWN),
        }
        out.push(END_OF_COMMAND);
        out
    }
}

impl Request {
    /// The response, as it goes over the stream.
    #[must_use]
    pub fn respond(&self, code: CompletionCode, data: &[u8]) -> Vec<u8> {
        let mut message = Vec::with_capacity(5 + data.len());
        message.extend([self.sequence, (self.net_fn.0 | 1) << 2 | self.lun, self.command, code.0]);
        message.extend_from_slice(data);
        message.push(checksum(&message));
        let mut out = Vec::with_capacity(message.len() + 1);
        escape(&message, &mut out);
        out.push(END_OF_MESSAGE);
        out
    }

    fn decode(message: &[u8]) -> Result<Self, DecodeError> {
        let [body @ .., _] = message else { return Err(DecodeError::Truncated) };
        let [sequence, net_fn_lun, command, data @ ..] = body else {
            return Err(DecodeError::Truncated);
        };
        if message.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)) != 0 {
            return Err(DecodeError::Checksum);
        }
        let (net_fn, lun) = (NetFn(net_fn_lun >> 2), net_fn_lun & 0b11);
        Ok(Self { sequence: *sequence, net_fn, lun, command: *command, data: data.to_vec() })
    }
}

fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        if matches!(*byte, END_OF_MESSAGE | END_OF_COMMAND | ESCAPE) {
            out.extend([ESCAPE, byte | ESCAPED]);
        } else {
            out.push(*byte);
        }
    }
}

/// Takes the stream from the machine apart.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    /// What has come of the message or command, at most [`MAX_LEN`] and one byte.
    unit: Vec<u8>,
    /// The next byte is an escaped one.
    escaped: bool,
}

impl Decoder {
    /// Takes a byte. Answers what has ended with it, or why that is nothing that we know; then the
    /// next message or command begins.
    pub fn take(&mut self, byte: u8) -> Option<Result<FromMachine, DecodeError>> {
        let end: fn(&[u8]) -> _ = match byte {
            END_OF_MESSAGE => |unit| Request::decode(unit).map(FromMachine::Request),
            END_OF_COMMAND => decode_command,
            ESCAPE => {
                self.escaped = true;
                return None;
            }
            _ => {
                let escaped = std::mem::take(&mut self.escaped);
                let byte = if escaped { byte & !ESCAPED } else { byte };
                if self.unit.len() <= MAX_LEN {
                    self.unit.push(byte);
                }
                return None;
            }
        };
        let unit = std::mem::take(&mut self.unit);
        if std::mem::take(&mut self.escaped) {
            return Some(Err(DecodeError::Truncated));
        }
        Some(if unit.len() > MAX_LEN { Err(DecodeError::Unexpected("length")) } else { end(&unit) })
    }
}

fn decode_command(unit: &[u8]) -> Result<FromMachine, DecodeError> {
    match *unit {
        [number::VERSION, version] => Ok(FromMachine::Version(version)),
        [number::CAPABILITIES, capabilities] => Ok(FromMachine::Capabilities(capabilities)),
        [number::RESET] => Ok(FromMachine::Reset),
        [] => Err(DecodeError::Truncated),
        _ => Err(DecodeError::Unexpected("command")),
    }
}

#[cfg(test)]
mod tests {
    use hex_literal::hex;
    use proptest::prelude::*;

    use super::*;

    fn decode(bytes: &[u8]) -> Vec<Result<FromMachine, DecodeError>> {
        let mut decoder = Decoder::default();
        bytes.iter().filter_map(|byte| decoder.take(*byte)).collect()
    }

    fn request(data: &[u8]) -> Request {
        Request { sequence: 7, net_fn: NetFn::APP, lun: 0, command: 0x01, data: data.to_vec() }
    }

    /// As the machine sends a request.
    fn sent(request: &Request) -> Vec<u8> {
        let mut message = vec![request.sequence, request.net_fn.0 << 2 | request.lun];
        message.push(request.command);
        message.extend(&request.data);
        message.push(checksum(&message));
        let mut out = Vec::new();
        escape(&message, &mut out);
        out.push(END_OF_MESSAGE);
        out
    }

    #[test]
    fn what_qemu_says_first() {
        // QEMU 7.2, when its chardev is connected.
        let hello = decode(&hex!("ff 01 a1 08 3f a1"));
        assert_eq!(hello, [Ok(FromMachine::Version(1)), Ok(FromMachine::Capabilities(0x3F))]);
        assert_eq!(decode(&hex!("04 a1")), [Ok(FromMachine::Reset)]);
    }

    #[test]
    fn get_device_id_of_linux() {
        let asked = decode(&hex!("01 18 01 e6 a0"));
        let [Ok(FromMachine::Request(request))] = &asked[..] else { panic!("{asked:?}") };
        assert_eq!(*request, Request { sequence: 1, ..self::request(&[]) });
        let response = request.respond(CompletionCode::OK, &[0x20, 0xA0, 0xAA]);
        assert_eq!(response, hex!("01 1c 01 00 20 aa b0 aa ba 78 a0"));
    }

    #[test]
    fn damage_is_told_and_the_next_message_is_read() {
        let whole = sent(&request(&[1, 2]));
        for (bad, error) in [
            (&hex!("07 18 01 01 02 00 a0")[..], DecodeError::Checksum),
            (&hex!("07 18 e1 a0"), DecodeError::Truncated),
            (&hex!("a0"), DecodeError::Truncated),
            (&hex!("a1"), DecodeError::Truncated),
            (&hex!("07 aa a0"), DecodeError::Truncated),
            (&hex!("0b a1"), DecodeError::Unexpected("command")),
            (&hex!("08 a1"), DecodeError::Unexpected("command")),
        ] {
            let found = decode(&[bad, &whole].concat());
            let good = Ok(FromMachine::Request(request(&[1, 2])));
            assert_eq!(found, [Err(error), good], "{bad:02x?}");
        }
    }

    #[test]
    fn what_never_ends_takes_no_memory() {
        let mut decoder = Decoder::default();
        for _ in 0..100_000 {
            assert_eq!(decoder.take(0x55), None);
        }
        assert!(decoder.unit.capacity() < 2 * MAX_LEN);
        let end = decoder.take(END_OF_MESSAGE);
        assert_eq!(end, Some(Err(DecodeError::Unexpected("length"))));
    }

    proptest! {
        #[test]
        fn requests_survive_the_stream(data in proptest::collection::vec(any::<u8>(), 0..=255)) {
            let request = request(&data);
            prop_assert_eq!(decode(&sent(&request)), [Ok(FromMachine::Request(request))]);
        }

        #[test]
        fn no_stream_is_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            decode(&bytes);
        }

        #[test]
        fn only_the_end_of_a_response_ends_it(data in proptest::collection::vec(any::<u8>(), 0..=255)) {
            let response = request(&[]).respond(CompletionCode(0xA1), &data);
            let [inside @ .., END_OF_MESSAGE] = &response[..] else { panic!("{response:02x?}") };
            prop_assert!(!inside.iter().any(|b| matches!(*b, END_OF_MESSAGE | END_OF_COMMAND)));
        }
    }
}
