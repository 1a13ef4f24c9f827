//! The system interface: software on the machine, and what waits for it (v2.0 sections 6.13 and 22.1 to
//! 22.8).

use std::time::Instant;

use tracing::debug;

use crate::bmc::command::{Asked, Source};
use crate::bmc::store::sel::ENTRY_LEN;
use crate::bmc::words::Bits;
use crate::bmc::{Bmc, Core};
use crate::wire::code::CompletionCode;
use crate::wire::vm::{self, FromMachine, ToMachine};

/// BMC global enables (v2.0 section 22.1).
pub(super) mod enable {
    /// Interrupts: when there is a message.
    pub(in crate::bmc) const MESSAGE_INTERRUPT: u8 = 0x01;
    /// And when there is an event.
    pub(in crate::bmc) const EVENT_INTERRUPT: u8 = 0x02;
    /// Events are kept for the system's software.
    pub(in crate::bmc) const EVENT_BUFFER: u8 = 0x04;
    /// All that belong to the system interface.
    pub(in crate::bmc) const ALL: u8 = MESSAGE_INTERRUPT | EVENT_INTERRUPT | EVENT_BUFFER;
}

/// Message flags (v2.0 section 22.4).
pub(super) mod flag {
    pub(in crate::bmc) const EVENT: u8 = 0x02;
    pub(in crate::bmc) const PRE_TIMEOUT: u8 = 0x08;
}

/// What waits for the system's software.
#[derive(Clone, Debug, Default)]
pub(super) struct Messages {
    /// See [`enable`].
    pub(super) enables: u8,
    /// The event message buffer.
    pub(super) event: Option<[u8; ENTRY_LEN]>,
}

impl Messages {
    /// An event, as the SEL has it: taken if the buffer is wanted and free.
    pub(super) fn offer(&mut self, event: [u8; ENTRY_LEN]) {
        if self.enables & enable::EVENT_BUFFER != 0 {
            self.event.get_or_insert(event);
        }
    }
}

impl Core {
    /// The message flags (v2.0 section 22.4). No messages are received.
    pub(super) fn message_flags(&self) -> u8 {
        let event = if self.messages.event.is_some() { flag::EVENT } else { 0 };
        let watchdog = self.store.watchdog.pre_timeout_interrupt;
        event | if watchdog { flag::PRE_TIMEOUT } else { 0 }
    }

    /// Clears message flags; an event goes with its flag.
    pub(super) fn clear_message_flags(&mut self, flags: u8) {
        self.messages.event.take_if(|_| flags & flag::EVENT != 0);
        self.store.watchdog.pre_timeout_interrupt &= flags & flag::PRE_TIMEOUT == 0;
    }

    fn attention(&self) -> ToMachine {
        let flags = self.message_flags();
        let event =
            flags & flag::EVENT != 0 && self.messages.enables & enable::EVENT_INTERRUPT != 0;
        match flags {
            0 => ToMachine::NoAttention,
            _ => ToMachine::Attention { interrupt: event || flags & flag::PRE_TIMEOUT != 0 },
        }
    }
}

/// The connection to the machine's device.
#[derive(Debug)]
pub(super) struct SystemInterface {
    decoder: vm::Decoder,
    out: Vec<u8>,
    /// What the device was told last.
    attention: ToMachine,
    interrupts: bool,
}

impl Default for SystemInterface {
    /// That of a device that has just begun.
    fn default() -> Self {
        Self {
            decoder: vm::Decoder::default(),
            out: ToMachine::Version.encode(),
            attention: ToMachine::NoAttention,
            interrupts: false,
        }
    }
}

impl Bmc {
    /// The machine has a new system interface: its process has just started.
    pub fn handle_system_interface_start(&mut self) {
        self.core.messages = Default::default();
        self.system_interface = Some(SystemInterface::default());
    }

    /// The machine's system interface, an `ipmi-bmc-extern` of QEMU, has said this.
    pub fn handle_system_interface(&mut self, now: Instant, bytes: &[u8]) {
        for byte in bytes {
            let Some(interface) = &mut self.system_interface else { return };
            match interface.decoder.take(*byte) {
                None => {}
                Some(Ok(FromMachine::Request(request))) => self.system_request(now, &request),
                Some(Ok(FromMachine::Version(version))) => {
                    debug!(version, "system interface: VM protocol");
                }
                Some(Ok(FromMachine::Capabilities(capabilities))) => {
                    let capabilities = Bits(capabilities, vm::capability::NAMES);
                    debug!(%capabilities, "system interface");
                }
                Some(Ok(FromMachine::Reset)) => {
                    // Whoever has switched interrupts on is gone, and what waits with him.
                    self.core.messages = Default::default();
                }
                Some(Err(reason)) => debug!(%reason, "system interface: dropped"),
            }
        }
    }

    /// The next bytes for the machine's system interface.
    pub fn poll_system_interface(&mut self) -> Option<Vec<u8>> {
        let interface = self.system_interface.as_mut()?;
        let interrupts = self.core.messages.enables & enable::MESSAGE_INTERRUPT != 0;
        if interface.interrupts != interrupts {
            interface.interrupts = interrupts;
            interface.out.extend(ToMachine::EnableInterrupts(interrupts).encode());
        }
        let attention = self.core.attention();
        if interface.attention != attention {
            interface.attention = attention;
            interface.out.extend(attention.encode());
        }
        Some(std::mem::take(&mut interface.out)).filter(|out| !out.is_empty())
    }

    fn system_request(&mut self, now: Instant, request: &vm::Request) {
        let outcome = self.core.execute(now, Source::System, None, &Asked::from(request));
        let response = match outcome.result {
            Ok(data) => request.respond(CompletionCode::OK, &data),
            Err(code) => request.respond(code, &[]),
        };
        if let Some(interface) = &mut self.system_interface {
            interface.out.extend(response);
        }
        self.follow_up(now, None, outcome.after);
    }
}
