//! What holds for every command that there is, by the engine's own list of them.

use std::time::Duration;

use proptest::prelude::*;
use qemu_bmc::bmc::{CommandInfo, commands};
use qemu_bmc::machine::{Event, StartCause, Status};
use qemu_bmc::wire::code::{NetFn, Privilege};

use crate::console::{Rig, Session, Suite, login, message};
use crate::v15;

const LEVELS: [Privilege; 4] =
    [Privilege::CALLBACK, Privilege::USER, Privilege::OPERATOR, Privilege::ADMINISTRATOR];

const INVALID_COMMAND: u8 = 0xC1;
const INVALID_LUN: u8 = 0xC2;
const LENGTH_INVALID: u8 = 0xC7;
const INSUFFICIENT_PRIVILEGE: u8 = 0xD4;

/// The group extension's commands begin with the group: DCMI.
const DCMI: u8 = 0xDC;

/// Commands that take data of any length.
const LONG: [(NetFn, u8); 4] = [
    // Send Message carries what others understand.
    (NetFn::APP, 0x34),
    // Write FRU Data, Partial Add SDR, Partial Add SEL Entry.
    (NetFn::STORAGE, 0x12),
    (NetFn::STORAGE, 0x25),
    (NetFn::STORAGE, 0x45),
];

/// A machine that is on, and a session that has the level as its limit and for now.
fn at(level: Privilege) -> (Rig, Session) {
    let mut rig = Rig::new();
    let on = Status::ON;
    let now = rig.now;
    rig.bmc.handle_machine(now, on, &Event::Started(StartCause::PowerOn));
    let role = 0x10 | level.0;
    let mut session = login(&mut rig, Suite::Seventeen, "admin", "admin-secret", role).unwrap();
    if level > Privilege::USER {
        assert_eq!(session.command(&mut rig, 0x06, 0x3B, &[level.0]).0, 0);
    }
    (rig, session)
}

/// Completion code and data; `None` if there was no answer, as the session is over.
fn ask(
    rig: &mut Rig,
    session: &mut Session,
    of: &CommandInfo,
    data: &[u8],
) -> Option<(u8, Vec<u8>)> {
    session.request_sequence = (session.request_sequence + 1) % 64;
    let request = message(of.net_fn.0, of.command, session.request_sequence, data);
    let datagram = session.seal(0, &request);
    let answers = rig.exchange(&datagram);
    let (payload_type, response) = session.unseal(answers.first()?);
    assert_eq!(payload_type, 0);
    // What else came, such as the farewell to a SOL session of ours.
    for more in &answers[1..] {
        session.unseal(more);
    }
    Some(session.response(of.net_fn.0, of.command, &response))
}

/// Codes that the specification has (v2.0 table 5-2).
fn is_legal(code: u8) -> bool {
    matches!(code, 0x00 | 0x80..=0xBE | 0xC0..=0xD6 | 0xFF)
}

/// Runs a command once and checks what holds for every answer.
fn run(rig: &mut Rig, session: &mut Session, of: &CommandInfo, data: &[u8]) -> Option<u8> {
    let (code, response) = ask(rig, session, of, data)?;
    assert!(is_legal(code), "{of:?} answers {data:02x?} with {code:02x}");
    assert!(response.len() <= 255, "{of:?} answers {data:02x?} with {} bytes", response.len());
    assert_ne!(code, INVALID_LUN, "{of:?}");
    rig.requests();
    Some(code)
}

fn with_group(of: &CommandInfo, mut data: Vec<u8>) -> Vec<u8> {
    if let (NetFn::GROUP_EXTENSION, Some(first)) = (of.net_fn, data.first_mut()) {
        *first = DCMI;
    }
    data
}

#[test]
fn each_command_asks_for_its_privilege_and_no_more() {
    for of in commands() {
        for level in LEVELS {
            let (mut rig, mut session) = at(level);
            let allowed = of.privilege.is_none_or(|needed| level >= needed);
            // The privilege counts whatever the data; what a command finds in its data may ask for
            // more (another's session to close, say), so data that is allowed is empty.
            let most = if allowed { 0 } else { 40 };
            for len in 0..=most {
                let data = match of.net_fn {
                    NetFn::GROUP_EXTENSION => with_group(&of, vec![0; len + 1]),
                    _ => vec![0; len],
                };
                let (code, response) = ask(&mut rig, &mut session, &of, &data).unwrap();
                let refused = code == INSUFFICIENT_PRIVILEGE;
                assert_eq!(refused, !allowed, "{of:?} at {level:?}: {code:02x}");
                assert!(!refused || response.is_empty());
            }
            assert!(allowed || rig.requests().is_empty(), "{of:?} at {level:?} had an effect");
        }
    }
}

/// Asks for all that needs more than this level, which a session has as of now: it is refused, and
/// nothing comes of it.
fn stays_at(
    rig: &mut Rig,
    level: Privilege,
    mut command: impl FnMut(&mut Rig, u8, u8, &[u8]) -> (u8, Vec<u8>),
) {
    rig.requests();
    rig.bmc.poll_save();
    let all = commands();
    let above = all.iter().filter(|of| of.privilege.is_some_and(|needed| needed > level));
    assert!(above.clone().count() > 20);
    for of in above {
        for data in [&[1][..], &[1, 2], &[1, 2, 3], &[1; 4], &[2; 8], &[1; 16], &[1; 22]] {
            let data = with_group(of, data.to_vec());
            let answer = command(rig, of.net_fn.0, of.command, &data);
            assert_eq!(answer, (INSUFFICIENT_PRIVILEGE, vec![]), "{of:?} at {level:?}");
        }
    }
    assert_eq!(rig.requests(), []);
    assert_eq!(rig.bmc.poll_save(), None);
}

#[test]
fn nobody_has_more_than_the_level_as_of_now() {
    const SET_LEVEL: u8 = 0x3B;
    const EXCEEDS_LIMIT: u8 = 0x81;
    let users = [("user", 2), ("operator", 3), ("admin", 4)];
    // What a session begins with, whatever its limit.
    for (name, most) in users {
        let mut rig = Rig::new();
        let password = format!("{name}-secret");
        let mut v20 = login(&mut rig, Suite::Seventeen, name, &password, 0x10).unwrap();
        stays_at(&mut rig, Privilege::USER, |rig, net_fn, command, data| {
            v20.command(rig, net_fn, command, data)
        });
        let mut v15 = v15::login(&mut rig, v15::MD5, name, &password, most).unwrap();
        stays_at(&mut rig, Privilege::USER, |rig, net_fn, command, data| {
            v15.command(rig, net_fn, command, data)
        });
    }
    // What it is raised to, tries to raise itself to, and goes back to. The last is an administrator who
    // has asked for a session of an operator.
    for (name, role, most) in
        [("user", 0x10, 2), ("operator", 0x10, 3), ("admin", 0x10, 4), ("admin", 0x13, 3)]
    {
        let mut rig = Rig::new();
        let password = format!("{name}-secret");
        let mut session = login(&mut rig, Suite::Seventeen, name, &password, role).unwrap();
        let mut now = 2;
        for wanted in [3, 4, 2, 4, 3, 2] {
            let answer = session.command(&mut rig, 0x06, SET_LEVEL, &[wanted]);
            if wanted <= most {
                now = wanted;
                assert_eq!(answer, (0, vec![wanted]));
            } else {
                assert_eq!(answer, (EXCEEDS_LIMIT, vec![]));
            }
            if now < 4 {
                stays_at(&mut rig, Privilege(now), |rig, net_fn, command, data| {
                    session.command(rig, net_fn, command, data)
                });
            }
        }
    }
}

#[test]
fn each_command_answers_data_of_each_length_with_a_legal_code() {
    for of in commands() {
        let mut too_long_by_length = false;
        for fill in ["zeros", "ones", "numbers", "channel 1"] {
            let (mut rig, mut session) = at(Privilege::ADMINISTRATOR);
            for len in 0..=255_u8 {
                let data = match fill {
                    "zeros" => vec![0x00; usize::from(len)],
                    "ones" => vec![0xFF; usize::from(len)],
                    "numbers" => (0..len).collect(),
                    _ => (0..len).map(|index| u8::from(index == 0)).collect(),
                };
                let data = with_group(&of, data);
                let code = match run(&mut rig, &mut session, &of, &data) {
                    // It took away the session, or what the session may: from anew.
                    None | Some(INSUFFICIENT_PRIVILEGE) => {
                        (rig, session) = at(Privilege::ADMINISTRATOR);
                        run(&mut rig, &mut session, &of, &data)
                    }
                    answered => answered,
                };
                if len >= 64 && !LONG.contains(&(of.net_fn, of.command)) {
                    assert_ne!(code, Some(0), "{of:?} takes {len} bytes of {fill}");
                    too_long_by_length |= code == Some(LENGTH_INVALID);
                }
                rig.pass(Duration::from_millis(1));
                if of.command == 0x3C {
                    (rig, session) = at(Privilege::ADMINISTRATOR);
                }
            }
        }
        let long = LONG.contains(&(of.net_fn, of.command));
        // It has a code of its own for that (section 22.25).
        let long = long || (of.net_fn, of.command) == (NetFn::APP, 0x56);
        assert!(long || too_long_by_length, "{of:?} never says that data is too long");
    }
}

#[test]
fn what_is_no_command_is_c1h_at_every_level() {
    let known: Vec<_> = commands().iter().map(|of| (of.net_fn.0, of.command)).collect();
    for level in LEVELS {
        let (mut rig, mut session) = at(level);
        for net_fn in (0..64_u8).step_by(2) {
            for command in 0..=255_u8 {
                if known.contains(&(net_fn, command)) {
                    continue;
                }
                for data in [&[][..], &[DCMI, 0x00], &[0x00, 0x02]] {
                    let answer = session.command(&mut rig, net_fn, command, data);
                    assert_eq!(answer, (INVALID_COMMAND, vec![]), "{net_fn:02x} {command:02x}");
                }
            }
        }
        assert_eq!(rig.requests(), []);
    }
}

#[test]
fn a_lun_other_than_0_is_c2h() {
    let (mut rig, mut session) = at(Privilege::ADMINISTRATOR);
    for of in commands() {
        for lun in 1..=3_u8 {
            let mut request = message(of.net_fn.0, of.command, 0, &[]);
            request[1] |= lun;
            request[2] = request[2].wrapping_sub(lun);
            let datagram = session.seal(0, &request);
            let answers = rig.exchange(&datagram);
            let (_, response) = session.unseal(&answers[0]);
            assert_eq!(response[4], lun, "the answer names the LUN that was asked");
            assert_eq!(response[6..8], [INVALID_LUN, response[7]], "{of:?}");
            assert_eq!(response.len(), 8);
        }
    }
    assert_eq!(rig.requests(), []);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Commands one after the other, with data that is near to what they want.
    #[test]
    fn any_sequence_of_commands_gets_legal_answers(
        calls in prop::collection::vec(
            (any::<prop::sample::Index>(), prop::collection::vec(
                prop_oneof![0_u8..8, any::<u8>()], 0..24)), 1..40)
    ) {
        let all = commands();
        let (mut rig, mut session) = at(Privilege::ADMINISTRATOR);
        for (of, data) in calls {
            let of = of.get(&all);
            if run(&mut rig, &mut session, of, &with_group(of, data)).is_none() {
                (rig, session) = at(Privilege::ADMINISTRATOR);
            }
            rig.pass(Duration::from_millis(50));
        }
    }
}
