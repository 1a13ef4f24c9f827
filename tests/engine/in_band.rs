//! The system interface, as QEMU's `ipmi-bmc-extern` speaks.

use qemu_bmc::bmc::event::Request;
use std::time::Duration;

use qemu_bmc::bmc::{Channels, commands};
use qemu_bmc::machine::{self, Event, Origin, StartCause, Status};
use qemu_bmc::wire::code::NetFn;

use crate::console::{Rig, Suite, admin, checksum, login};

const CHASSIS: u8 = 0x00;
const SENSOR: u8 = 0x04;
const APP: u8 = 0x06;
const STORAGE: u8 = 0x0A;
const TRANSPORT: u8 = 0x0C;

/// What QEMU says when it is connected: its version of the protocol, and its capabilities.
const HELLO: [u8; 6] = [0xFF, 0x01, 0xA1, 0x08, 0x3F, 0xA1];

/// What the machine is told, apart from responses.
const NO_ATTENTION: u8 = 0x00;
const ATTENTION: u8 = 0x01;
const ATTENTION_IRQ: u8 = 0x02;
const ENABLE_IRQ: u8 = 0x05;
const DISABLE_IRQ: u8 = 0x06;

const NOTHING: [u8; 0] = [];

/// A machine with its end of the system interface.
struct Machine {
    rig: Rig,
    sequence: u8,
    /// Commands that have come.
    told: Vec<u8>,
}

impl Machine {
    fn new() -> Self {
        let mut machine = Self { rig: Rig::new(), sequence: 0, told: Vec::new() };
        let now = machine.rig.now;
        machine.rig.bmc.handle_clock(now, 1_700_000_000);
        machine.rig.bmc.handle_system_interface_start();
        machine.rig.bmc.handle_machine(now, Status::ON, &Event::Started(StartCause::PowerOn));
        machine.rig.bmc.handle_system_interface(now, &HELLO);
        assert_eq!(machine.receive(), Vec::<Vec<u8>>::new());
        assert_eq!(machine.rig.bmc.poll_system_interface(), None);
        machine
    }

    /// Takes what has come: messages, unescaped, and commands.
    fn receive(&mut self) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        let mut unit = Vec::new();
        let mut escaped = false;
        while let Some(bytes) = self.rig.bmc.poll_system_interface() {
            for byte in bytes {
                match byte {
                    0xA0 => messages.push(std::mem::take(&mut unit)),
                    0xA1 => match std::mem::take(&mut unit)[..] {
                        [0xFF, 0x01] => {}
                        [command] => self.told.push(command),
                        ref other => panic!("{other:02x?}"),
                    },
                    0xAA => escaped = true,
                    byte => {
                        unit.push(if std::mem::take(&mut escaped) { byte & !0x10 } else { byte });
                    }
                }
            }
        }
        assert!(unit.is_empty() && !escaped, "{unit:02x?}");
        messages
    }

    fn send(&mut self, net_fn: u8, lun: u8, command: u8, data: &[u8]) {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = vec![self.sequence, net_fn << 2 | lun, command];
        message.extend(data);
        message.push(checksum(&message));
        let mut stream = Vec::new();
        for byte in message {
            match byte {
                0xA0 | 0xA1 | 0xAA => stream.extend([0xAA, byte | 0x10]),
                byte => stream.push(byte),
            }
        }
        stream.push(0xA0);
        let now = self.rig.now;
        // QEMU writes byte by byte.
        for byte in stream {
            self.rig.bmc.handle_system_interface(now, &[byte]);
        }
    }

    fn command(&mut self, net_fn: u8, command: u8, data: &[u8]) -> (u8, Vec<u8>) {
        self.command_at(net_fn, 0, command, data)
    }

    fn command_at(&mut self, net_fn: u8, lun: u8, command: u8, data: &[u8]) -> (u8, Vec<u8>) {
        self.send(net_fn, lun, command, data);
        let messages = self.receive();
        let [message] = &messages[..] else { panic!("{messages:02x?}") };
        assert_eq!(message.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)), 0);
        let [sequence, net_fn_lun, number, code, data @ .., _] = &message[..] else { panic!() };
        let expected = [self.sequence, (net_fn | 1) << 2 | lun, command];
        assert_eq!([*sequence, *net_fn_lun, *number], expected);
        (*code, data.to_vec())
    }

    fn told(&mut self) -> Vec<u8> {
        assert_eq!(self.receive(), Vec::<Vec<u8>>::new());
        std::mem::take(&mut self.told)
    }
}

#[test]
fn software_on_the_machine_is_an_administrator_without_login() {
    let mut machine = Machine::new();
    let (code, id) = machine.command(APP, 0x01, &[]);
    assert_eq!((code, id.len()), (0, 15));
    assert_eq!(machine.command(CHASSIS, 0x02, &[3]), (0, vec![]));
    let requests = machine.rig.requests();
    let reset = Request::Power(machine::Request::Reset, Origin::SystemInterface);
    assert!(requests.contains(&reset), "{requests:?}");
    assert_eq!(machine.rig.bmc.open_sessions(), 0);
}

#[test]
fn one_store_for_inside_and_outside() {
    let mut machine = Machine::new();
    // As bmc-config adds a user: name, password, privilege and rights on channel 1, enable.
    let mut name = vec![5];
    name.extend(*b"maas\0\0\0\0\0\0\0\0\0\0\0\0");
    assert_eq!(machine.command(APP, 0x45, &name).0, 0);
    let mut password = vec![5, 0x02];
    password.extend(*b"in-band-pw\0\0\0\0\0\0");
    assert_eq!(machine.command(APP, 0x47, &password).0, 0);
    assert_eq!(machine.command(APP, 0x43, &[0xB1, 5, 4, 0]).0, 0);
    assert_eq!(machine.command(APP, 0x47, &[5, 0x01]).0, 0);
    let mut session =
        login(&mut machine.rig, Suite::Seventeen, "maas", "in-band-pw", 0x14).unwrap();
    session.command(&mut machine.rig, APP, 0x3B, &[4]);
    // And back: boot flags set outside are read inside.
    let flags = [5, 0xC0, 0x04, 0, 0, 0];
    assert_eq!(session.command(&mut machine.rig, CHASSIS, 0x08, &flags).0, 0);
    assert_eq!(machine.command(CHASSIS, 0x09, &[5, 0, 0]).1[2..4], [0xC0, 0x04]);
    for (net_fn, command, data) in [
        (STORAGE, 0x10, &[0_u8][..]),
        (STORAGE, 0x20, &[]),
        (STORAGE, 0x40, &[]),
        (STORAGE, 0x11, &[0, 0, 0, 64]),
        (SENSOR, 0x2D, &[0x01]),
        (TRANSPORT, 0x02, &[1, 3, 0, 0]),
        (TRANSPORT, 0x02, &[1, 5, 0, 0]),
        (APP, 0x37, &[]),
        (APP, 0x44, &[1, 5]),
    ] {
        let inside = machine.command(net_fn, command, data);
        let outside = session.command(&mut machine.rig, net_fn, command, data);
        assert_eq!(inside, outside, "{net_fn:02x}/{command:02x}");
        assert_eq!(inside.0, 0, "{net_fn:02x}/{command:02x}");
    }
}

#[test]
fn the_present_channel_is_the_system_interface() {
    let mut machine = Machine::new();
    let (code, info) = machine.command(APP, 0x42, &[0x0E]);
    assert_eq!((code, info[0], info[1], info[2]), (0, 0x0F, 0x0C, 0x05), "KCS");
    assert_eq!(machine.command(APP, 0x42, &[0x01]).1[..2], [0x01, 0x04]);
    // It has no sessions, so nothing to be authenticated by.
    assert_eq!(machine.command(APP, 0x38, &[0x0E, 4]).0, 0xCC);
    assert_eq!(machine.command(APP, 0x38, &[0x01, 4]).0, 0);
    assert_eq!(machine.command(APP, 0x41, &[0x0E, 0x40]).0, 0x82);
    assert_eq!(machine.command_at(APP, 1, 0x01, &[]).0, 0xC2);
    assert_eq!(machine.command(0x3E, 0x01, &[]).0, 0xC1);
    // The interface is busy until it is answered, so what is no request is, too.
    assert_eq!(machine.command(0x07, 0x01, &[]).0, 0xC1);
}

#[test]
fn every_command_of_every_length_is_answered_and_session_commands_refused() {
    for of in commands() {
        let mut machine = Machine::new();
        for len in 0..=40_u8 {
            let mut data = vec![0; len.into()];
            if let (NetFn::GROUP_EXTENSION, Some(first)) = (of.net_fn, data.first_mut()) {
                *first = 0xDC;
            }
            let (code, _) = machine.command(of.net_fn.0, of.command, &data);
            // There is no BT interface.
            let no_bt = of.name == "Get BT Interface Capabilities" && len == 0;
            let refused = of.channels == Channels::Lan || no_bt;
            assert_eq!(code == 0xC1, refused, "{of:?} {len}: {code:02x}");
            assert_ne!(code, 0xD4, "{of:?}");
        }
    }
}

#[test]
fn interrupts_as_the_driver_has_set_them() {
    let mut machine = Machine::new();
    assert_eq!(machine.command(APP, 0x2F, &[]), (0, vec![0x08]), "events go to the SEL");
    assert_eq!(machine.command(APP, 0x2E, &[0x09]).0, 0);
    assert_eq!(machine.told(), [ENABLE_IRQ]);
    assert_eq!(machine.command(APP, 0x2F, &[]), (0, vec![0x09]));
    assert_eq!(machine.command(APP, 0x2E, &[0x09]).0, 0);
    assert_eq!(machine.told(), NOTHING, "nothing new");
    // Consoles have no say in it.
    let mut session = admin(&mut machine.rig);
    session.command(&mut machine.rig, APP, 0x3B, &[4]);
    assert_eq!(session.command(&mut machine.rig, APP, 0x2E, &[0x08]).0, 0);
    assert_eq!(session.command(&mut machine.rig, APP, 0x2F, &[]).1, [0x09]);
    assert_eq!(machine.told(), NOTHING);
    // Who had set them is gone with a reset.
    let now = machine.rig.now;
    machine.rig.bmc.handle_system_interface(now, &[0x04, 0xA1]);
    assert_eq!(machine.told(), [DISABLE_IRQ]);
    assert_eq!(machine.command(APP, 0x2F, &[]).1, [0x08]);
    // And with the process; the new one begins without.
    assert_eq!(machine.command(APP, 0x2E, &[0x0F]).0, 0);
    assert_eq!(machine.told(), [ENABLE_IRQ]);
    machine.rig.bmc.handle_system_interface_start();
    assert_eq!(machine.told(), NOTHING);
    assert_eq!(machine.command(APP, 0x2F, &[]).1, [0x08]);
}

#[test]
fn an_event_waits_in_the_buffer_until_it_is_read() {
    let mut machine = Machine::new();
    let event = [0x41, 0x04, 0x08, 0x30, 0x6F, 0x01, 0xFF, 0xFF];
    assert_eq!(machine.command(SENSOR, 0x02, &event).0, 0);
    assert_eq!(machine.told(), NOTHING, "nobody wants events");
    assert_eq!(machine.command(APP, 0x35, &[]).0, 0x80);
    // Buffer and its interrupt.
    assert_eq!(machine.command(APP, 0x2E, &[0x0E]).0, 0);
    assert_eq!(machine.command(SENSOR, 0x02, &event).0, 0);
    let second = [0x41, 0x04, 0x08, 0x31, 0x6F, 0x01, 0xFF, 0xFF];
    assert_eq!(machine.command(SENSOR, 0x02, &second).0, 0);
    assert_eq!(machine.told(), [ATTENTION_IRQ]);
    assert_eq!(machine.command(APP, 0x31, &[]), (0, vec![0x02]));
    let mut session = admin(&mut machine.rig);
    session.command(&mut machine.rig, APP, 0x3B, &[4]);
    assert_eq!(session.command(&mut machine.rig, APP, 0x35, &[]).0, 0x80, "not the console's");
    assert_eq!(session.command(&mut machine.rig, APP, 0x30, &[0xFF]).0, 0);
    let (code, entry) = machine.command(APP, 0x35, &[]);
    assert_eq!((code, entry.len(), entry[2], entry[11]), (0, 16, 0x02, 0x30), "{entry:02x?}");
    assert_ne!(entry[3..7], [0; 4], "when");
    assert_eq!(machine.told(), [NO_ATTENTION]);
    assert_eq!(machine.command(APP, 0x35, &[]).0, 0x80, "the second found no room");
    // Without the interrupt; cleared by its flag; without the SEL.
    assert_eq!(machine.command(APP, 0x2E, &[0x04]).0, 0);
    machine.rig.bmc.handle_machine(machine.rig.now, Status::ON, &Event::Panicked);
    assert_eq!(machine.told(), [ATTENTION]);
    assert_eq!(machine.command(APP, 0x30, &[0x02]).0, 0);
    assert_eq!(machine.told(), [NO_ATTENTION]);
    assert_eq!(machine.command(APP, 0x31, &[]), (0, vec![0x00]));
}

#[test]
fn messages_to_others_have_nowhere_to_go() {
    let mut machine = Machine::new();
    assert_eq!(machine.command(APP, 0x33, &[]).0, 0x80, "nothing received");
    let to_console = [0x01, 0x07, 0x81, 0x18, 0x67, 0x20, 0x04, 0x01, 0xDB];
    assert_eq!(machine.command(APP, 0x34, &to_console).0, 0x80, "no such session");
    assert_eq!(machine.command(APP, 0x34, &[0x00, 0x20, 0x18, 0xC8]).0, 0xCC, "no IPMB");
    assert_eq!(machine.command(APP, 0x34, &[]).0, 0xC7);
}

#[test]
fn garbage_from_the_machine_is_dropped() {
    let mut machine = Machine::new();
    let now = machine.rig.now;
    for garbage in [
        &[0xA0][..],
        &[0xA1],
        &[0xAA, 0xA0],
        &[1, 2, 3, 0xA0],
        &[0x01, 0x18, 0x01, 0x00, 0xA0],
        &[0x77, 0xA1],
        &[0x55; 5000],
        &[0xA0],
    ] {
        machine.rig.bmc.handle_system_interface(now, garbage);
        assert_eq!(machine.told(), NOTHING);
    }
    assert_eq!(machine.command(APP, 0x01, &[]).0, 0);
    // Without a machine there is nobody to answer.
    let mut rig = Rig::new();
    rig.bmc.handle_system_interface(rig.now, &[0x01, 0x18, 0x01, 0xE6, 0xA0]);
    assert_eq!(rig.bmc.poll_system_interface(), None);
}

#[test]
fn the_watchdog_rings_before_it_bites() {
    let mut machine = Machine::new();
    // Messaging interrupt one second before a reset, for the OS.
    assert_eq!(machine.command(APP, 0x24, &[0x04, 0x31, 1, 0, 30, 0]).0, 0);
    assert_eq!(machine.command(APP, 0x22, &[]).0, 0);
    machine.rig.pass(Duration::from_millis(1900));
    assert_eq!(machine.told(), NOTHING);
    machine.rig.pass(Duration::from_millis(100));
    assert_eq!(machine.told(), [ATTENTION_IRQ]);
    assert_eq!(machine.command(APP, 0x31, &[]), (0, vec![0x08]));
    assert_eq!(machine.command(APP, 0x30, &[0x08]).0, 0);
    assert_eq!(machine.told(), [NO_ATTENTION]);
    assert_eq!(machine.rig.power_requests(), []);
    machine.rig.pass(Duration::from_secs(1));
    assert_eq!(machine.rig.power_requests(), [machine::Request::Reset]);
}
