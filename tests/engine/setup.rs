//! The set-up of RMCP+ sessions: each refusal, limits, and what is told of sessions.

use std::time::Duration;

use qemu_bmc::bmc::Config;

use crate::console::{
    self, Odd, Refused, Rig, Suite, admin, login, login_with, message, open, setup, v15_datagram,
};
use crate::{APP, v15};

#[test]
fn an_open_session_request_that_is_malformed_is_an_illegal_parameter() {
    let mut rig = Rig::new();
    let good = console::open_session_request(0, [1, 1, 1]);
    // A wrong payload type, a wrong length, no console session ID.
    for (index, value) in [(8, 9), (16, 2), (24, 0), (11, 7), (27, 1)] {
        let mut request = good.clone();
        request[index] = value;
        let answer = setup(&mut rig, 0x10, &request);
        assert_eq!((answer.len(), answer[1]), (8, 0x12), "{index}");
        assert_eq!(answer[4..8], console::CONSOLE_ID.to_le_bytes());
    }
    let mut request = good;
    request[4..8].fill(0);
    assert_eq!(setup(&mut rig, 0x10, &request)[1], 0x12);
}

#[test]
fn a_level_that_nobody_can_have_is_an_invalid_role() {
    let mut rig = Rig::new();
    for level in [5, 6, 15] {
        assert_eq!(open(&mut rig, level, Suite::Three), Err(Refused::OpenSession(0x09)));
    }
    for level in 1..=4 {
        let request = console::open_session_request(level, [1, 1, 1]);
        assert_eq!(setup(&mut rig, 0x10, &request)[2], level);
    }
    assert_eq!(setup(&mut rig, 0x10, &console::open_session_request(0, [1, 1, 1]))[2], 4);
}

#[test]
fn when_all_sessions_are_taken_the_next_is_refused() {
    let mut rig = Rig::new();
    let mut first = admin(&mut rig);
    for _ in 1..255 {
        admin(&mut rig);
    }
    assert_eq!(rig.bmc.open_sessions(), 255);
    assert_eq!(open(&mut rig, 0, Suite::Three), Err(Refused::OpenSession(0x01)));
    assert_eq!(v15::login(&mut rig, v15::MD5, "admin", "admin-secret", 4).err(), Some(0x81));
    let (_, info) = first.command(&mut rig, APP, 0x3D, &[0]);
    assert_eq!(info[..3], [1, 63, 63], "as far as six bits count");
    let id = first.managed_id.to_le_bytes();
    assert_eq!(first.command(&mut rig, APP, 0x3C, &id).0, 0);
    admin(&mut rig);
}

#[test]
fn who_is_overtaken_by_the_last_session_is_refused_at_the_end() {
    let mut rig = Rig::new();
    for _ in 0..254 {
        admin(&mut rig);
    }
    let odd = Odd { overtaken: true, ..Odd::default() };
    let refused = login_with(&mut rig, Suite::Three, "admin", "admin-secret", 0x14, odd);
    assert_eq!(refused.err(), Some(Refused::Rakp4(0x01)));
    assert_eq!(rig.bmc.open_sessions(), 255);
}

#[test]
fn messages_of_sessions_that_are_not_there_are_refused() {
    let mut rig = Rig::new();
    assert_eq!(setup(&mut rig, 0x12, &console::rakp1(99, 0x14, "admin"))[1], 0x02);
    let rakp3 = |id: u32| [&[0x33, 0, 0, 0][..], &id.to_le_bytes(), &[0; 20]].concat();
    assert_eq!(setup(&mut rig, 0x14, &rakp3(99))[1], 0x02);
    let id = open(&mut rig, 0, Suite::Three).unwrap();
    assert_eq!(setup(&mut rig, 0x14, &rakp3(id))[1], 0x02, "before RAKP Message 1");
    let session = admin(&mut rig);
    let rakp1 = console::rakp1(session.managed_id, 0x14, "admin");
    assert_eq!(setup(&mut rig, 0x12, &rakp1)[1], 0x02, "after RAKP Message 3");
    assert_eq!(setup(&mut rig, 0x14, &rakp3(session.managed_id))[1], 0x02);
}

#[test]
fn a_console_that_gives_up_gets_no_answer_and_frees_its_place() {
    let mut rig = Rig::new();
    let id = open(&mut rig, 0, Suite::Three).unwrap();
    setup(&mut rig, 0x12, &console::rakp1(id, 0x14, "admin"));
    let rakp3 = [&[0x33, 0x0F, 0, 0][..], &id.to_le_bytes()].concat();
    assert_eq!(rig.exchange(&console::setup_datagram(0x14, &rakp3)).len(), 0);
    assert_eq!(setup(&mut rig, 0x12, &console::rakp1(id, 0x14, "admin"))[1], 0x02);
}

#[test]
fn a_flood_from_elsewhere_leaves_a_login_alone() {
    let mut rig = Rig::new();
    let id = open(&mut rig, 0, Suite::Three).unwrap();
    let home = rig.from;
    for index in 1..=2_000_u16 {
        rig.from = "198.51.100.9:1".parse().unwrap();
        rig.from.set_port(index);
        rig.now -= Duration::from_millis(1);
        assert!(open(&mut rig, 0, Suite::Three).is_ok());
    }
    rig.from = home;
    assert_eq!(setup(&mut rig, 0x12, &console::rakp1(id, 0x14, "admin"))[1], 0x00);
}

#[test]
fn who_goes_on_with_many_attempts_displaces_his_own() {
    let mut rig = Rig::new();
    let begin = |rig: &mut Rig, number: u16| {
        rig.from.set_port(number);
        let id = open(rig, 0, Suite::Three).unwrap();
        (id, setup(rig, 0x12, &console::rakp1(id, 0x14, "admin")))
    };
    let end = |rig: &mut Rig, (id, rakp2): &(u32, Vec<u8>)| {
        let right = ("admin", "admin-secret");
        setup(rig, 0x14, &console::rakp3(Suite::Three, rakp2, *id, right, 0x14))[1]
    };
    let own = begin(&mut rig, 50_000);
    let home = rig.from;
    rig.from = "198.51.100.9:1".parse().unwrap();
    let others: Vec<_> = (1..=1000).map(|number| begin(&mut rig, number)).collect();
    assert_eq!(end(&mut rig, &others[0]), 0x02, "the oldest");
    assert_eq!(end(&mut rig, &others[1000 - 256]), 0x02);
    assert_eq!(end(&mut rig, &others[1000 - 255]), 0, "255 and the other one are kept");
    rig.from = home;
    assert_eq!(end(&mut rig, &own), 0);
}

#[test]
fn a_flood_from_many_places_leaves_a_login_alone() {
    // One attempt from each address: all are alike, and the oldest makes room.
    for own in ["10.9.9.9:1", "10.0.0.1:1", "[fd00::9]:1"] {
        let mut rig = Rig::new();
        let flood = |rig: &mut Rig, packets: std::ops::Range<u32>| {
            for packet in packets {
                let [.., b, c] = packet.to_be_bytes();
                let from: std::net::SocketAddr = format!("10.1.{b}.{c}:623").parse().unwrap();
                let request = console::open_session_request(4, [1, 1, 1]);
                let now = rig.now;
                rig.bmc.handle_datagram(now, from, None, &console::setup_datagram(0x10, &request));
                while rig.bmc.poll_transmit(now).is_some() {}
            }
        };
        flood(&mut rig, 0..5_000);
        rig.from = own.parse().unwrap();
        let id = open(&mut rig, 4, Suite::Three).unwrap();
        // As many as come while a console is on its way.
        flood(&mut rig, 5_000..9_000);
        let answer = setup(&mut rig, 0x12, &console::rakp1(id, 0x14, "admin"));
        assert_eq!(answer[1], 0, "{own}");
        // Who has come so far is not displaced by sources that may be forged.
        flood(&mut rig, 9_000..30_000);
        let right = ("admin", "admin-secret");
        let rakp3 = console::rakp3(Suite::Three, &answer, id, right, 0x14);
        assert_eq!(setup(&mut rig, 0x14, &rakp3)[1], 0, "{own}");
    }
}

#[test]
fn what_open_session_has_promised_is_the_limit() {
    let mut rig = Rig::new();
    let id = open(&mut rig, 2, Suite::Three).unwrap();
    let answer = setup(&mut rig, 0x12, &console::rakp1(id, 0x14, "admin"));
    assert_eq!(answer[1], 0x09);
}

#[test]
fn what_a_console_is_told_before_login_is_true() {
    let ask = |config: Config, channel| {
        let request = message(APP, 0x38, 1, &[channel, 4]);
        let answers = Rig::with(config).exchange(&v15_datagram(&request));
        answers[0][14 + 7..answers[0].len() - 1].to_vec()
    };
    // Bit 7 asks for IPMI 2.0: MD5 and extended; a name is needed; 1.5 and 2.0.
    assert_eq!(ask(console::config(), 0x8E), [1, 0x84, 0x04, 0x03, 0, 0, 0, 0]);
    assert_eq!(ask(console::config(), 0x01), [1, 0x04, 0x04, 0x00, 0, 0, 0, 0]);
    let v15 = [v15::NONE, v15::MD2, v15::MD5, v15::PASSWORD].to_vec();
    assert_eq!(ask(Config { v15, ..console::config() }, 0x8E)[1], 0x97);
    let off = Config { v15: vec![], ..console::config() };
    assert_eq!(ask(off, 0x8E), [1, 0x80, 0x04, 0x02, 0, 0, 0, 0]);
    let mut disabled = console::config();
    disabled.users.iter_mut().for_each(|user| user.enabled = false);
    assert_eq!(ask(disabled, 0x8E)[2], 0x00, "nobody can log in");
}

#[test]
fn sessions_are_told_by_number_handle_and_id() {
    let mut rig = Rig::new();
    let mut one = admin(&mut rig);
    one.command(&mut rig, APP, 0x3B, &[4]);
    let two = login(&mut rig, Suite::Three, "user", "user-secret", 0x12).unwrap();
    let mut three = v15::login(&mut rig, v15::MD5, "operator", "operator-secret", 3).unwrap();
    let [low, high] = 50000_u16.to_le_bytes();
    let admin = [1, 63, 3, 2, 4, 0x11, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, low, high];
    let user = [2, 63, 3, 4, 2, 0x11, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, low, high];
    let operator = [3, 63, 3, 3, 2, 0x01, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, low, high];
    assert_eq!(one.command(&mut rig, APP, 0x3D, &[0]), (0, admin.to_vec()));
    assert_eq!(three.command(&mut rig, APP, 0x3D, &[0]), (0, operator.to_vec()));
    assert_eq!(one.command(&mut rig, APP, 0x3D, &[2]), (0, user.to_vec()));
    assert_eq!(one.command(&mut rig, APP, 0x3D, &[0xFE, 3]), (0, operator.to_vec()));
    let by_id = [&[0xFF][..], &two.managed_id.to_le_bytes()].concat();
    assert_eq!(one.command(&mut rig, APP, 0x3D, &by_id), (0, user.to_vec()));
    assert_eq!(one.command(&mut rig, APP, 0x3D, &[4]), (0, vec![0, 63, 3]), "no fourth");
    assert_eq!(one.command(&mut rig, APP, 0x3D, &[0xFE, 9]).0, 0xCB);
    assert_eq!(one.command(&mut rig, APP, 0x3D, &[0xFF, 9, 9, 9, 9]).0, 0xCB);
    for wrong in [&[][..], &[0, 0], &[0xFE], &[0xFF], &[0xFF, 1, 2, 3]] {
        assert_eq!(one.command(&mut rig, APP, 0x3D, wrong).0, 0xC7, "{wrong:x?}");
    }
    // Close Session by handle; the handle is free again.
    assert_eq!(three.command(&mut rig, APP, 0x3C, &[0, 0, 0, 0, 2]).0, 0xD4);
    assert_eq!(one.command(&mut rig, APP, 0x3C, &[0, 0, 0, 0, 9]).0, 0x88);
    assert_eq!(one.command(&mut rig, APP, 0x3C, &[1, 0, 0, 0, 2]).0, 0xC7);
    assert_eq!(one.command(&mut rig, APP, 0x3C, &[0, 0, 0, 0, 2]).0, 0);
    assert_eq!(one.command(&mut rig, APP, 0x3D, &[2]).1[..3], [3, 63, 2]);
    login(&mut rig, Suite::Three, "user", "user-secret", 0x12).unwrap();
    assert_eq!(one.command(&mut rig, APP, 0x3D, &[2]).1[..3], [2, 63, 3]);
}
