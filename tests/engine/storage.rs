//! SEL, SDR repository and FRU inventory.

use std::time::Duration;

use qemu_bmc::machine::{Event, Origin, Power, Request, StartCause, Status, StopCause};

use crate::answered;
use crate::console::{Rig, Session, Suite, admin, login};

const SENSOR: u8 = 0x04;
const STORAGE: u8 = 0x0A;
const ON: Status = Status::ON;
/// 2026-01-02 03:04:05 UTC.
const UNIX_S: u32 = 1_767_323_045;

/// A rig that knows the time, and an administrator in it.
pub fn started() -> (Rig, Session) {
    let mut rig = Rig::new();
    rig.bmc.handle_clock(rig.now, u64::from(UNIX_S));
    let session = administrator(&mut rig);
    (rig, session)
}

pub fn administrator(rig: &mut Rig) -> Session {
    let mut session = admin(rig);
    assert_eq!(session.command(rig, 0x06, 0x3B, &[4]).0, 0);
    session
}

fn reserve(rig: &mut Rig, session: &mut Session, command: u8) -> [u8; 2] {
    let (code, data) = session.command(rig, STORAGE, command, &[]);
    assert_eq!(code, 0);
    data.try_into().unwrap()
}

/// All entries of the SEL from the first on, without ID.
pub fn sel(rig: &mut Rig, session: &mut Session) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    let mut id = [0, 0];
    while id != [0xFF, 0xFF] {
        let (code, data) = session.command(rig, STORAGE, 0x43, &[0, 0, id[0], id[1], 0, 0xFF]);
        if code == 0xCB && entries.is_empty() {
            return entries;
        }
        assert_eq!((code, data.len()), (0, 18));
        id = [data[0], data[1]];
        entries.push(data[4..].to_vec());
    }
    entries
}

/// Sensor type, number, direction and type, event data of the entries after the first `seen`.
pub fn events(rig: &mut Rig, session: &mut Session, seen: usize) -> Vec<[u8; 6]> {
    let entries = sel(rig, session);
    entries.iter().skip(seen).map(|entry| entry[8..].try_into().unwrap()).collect()
}

fn entry(record_type: u8, fill: u8) -> [u8; 16] {
    let mut entry = [fill; 16];
    entry[2] = record_type;
    entry
}

#[test]
fn the_log_tells_what_happened_to_the_machine() {
    let (mut rig, mut session) = started();
    let boot = [[0x16, 8, 0x0A, 0, 0xFF, 0xFF]];
    assert_eq!(events(&mut rig, &mut session, 0), boot, "the BMC runs");
    let mut seen = 1;
    let mut happens = |status, event| {
        rig.bmc.handle_machine(rig.now, status, &event);
        let new = events(&mut rig, &mut session, seen);
        seen += new.len();
        new
    };
    let doing = |operation| Status { operation: Some(operation), ..ON };
    let crashed = Status { fault: true, ..Status::OFF };
    let acpi_on = [0x22, 2, 0x6F, 0, 0xFF, 0xFF];
    let acpi_off = [0x22, 2, 0x6F, 5, 0xFF, 0xFF];
    // How, and why: by the policy first, then by nobody that the BMC knows.
    let boot = |offset| [0x1D, 4, 0x6F, offset, 0xFF, 0xFF];
    let restart = |cause| [0x1D, 4, 0x6F, 0xC7, cause, 0xFF];
    let unknown = restart(0);
    let off = [0x09, 1, 0x6F, 0, 0xFF, 0xFF];
    let no_longer_off = [0x09, 1, 0xEF, 0, 0xFF, 0xFF];
    let started = |cause| Event::Started(cause);

    let restored = Event::Requested(Request::On, Origin::RestorePolicy, Ok(()));
    assert_eq!(happens(doing(Request::On), restored), [[0; 6]; 0]);
    assert_eq!(happens(ON, started(StartCause::PowerOn)), [acpi_on, boot(0), restart(6)]);
    assert_eq!(happens(ON, started(StartCause::Reset)), [boot(1), restart(2)]);
    assert_eq!(happens(ON, started(StartCause::Guest)), [boot(6), restart(0x0A)]);
    let cycling = Status { power: Power::Off, ..doing(Request::Cycle) };
    let stopped = Event::Stopped(StopCause::Request);
    assert_eq!(happens(cycling, stopped.clone()), [[0x09, 1, 0x6F, 1, 0xFF, 0xFF]]);
    assert_eq!(happens(ON, started(StartCause::PowerCycle)), [acpi_on, boot(0), unknown]);
    // The power button, once, and what the guest makes of it.
    assert_eq!(happens(doing(Request::Soft), Event::Changed), [[0x14, 5, 0x6F, 0, 0xFF, 0xFF]]);
    assert_eq!(happens(doing(Request::Soft), Event::Changed), [[0; 6]; 0]);
    let shut_down = |asked| [0x20, 6, 0x6F, 0x83, asked, 0xFF];
    let guest = Event::Stopped(StopCause::Guest);
    assert_eq!(happens(Status::OFF, guest.clone()), [shut_down(1), off, acpi_off]);
    let up = [no_longer_off, acpi_on, boot(0), unknown];
    assert_eq!(happens(ON, started(StartCause::PowerOn)), up);
    assert_eq!(happens(Status::OFF, guest), [shut_down(0), off, acpi_off]);
    assert_eq!(happens(ON, started(StartCause::PowerOn)), up);
    assert_eq!(happens(Status::OFF, stopped), [off, acpi_off]);
    // QEMU cannot be started; then it can, and crashes; then somebody ends it.
    let not_started = Event::Stopped(StopCause::NotStarted("exit status 1: no such".into()));
    assert_eq!(happens(crashed, not_started), [[0x09, 1, 0x6F, 0x85, 1, 0xFF]]);
    let no_longer_failed = [0x09, 1, 0xEF, 5, 0xFF, 0xFF];
    let mended = [no_longer_off, no_longer_failed, acpi_on, boot(0), unknown];
    assert_eq!(happens(ON, started(StartCause::PowerOn)), mended);
    let crash = Event::Stopped(StopCause::Crash("killed by SIGKILL".into()));
    assert_eq!(happens(crashed, crash), [[0x09, 1, 0x6F, 0x86, 137, 0xFF], off, acpi_off]);
    happens(ON, started(StartCause::PowerOn));
    let outside = Event::Stopped(StopCause::Outside);
    assert_eq!(happens(Status::OFF, outside), [[0x09, 1, 0x6F, 4, 0xFF, 0xFF], off, acpi_off]);
}

#[test]
fn entries_are_read_whole_and_in_parts() {
    let (mut rig, mut session) = started();
    let mut get = |rig: &mut Rig, data: [u8; 6]| session.command(rig, STORAGE, 0x43, &data);
    let (code, whole) = get(&mut rig, [0, 0, 0, 0, 0, 0xFF]);
    assert_eq!((code, whole.len(), &whole[..4]), (0, 18, &[0xFF, 0xFF, 1, 0][..]));
    assert_eq!(whole[5..9], UNIX_S.to_le_bytes());
    assert_eq!(get(&mut rig, [0, 0, 0, 0, 0, 16]).1, whole);
    assert_eq!(get(&mut rig, [0, 0, 0xFF, 0xFF, 0, 0xFF]).1, whole, "the newest");
    assert_eq!(get(&mut rig, [0, 0, 1, 0, 0, 0xFF]).1, whole);
    assert_eq!(get(&mut rig, [0, 0, 2, 0, 0, 0xFF]).0, 0xCB);
    assert_eq!(get(&mut rig, [0, 0, 1, 0, 4, 0xFF]).0, 0xC5, "a part needs a reservation");
    let [r0, r1] = reserve(&mut rig, &mut session, 0x42);
    for offset in 0..18 {
        for count in 0..18 {
            let (code, data) =
                session.command(&mut rig, STORAGE, 0x43, &[r0, r1, 1, 0, offset, count]);
            let (from, to) = (usize::from(offset), usize::from(offset + count));
            let expected = match (offset, count) {
                (16.., _) => (0xC9, vec![]),
                (_, 0) => (0xCC, vec![]),
                _ if to > 16 => (0xCA, vec![]),
                _ => (0, [&[0xFF, 0xFF], &whole[2 + from..2 + to]].concat()),
            };
            assert_eq!((code, data), expected, "{offset} {count}");
        }
    }
}

#[test]
fn entries_are_added_deleted_and_cleared_by_operators() {
    let (mut rig, _) = started();
    let mut user = login(&mut rig, Suite::Three, "user", "user-secret", 0x12).unwrap();
    let mut session = login(&mut rig, Suite::Three, "operator", "operator-secret", 0x13).unwrap();
    session.command(&mut rig, 0x06, 0x3B, &[3]);
    let mut run =
        |rig: &mut Rig, command, data: &[u8]| session.command(rig, STORAGE, command, data);
    assert_eq!(user.command(&mut rig, STORAGE, 0x44, &entry(2, 0)).0, 0xD4);
    assert_eq!(user.command(&mut rig, STORAGE, 0x40, &[]).0, 0);

    assert_eq!(run(&mut rig, 0x44, &entry(0xC1, 0xAA)), (0, vec![2, 0]));
    assert_eq!(run(&mut rig, 0x44, &entry(0xE0, 0xBB)), (0, vec![3, 0]));
    assert_eq!(run(&mut rig, 0x44, &entry(0x03, 0xBB)).0, 0x80, "no such record type");
    assert_eq!(run(&mut rig, 0x44, &[0; 15]).0, 0xC7);
    let (_, data) = run(&mut rig, 0x43, &[0, 0, 2, 0, 0, 0xFF]);
    assert_eq!(data[..5], [3, 0, 2, 0, 0xC1]);
    assert_eq!(data[5..9], UNIX_S.to_le_bytes(), "the BMC's time");
    assert_eq!(run(&mut rig, 0x43, &[0, 0, 3, 0, 0, 0xFF]).1[4..], entry(0xE0, 0xBB)[2..]);

    // 1021 are left.
    let info = run(&mut rig, 0x40, &[]).1;
    assert_eq!(info[..5], [0x51, 3, 0, 0xD0, 0x3F]);
    assert_eq!((&info[5..9], info[13]), (&UNIX_S.to_le_bytes()[..], 0x0F));
    assert_eq!(run(&mut rig, 0x41, &[]).1, [0, 4, 16, 0, 0xFD, 3, 0xFD, 3, 1]);

    // In parts.
    let reserved = run(&mut rig, 0x42, &[]).1;
    let part = |id: u8, offset: u8, last: u8, bytes: &[u8]| {
        [&reserved[..], &[id, 0, offset, last], bytes].concat()
    };
    let new = entry(0xE1, 0xCC);
    assert_eq!(run(&mut rig, 0x45, &part(0, 0, 0, &new[..7])), (0, vec![4, 0]));
    assert_eq!(run(&mut rig, 0x45, &part(4, 8, 0, &new[7..])).0, 0xC9, "a gap");
    assert_eq!(run(&mut rig, 0x45, &part(5, 7, 0, &new[7..])).0, 0xCB, "another record");
    assert_eq!(run(&mut rig, 0x45, &part(4, 7, 1, &new[7..])), (0, vec![4, 0]));
    assert_eq!(run(&mut rig, 0x43, &[0, 0, 4, 0, 0, 0xFF]).1[4..], new[2..]);

    // Deleting cancels the reservation.
    let delete = |id: u8| [&reserved[..], &[id, 0]].concat();
    assert_eq!(run(&mut rig, 0x46, &delete(9)).0, 0xCB);
    assert_eq!(run(&mut rig, 0x46, &delete(2)), (0, vec![2, 0]));
    assert_eq!(run(&mut rig, 0x46, &delete(3)).0, 0xC5);
    assert_eq!(run(&mut rig, 0x43, &[0, 0, 1, 0, 0, 0xFF]).1[..2], [3, 0]);

    // So does another reservation, and clearing.
    let stale = run(&mut rig, 0x42, &[]).1;
    let fresh = run(&mut rig, 0x42, &[]).1;
    let clear = |reserved: &[u8], action: u8| [reserved, b"CLR", &[action]].concat();
    assert_eq!(run(&mut rig, 0x47, &clear(&stale, 0xAA)).0, 0xC5);
    assert_eq!(run(&mut rig, 0x47, &clear(&fresh, 0xAB)).0, 0xCC);
    assert_eq!(run(&mut rig, 0x47, &clear(&fresh, 0xAA)), (0, vec![1]));
    assert_eq!(run(&mut rig, 0x47, &clear(&fresh, 0xAA)).0, 0xC5);
    assert_eq!(run(&mut rig, 0x47, &clear(&fresh, 0x00)), (0, vec![1]), "erased");
    let left = events(&mut rig, &mut session, 0);
    assert_eq!(left, [[0x10, 7, 0x6F, 0xA2, 1, 0x13]], "log area cleared, by user 3");
}

#[test]
fn a_host_clock_that_jumps_changes_time_stamps_and_nothing_else() {
    let (mut rig, mut session) = started();
    let mut cold = administrator(&mut rig);
    // Valid for 60 s.
    assert_eq!(session.command(&mut rig, 0x00, 0x08, &[5, 0x80, 4, 0, 0, 0]).0, 0);
    let time = |rig: &mut Rig, session: &mut Session| {
        let (code, data) = session.command(rig, STORAGE, 0x48, &[]);
        assert_eq!(code, 0);
        u32::from_le_bytes(data.try_into().unwrap())
    };
    let year = 366 * 24 * 3600;
    for jump in [UNIX_S + year, UNIX_S - year, 0, u32::MAX] {
        rig.bmc.handle_clock(rig.now, u64::from(jump));
        rig.pass(Duration::from_millis(10));
        let told = time(&mut rig, &mut session);
        assert!(told.abs_diff(jump) <= 1, "{told} after a jump to {jump}");
        assert_eq!(cold.command(&mut rig, 0x06, 0x01, &[]).0, 0, "who is logged in stays so");
        let boot = session.command(&mut rig, 0x00, 0x09, &[5, 0, 0]).1;
        assert_eq!(boot[2..4], [0x80, 4], "not expired");
    }
    assert_eq!(rig.bmc.sel().len(), 1 + 1, "the start, and the boot flags: {:?}", rig.bmc.sel());
}

#[test]
fn the_log_has_a_clock_that_can_be_set() {
    let (mut rig, mut session) = started();
    let now = |rig: &mut Rig, session: &mut Session, command| {
        let (code, data) = session.command(rig, STORAGE, command, &[]);
        assert_eq!(code, 0);
        u32::from_le_bytes(data.try_into().unwrap())
    };
    rig.pass(Duration::from_secs(10));
    assert_eq!(now(&mut rig, &mut session, 0x48), UNIX_S + 10);
    assert_eq!(session.command(&mut rig, STORAGE, 0x49, &1000_u32.to_le_bytes()).0, 0);
    rig.pass(Duration::from_secs(10));
    assert_eq!(now(&mut rig, &mut session, 0x48), 1010);
    assert_eq!(now(&mut rig, &mut session, 0x28), 1010, "the SDR repository's is the same");
    // Two events tell of the step.
    let entries = sel(&mut rig, &mut session);
    let times: Vec<u32> =
        entries.iter().map(|entry| u32::from_le_bytes(entry[1..5].try_into().unwrap())).collect();
    assert_eq!(times, [UNIX_S, UNIX_S + 10, 1000]);
    assert_eq!(entries[1][8..], [0x12, 9, 0x6F, 0xC5, 0x00, 0xFF]);
    assert_eq!(entries[2][8..], [0x12, 9, 0x6F, 0xC5, 0x80, 0xFF]);

    assert_eq!(session.command(&mut rig, STORAGE, 0x5C, &[]), (0, vec![0, 0]));
    for (minutes, expected) in [(-1440, 0), (1440, 0), (0x07FF, 0), (1441, 0xCC), (-1441, 0xCC)] {
        let minutes = i16::to_le_bytes(minutes);
        assert_eq!(session.command(&mut rig, STORAGE, 0x5D, &minutes).0, expected);
    }
    assert_eq!(session.command(&mut rig, STORAGE, 0x5C, &[]), (0, vec![0xFF, 0x07]));
}

#[test]
fn the_repository_is_walked_with_reads_of_every_size() {
    let (mut rig, mut session) = started();
    let info = session.command(&mut rig, STORAGE, 0x20, &[]).1;
    assert_eq!(info.len(), 14);
    assert_eq!(info[5..9], UNIX_S.to_le_bytes(), "when the records were made");
    let count = usize::from(u16::from_le_bytes([info[1], info[2]]));
    let mut records = Vec::new();
    let mut id = [0, 0];
    while id != [0xFF, 0xFF] {
        let (code, data) = session.command(&mut rig, STORAGE, 0x23, &[0, 0, id[0], id[1], 0, 0xFF]);
        assert_eq!(code, 0);
        id = [data[0], data[1]];
        records.push(data[2..].to_vec());
    }
    assert_eq!(records.len(), count);
    let types: std::collections::BTreeSet<u8> = records.iter().map(|record| record[3]).collect();
    assert_eq!(types.into_iter().collect::<Vec<_>>(), [0x01, 0x02, 0x03, 0x11, 0x12]);
    let cpus = records.iter().filter(|record| record[3] == 0x02 && record[12] == 0x07).count();
    assert_eq!(cpus, 2, "one for each socket");

    let [r0, r1] = reserve(&mut rig, &mut session, 0x22);
    for record in &records {
        let id = [record[0], record[1]];
        for size in 1..=70_u8 {
            let mut read: Vec<u8> = Vec::new();
            while read.len() < record.len() {
                let left = u8::try_from(record.len() - read.len()).unwrap();
                let offset = u8::try_from(read.len()).unwrap();
                let request = [r0, r1, id[0], id[1], offset, size.min(left)];
                let (code, data) = session.command(&mut rig, STORAGE, 0x23, &request);
                assert_eq!(code, 0);
                read.extend(&data[2..]);
            }
            assert_eq!(read, *record);
        }
    }
    let len = u8::try_from(records[0].len()).unwrap();
    let mut get = |rig: &mut Rig, data: &[u8]| session.command(rig, STORAGE, 0x23, data).0;
    assert_eq!(get(&mut rig, &[0, 0, 1, 0, 0, len + 1]), 0xCA);
    assert_eq!(get(&mut rig, &[r0, r1, 1, 0, len, 1]), 0xC9);
    assert_eq!(get(&mut rig, &[0, 0, 1, 0, 1, 1]), 0xC5);
    assert_eq!(get(&mut rig, &[r0 ^ 2, r1, 1, 0, 0, 1]), 0xC5);
    assert_eq!(get(&mut rig, &[0, 0, 0xFE, 0xFE, 0, 0xFF]), 0xCB);
    assert_eq!(get(&mut rig, &[0, 0, 0xFF, 0xFF, 0, 0xFF]), 0, "the last");
    assert_eq!(get(&mut rig, &[0, 0, 1, 0, 0]), 0xC7);
    // The same records, as the device's.
    let (_, device) = session.command(&mut rig, SENSOR, 0x20, &[1]);
    assert_eq!(device, [u8::try_from(count).unwrap(), 1]);
    assert_eq!(session.command(&mut rig, SENSOR, 0x21, &[0, 0, 1, 0, 0, 0xFF]).1[2..], records[0]);
}

#[test]
fn clients_add_records_and_delete_theirs() {
    let (mut rig, mut session) = started();
    let mut run =
        |rig: &mut Rig, command, data: &[u8]| session.command(rig, STORAGE, command, data);
    let count = run(&mut rig, 0x20, &[]).1[1];
    let record = [0, 0, 0x51, 0xC0, 4, 1, 2, 3, 4];
    let (code, first) = run(&mut rig, 0x24, &record);
    assert_eq!((code, &first[..]), (0, &[count + 1, 0][..]));
    assert_eq!(run(&mut rig, 0x24, &record[..8]).0, 0xC7, "shorter than it says");
    assert_eq!(run(&mut rig, 0x24, &record), (0, first.clone()), "the same again");
    let record = [0, 0, 0x51, 0xC0, 4, 1, 2, 3, 5];
    let reserved = run(&mut rig, 0x22, &[]).1;
    let part = |id: [u8; 2], offset: u8, last: u8, bytes: &[u8]| {
        [&reserved[..], &id, &[offset, last], bytes].concat()
    };
    let (code, second) = run(&mut rig, 0x25, &part([0, 0], 0, 0, &record[..5]));
    assert_eq!((code, &second[..]), (0, &[count + 2, 0][..]));
    let id = [second[0], second[1]];
    assert_eq!(run(&mut rig, 0x25, &part(id, 5, 1, &record[5..])), (0, second.clone()));
    let (_, data) = run(&mut rig, 0x23, &[0, 0, id[0], id[1], 0, 0xFF]);
    assert_eq!(data[..2], [0xFF, 0xFF]);
    assert_eq!(data[4..], record[2..]);

    let saved = rig.bmc.poll_save().unwrap();
    let mut again = Rig::new();
    again.bmc.restore(&saved).unwrap();
    let mut other = administrator(&mut again);
    assert_eq!(other.command(&mut again, STORAGE, 0x23, &[0, 0, id[0], id[1], 0, 0xFF]).1, data);

    let mut run =
        |rig: &mut Rig, command, data: &[u8]| session.command(rig, STORAGE, command, data);
    let reserved = run(&mut rig, 0x22, &[]).1;
    assert_eq!(run(&mut rig, 0x26, &[&reserved[..], &[1, 0]].concat()).0, 0xD5, "the BMC's own");
    assert_eq!(run(&mut rig, 0x26, &[&reserved[..], &first].concat()), (0, first));
    let reserved = run(&mut rig, 0x22, &[]).1;
    assert_eq!(run(&mut rig, 0x27, &[&reserved[..], b"CLR\xAA"].concat()), (0, vec![1]));
    assert_eq!(run(&mut rig, 0x20, &[]).1[1], count);
}

#[test]
fn the_inventory_is_read_in_every_size_and_written_by_operators() {
    let (mut rig, mut session) = started();
    let (_, area) = session.command(&mut rig, STORAGE, 0x10, &[0]);
    assert_eq!(area, [0, 4, 0], "1024 bytes");
    assert_eq!(session.command(&mut rig, STORAGE, 0x10, &[1]).0, 0xCB);
    let mut read = |rig: &mut Rig, offset: usize, count: u8| {
        let [o0, o1] = u16::try_from(offset).unwrap().to_le_bytes();
        session.command(rig, STORAGE, 0x11, &[0, o0, o1, count])
    };
    let mut images = [8, 16, 32, 100, 224, 255].map(|size| {
        let mut image = Vec::new();
        while image.len() < 1024 {
            let (code, data) = read(&mut rig, image.len(), size);
            assert_eq!((code, usize::from(data[0])), (0, data.len() - 1));
            image.extend(&data[1..]);
        }
        image
    });
    images.windows(2).for_each(|two| assert_eq!(two[0], two[1]));
    assert_eq!(read(&mut rig, 1024, 1).0, 0xC9);
    assert_eq!(read(&mut rig, 1023, 9), (0, vec![1, 0]), "what is left");
    let image = &mut images[0];
    for text in ["Example Corp.", "Virtual Server", "SN0001", "R1U"] {
        assert!(image.windows(text.len()).any(|bytes| bytes == text.as_bytes()), "{text}");
    }
    for area in 2..5 {
        let start = usize::from(image[area]) * 8;
        let len = usize::from(image[start + 1]) * 8;
        assert_eq!(image[start..start + len].iter().fold(0_u8, |sum, b| sum.wrapping_add(*b)), 0);
    }

    let mut write = |rig: &mut Rig, data: &[u8]| session.command(rig, STORAGE, 0x12, data);
    assert_eq!(write(&mut rig, &[0, 0xFE, 3, 1, 2]), (0, vec![2]));
    assert_eq!(write(&mut rig, &[0, 0xFE, 3, 1, 2, 3]).0, 0xC9, "past the end");
    assert_eq!(write(&mut rig, &[0, 0, 0]).0, 0xC7);
    assert_eq!(write(&mut rig, &[1, 0, 0, 1]).0, 0xCB);
    assert_eq!(session.command(&mut rig, STORAGE, 0x11, &[0, 0xFE, 3, 2]).1, [2, 1, 2]);
    let mut user = login(&mut rig, Suite::Three, "user", "user-secret", 0x12).unwrap();
    assert_eq!(user.command(&mut rig, STORAGE, 0x12, &[0, 0, 0, 1]).0, 0xD4);
}

#[test]
fn the_log_outlives_a_restart() {
    let (mut rig, mut session) = started();
    session.command(&mut rig, STORAGE, 0x49, &1000_u32.to_le_bytes());
    let before = sel(&mut rig, &mut session);
    let saved = rig.bmc.poll_save().unwrap();

    let mut rig = Rig::new();
    rig.bmc.restore(&saved).unwrap();
    rig.bmc.handle_clock(rig.now, u64::from(UNIX_S) + 100);
    let mut session = administrator(&mut rig);
    let after = sel(&mut rig, &mut session);
    assert_eq!(after[..before.len()], before);
    assert_eq!(after.len(), before.len() + 1, "and the start");
    let (_, time) = session.command(&mut rig, STORAGE, 0x48, &[]);
    assert_eq!(u32::from_le_bytes(time.try_into().unwrap()), 1100);
    let info = session.command(&mut rig, STORAGE, 0x20, &[]).1;
    assert_eq!(info[5..9], UNIX_S.to_le_bytes(), "the same records: copies are good");
}

#[test]
fn a_power_cycle_over_ipmi_is_told_as_such() {
    let (mut rig, mut session) = started();
    rig.bmc.handle_machine(rig.now, ON, &Event::Started(StartCause::PowerOn));
    assert_eq!(session.command(&mut rig, 0x00, 0x02, &[2]).0, 0);
    let cycling = |power| Status { power, operation: Some(Request::Cycle), ..Status::OFF };
    answered(&mut rig, cycling(Power::On));
    let stopped = Event::Stopped(StopCause::Request);
    rig.bmc.handle_machine(rig.now, cycling(Power::Off), &stopped);
    rig.bmc.handle_machine(rig.now, ON, &Event::Started(StartCause::PowerCycle));
    let last = *events(&mut rig, &mut session, 0).last().unwrap();
    assert_eq!(last, [0x1D, 4, 0x6F, 0xF7, 1, 1], "Chassis Control, over channel 1");
    assert_eq!(session.command(&mut rig, 0x00, 0x07, &[]), (0, vec![1, 1]));
}
