//! What who is not logged in learns of names and passwords: by what answers say, and by the work that
//! they take.

use std::time::{Duration, Instant};

use qemu_bmc::bmc::{Config, User};
use qemu_bmc::profile::check::Declared;
use qemu_bmc::value::Secret;
use qemu_bmc::wire::code::Privilege;

use crate::APP;
use crate::console::{self, CONSOLE_ID, Rig, Suite, admin, open, setup, setup_datagram};
use crate::v15;

/// All names have the same length, which counts for some work.
const FIRST: &str = "operator";
const LAST: &str = "the-last";
const DISABLED: &str = "disabled";
const NO_ACCESS: &str = "excluded";
const MISSING: &str = "a-nobody";

/// What a clock may be coarse by.
const TICK: Duration = Duration::from_nanos(50);
/// Exchanges of each kind.
const ROUNDS: usize = 3000;

/// Users who can log in, in the first and the last place, and who cannot, in between.
fn rig(bad_password_threshold: u32) -> Rig {
    let mut config = Config { bad_password_threshold, ..console::config() };
    let names = [DISABLED, NO_ACCESS, "filler-1", "filler-2", "filler-3", LAST];
    config.users.extend(names.map(|name| User {
        name: name.into(),
        password: Secret::new(format!("{name}-secret")).unwrap(),
        privilege: Privilege::ADMINISTRATOR,
        enabled: name != DISABLED,
        declared: Declared::default(),
    }));
    let mut rig = Rig::with(config);
    let mut session = admin(&mut rig);
    session.command(&mut rig, APP, 0x3B, &[4]);
    let id = (2..16).find(|id| {
        let (code, data) = session.command(&mut rig, APP, 0x46, &[*id]);
        code == 0 && data.starts_with(NO_ACCESS.as_bytes())
    });
    assert_eq!(session.command(&mut rig, APP, 0x43, &[0xB1, id.unwrap(), 0x0F, 0]).0, 0);
    let id = session.managed_id.to_le_bytes();
    session.command(&mut rig, APP, 0x3C, &id);
    rig
}

fn rakp3(id: u32, code: &[u8]) -> Vec<u8> {
    [&[0x33, 0, 0, 0][..], &id.to_le_bytes(), code].concat()
}

#[test]
fn who_may_not_log_in_is_told_as_who_is_not_there() {
    let mut rig = rig(20);
    // He is there, and locked out from here.
    for _ in 0..20 {
        assert_eq!(v15::guess(&mut rig, LAST), Ok(()));
    }
    for name in [MISSING, DISABLED, NO_ACCESS, LAST] {
        for suite in [Suite::Three, Suite::Seventeen] {
            let id = open(&mut rig, 0, suite).unwrap();
            let answer = setup(&mut rig, 0x12, &console::rakp1(id, 0x14, name));
            let status = [&[0x22, 0x0D, 0, 0][..], &CONSOLE_ID.to_le_bytes()].concat();
            assert_eq!(answer, status, "{name}");
        }
        assert_eq!(v15::guess(&mut rig, name), Err(0x81), "{name}");
    }
}

/// How long the engine takes for a message of the set-up, which it answers with this status.
fn time(rig: &mut Rig, payload_type: u8, payload: &[u8], status: u8) -> Duration {
    let datagram = setup_datagram(payload_type, payload);
    let start = Instant::now();
    rig.bmc.handle_datagram(rig.now, rig.from, rig.at, &datagram);
    let took = start.elapsed();
    let [answer] = &rig.receive()[..] else { panic!("one answer") };
    assert_eq!(answer[17], status);
    took
}

/// Whether these take the same work. What disturbs a measurement only adds to it: so it is the least
/// time of many that counts, and they take turns, so that a slow spell is one for all of them. One
/// hash more or less is a third of the work, or more.
fn take_alike<const N: usize>(what: &str, mut measure: impl FnMut(usize) -> Duration) {
    let mut least = [Duration::MAX; N];
    for _ in 0..ROUNDS {
        for (case, least) in least.iter_mut().enumerate() {
            *least = measure(case).min(*least);
        }
    }
    let (shortest, longest) = (least.iter().min().unwrap(), least.iter().max().unwrap());
    assert!(*longest <= *shortest * 6 / 5 + TICK, "{what}: {least:?}");
}

#[test]
fn work_tells_nothing_of_names_and_passwords() {
    let mut rig = rig(0);
    take_alike::<3>("RAKP Message 1 of who may not log in", |case| {
        let name = [MISSING, DISABLED, NO_ACCESS][case];
        let id = open(&mut rig, 0, Suite::Seventeen).unwrap();
        time(&mut rig, 0x12, &console::rakp1(id, 0x14, name), 0x0D)
    });
    take_alike::<2>("RAKP Message 1 of who may", |case| {
        let id = open(&mut rig, 0, Suite::Seventeen).unwrap();
        let took = time(&mut rig, 0x12, &console::rakp1(id, 0x10, [FIRST, LAST][case]), 0);
        setup(&mut rig, 0x14, &rakp3(id, &[]));
        took
    });
    take_alike::<6>("RAKP Message 3 that is wrong", |case| {
        let name = if case == 5 { LAST } else { FIRST };
        let id = open(&mut rig, 0, Suite::Seventeen).unwrap();
        let rakp2 = setup(&mut rig, 0x12, &console::rakp1(id, 0x10, name));
        let right = (name, &*format!("{name}-secret"));
        let mut message = console::rakp3(Suite::Seventeen, &rakp2, id, right, 0x10);
        let (first, last) = (8, message.len() - 1);
        match case {
            0 => message[first] ^= 1,
            1 => message[last] ^= 1,
            2 => message[first..].fill(0),
            3 => message.truncate(last),
            4 => message.truncate(first),
            _ => message[(first + last) / 2] ^= 0x80,
        }
        time(&mut rig, 0x14, &message, 0x0F)
    });
}
