//! What the keys of a profile do: to the guest, to its disks, to the processes of the host.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::boot::{DISK, NETWORK};
use crate::machine::{Machine, Setup, root};
use crate::media;
use crate::processes::{self, Signal};
use crate::terminal::Terminal;
use crate::wait::{BOOT, SOON, wait_until};

const MIB: usize = 1 << 20;

/// Runs a command in the guest, and answers its output line by line.
#[track_caller]
fn lines(sol: &mut Terminal, command: &str) -> Vec<String> {
    sol.shell(command).lines().map(|line| line.trim_end().to_owned()).collect()
}

/// An image that begins with this line.
fn labelled(line: &str) -> Vec<u8> {
    let mut image = vec![0; MIB];
    image[..line.len()].copy_from_slice(line.as_bytes());
    image[line.len()] = b'\n';
    image
}

#[test]
fn the_guest_has_the_identity_processors_disks_and_nics_of_the_profile() {
    const UUID: &str = "00112233-4455-4677-8899-aabbccddeeff";
    let setup = Setup::demo();
    let image = labelled("untouched");
    let written = setup.file("rw.raw", &image);
    let read_only = ["virtio", "nvme", "scsi"].map(|bus| (bus, setup.file(bus, &image)));
    let mut setup = setup
        .set(format!("identity.uuid={UUID}"))
        .set("identity.manufacturer=Example Corp.")
        .set("identity.product=Rack Server, 1U")
        .set("identity.serial=SN0001")
        .set("identity.asset_tag=rack4-u17")
        .set("identity.sku=R1U-8C-32G")
        .set("machine.type=pc-q35-6.2")
        .set("machine.cpu=qemu64,+aes")
        .unset("machine.cpus")
        .set("machine.sockets=2")
        .set("rng=false");
    for (index, (bus, path)) in read_only.iter().enumerate() {
        setup = setup
            .set(format!("disks.{index}.path={}", path.display()))
            .set(format!("disks.{index}.bus={bus}"))
            .set(format!("disks.{index}.serial=RO-{bus}"))
            .set(format!("disks.{index}.read_only=true"));
    }
    setup = setup.set(format!("disks.3.path={}", written.display())).set("disks.3.serial=RW");
    for (index, model) in ["virtio", "e1000", "e1000e", "rtl8139", "vmxnet3"].iter().enumerate() {
        setup = setup
            .set(format!("nics.{index}.model={model}"))
            // Their boot ROMs would take their time.
            .set(format!("nics.{index}.boot_rom=false"));
    }
    let machine = setup.set("nics.0.mtu=9000").start();
    machine.ipmitool(&["mc", "guid"]).succeeds().has_field("System GUID", UUID);
    let mut sol = machine.sol();
    machine.power("on");
    sol.expect_guest();

    let names = "sys_vendor product_name product_serial product_uuid product_sku product_version \
                 chassis_vendor chassis_serial chassis_asset_tag";
    assert_eq!(
        lines(&mut sol, &format!("cd /sys/class/dmi/id; cat {names}; cd")),
        [
            "Example Corp.",
            "Rack Server, 1U",
            "SN0001",
            UUID,
            "R1U-8C-32G",
            // QEMU's machine type.
            "pc-q35-6.2",
            "Example Corp.",
            "SN0001",
            "rack4-u17",
        ]
    );

    let processors = sol.shell("grep -E 'model name|physical id|flags' /proc/cpuinfo");
    assert_eq!(processors.matches("QEMU Virtual CPU").count(), 2, "{processors}");
    assert_eq!(processors.matches(" aes ").count(), 2, "{processors}");
    for socket in ["0", "1"] {
        assert!(processors.contains(&format!("physical id\t: {socket}\r\n")), "{processors}");
    }

    let disks = "for d in vda nvme0n1 sda vdb; do echo $d \
                 $(cat $d/serial $d/device/serial 2>/dev/null; \
                 tail -c +5 $d/device/vpd_pg80 2>/dev/null) $(cat $d/ro); done";
    assert_eq!(
        lines(&mut sol, &format!("cd /sys/block; {disks}; cd")),
        // QEMU's NVMe does not tell; it only refuses.
        ["vda RO-virtio 1", "nvme0n1 RO-nvme 0", "sda RO-scsi 1", "vdb RW 0"]
    );
    let write = "for d in vda nvme0n1 sda vdb; do \
                 echo touched | dd of=/dev/$d conv=fsync 2>/dev/null && echo $d; done";
    assert_eq!(lines(&mut sol, write), ["vdb"]);
    for (bus, path) in &read_only {
        assert_eq!(fs::read(path).unwrap(), image, "{bus}");
    }
    assert!(fs::read(&written).unwrap().starts_with(b"touched\n"));

    let devices = "for d in /sys/bus/pci/devices/*; do echo $(cat $d/vendor $d/device); done";
    let devices = lines(&mut sol, devices);
    for nic in ["0x1af4 0x1000", "0x8086 0x100e", "0x8086 0x10d3", "0x10ec 0x8139", "0x15ad 0x07b0"]
    {
        assert_eq!(devices.iter().filter(|device| *device == nic).count(), 1, "{nic}: {devices:?}");
    }
    let mtus = lines(&mut sol, "cat /sys/bus/pci/drivers/virtio-pci/*/virtio*/net/*/mtu");
    assert_eq!(mtus, ["9000"]);

    let random = sol.shell("cat /sys/class/misc/hw_random/rng_available");
    assert!(!random.contains("virtio_rng"), "{random}");
}

/// The guest's TPM says how often it was reset since it was made (TPM 2.0 Part 3, TPM2_ReadClock).
#[track_caller]
fn tpm_resets(sol: &mut Terminal) -> u32 {
    // One write each: bash ends one at the line end that is in the command.
    let ask = r"printf '\200\1\0\0\0\n\0\0\1\201' >/tmp/ask; exec 3<>/dev/tpm0; cat /tmp/ask >&3";
    let answer = sol.shell(&format!("{ask}; od -An -v -tx1 <&3; exec 3<&-"));
    let answer: Vec<u8> =
        answer.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    assert_eq!(answer[6..10], [0; 4], "the response code in {answer:x?}");
    // Behind the header: time and clock, 8 bytes each.
    u32::from_be_bytes(answer[26..30].try_into().unwrap())
}

#[test]
fn overlays_the_tpm_and_the_power_state_outlive_what_they_are_to_outlive() {
    /// The disk's first line, and that of its second sector.
    const READ: &str = "for d in vda vdb; do head -n 1 /dev/$d; \
                        dd if=/dev/$d bs=512 skip=1 count=1 2>/dev/null | head -n 1; done";
    const WRITE: &str = "for d in vda vdb; do echo written | \
                         dd of=/dev/$d bs=512 seek=1 conv=fsync 2>/dev/null; done";
    let setup = Setup::demo();
    let mut images = [labelled("first base"), labelled("second base")];
    for image in &mut images {
        image[512..518].copy_from_slice(b"empty\n");
    }
    let first = setup.file("first.raw", &images[0]);
    let second = setup.file("second.raw", &images[1]);
    let mut machine = setup
        .set("power.restore=previous")
        .set(format!("disks.0.path={}", first.display()))
        .set("disks.0.overlay=kept")
        .set("disks.0.size=8MiB")
        .set(format!("disks.0.sha256={}", hex(&Sha256::digest(&images[0]))))
        .set(format!("disks.1.path={}", second.display()))
        .set("disks.1.overlay=throw-away")
        .set("tpm.model=crb")
        .start();
    // The first time it is on, as there is nothing that was before.
    let mut sol = machine.sol();
    sol.expect_guest();
    let old = machine.wait_on();
    assert_eq!(lines(&mut sol, READ), ["first base", "empty", "second base", "empty"]);
    assert_eq!(lines(&mut sol, "cat /sys/block/vd[ab]/size"), ["16384", "2048"]);
    let random = sol.shell("cat /sys/class/misc/hw_random/rng_available");
    assert!(random.contains("virtio_rng"), "{random}");
    assert_eq!(lines(&mut sol, "cat /sys/class/tpm/tpm0/tpm_version_major"), ["2"]);
    let resets = tpm_resets(&mut sol);
    sol.shell(WRITE);

    machine.power("cycle");
    wait_until("a new process", SOON, || machine.qemu_pid().is_some_and(|pid| pid != old));
    sol.expect_guest();
    assert_eq!(lines(&mut sol, READ), ["first base", "written", "second base", "written"]);
    let after_cycle = tpm_resets(&mut sol);
    assert!(after_cycle > resets, "a new TPM: {after_cycle} resets, {resets} before");

    // The shutdown that is part of the program's end is no reason to stay off.
    machine.restart();
    let mut sol = machine.sol();
    sol.expect_guest();
    assert_eq!(lines(&mut sol, READ), ["first base", "written", "second base", "empty"]);
    let after_restart = tpm_resets(&mut sol);
    assert!(after_restart > after_cycle, "a new TPM: {after_restart} resets, {after_cycle} before");

    // That of the guest's own is.
    sol.type_line("poweroff");
    machine.wait_off();
    machine.restart();
    assert_eq!(machine.status()["power"], "off");
    assert_eq!(machine.qemu_pid(), None);
    for (path, image) in [(&first, &images[0]), (&second, &images[1])] {
        assert_eq!(fs::read(path).unwrap(), *image, "{} was written to", path.display());
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_base_that_is_another_or_too_large_is_refused() {
    let setup = || {
        let setup = Setup::demo();
        let path = setup.file("base.raw", &vec![0; 2 * MIB]);
        setup.set(format!("disks.0.path={}", path.display())).set("disks.0.overlay=kept")
    };
    let expect = |setup: Setup, words: &str| {
        setup.refused().exits(2).says(words);
        assert!(!setup.dir.path().join("state").exists(), "it has made a state directory");
    };
    let sum = hex(&Sha256::digest("another"));
    let found = hex(&Sha256::digest(vec![0; 2 * MIB]));
    expect(setup().set(format!("disks.0.sha256={sum}")), &format!("base.raw is {found}"));
    expect(setup().set("disks.0.size=1MiB"), "`size` is 1048576 bytes, and the base, ");
}

/// A boot ROM for BIOS that says so on the serial port when it is called: at offset 3.
fn rom(words: &str) -> Vec<u8> {
    let code = [
        0x60, 0x1e, 0x0e, 0x1f, //       pusha; push ds; ds = cs
        0xfc, 0xbe, 0x60, 0x00, //       cld; si = words
        0xba, 0xfd,
        0x03, //             send: wait until the line status says "transmitter empty"
        0xec, 0xa8, 0x20, 0x74, 0xf8, //
        0xac, 0x84, 0xc0, 0x74, 0x06, // next character; after the last one, on to `end`
        0xba, 0xf8, 0x03, 0xee, 0xeb, 0xed, // write it, on to `send`
        0x1f, 0x61, 0xcb, //             end: pop ds; popa; far return
    ];
    let mut rom = vec![0; 512];
    // Signature, length in units of 512 bytes, jump to the code.
    rom[..5].copy_from_slice(&[0x55, 0xaa, 1, 0xeb, 0x1b]);
    rom[0x20..0x20 + code.len()].copy_from_slice(&code);
    rom[0x60..0x60 + words.len()].copy_from_slice(words.as_bytes());
    // Where the PCI data structure is; and that: virtio-net's IDs, length, class, image length.
    rom[0x18..0x1a].copy_from_slice(&[0x80, 0x00]);
    rom[0x80..0x8c].copy_from_slice(b"PCIR\xf4\x1a\x00\x10\0\0\x18\0");
    rom[0x8c..0x92].copy_from_slice(&[0, 0, 0, 2, 1, 0]);
    // An image for PCs, and the last one.
    rom[0x94..0x96].copy_from_slice(&[0, 0x80]);
    rom[511] = rom.iter().fold(0, |sum: u8, byte| sum.wrapping_sub(*byte));
    rom
}

/// What firmware shows before it boots from the network or, if there is none, from a disk; and which
/// of the two it takes.
fn first_boot(nics: &[&str]) -> (String, String) {
    let setup = Setup::bare();
    let disk = setup.file("disk.raw", &media::disk("disk"));
    let mut setup = setup
        .set("boot.order=[\"network\", \"disk\"]")
        .set(format!("disks.0.path={}", disk.display()))
        // The guest's kernel has no driver for this one; firmware has.
        .set("disks.0.bus=sata");
    for (index, nic) in nics.iter().enumerate() {
        setup = setup.set(format!("nics.{index}.{nic}"));
    }
    let machine = setup.start();
    let mut sol = machine.sol();
    machine.power("on");
    sol.expect_within(BOOT, "SeaBIOS (version ");
    let before = sol.expect_within(BOOT, "Booting from ");
    (before, sol.expect("."))
}

#[test]
fn firmware_runs_the_boot_rom_of_the_profile_and_no_other() {
    let words = "the ROM of the test";
    let (before, first) = first_boot(&["boot_rom=true"]);
    assert!(before.contains("iPXE"), "{before}");
    assert_eq!(first, NETWORK);

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.rom");
    fs::write(&path, rom(words)).unwrap();
    // Neither of these two can be booted from.
    let (before, first) = first_boot(&["boot_rom=false", &format!("rom_file={}", path.display())]);
    assert!(before.contains(words) && !before.contains("iPXE"), "{before}");
    assert_eq!(first, DISK);
}

/// The TPM emulators of a machine.
fn emulators(machine: &Machine) -> Vec<u32> {
    let is_one = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "swtpm\n")
    };
    processes::children(machine.pid()).into_iter().filter(is_one).collect()
}

#[track_caller]
fn emulator(machine: &Machine) -> u32 {
    let found = emulators(machine);
    assert_eq!(found.len(), 1, "TPM emulators of a running machine: {found:?}");
    found[0]
}

#[test]
fn each_start_has_a_tpm_emulator_of_its_own_that_ends_with_it() {
    let mut machine = Setup::bare()
        .set("tpm.model=crb")
        .set("power.cycle_interval_s=0")
        .set("power.stop_limit_s=0")
        .start();
    assert_eq!(emulators(&machine), [0_u32; 0]);
    machine.power("on");
    for _ in 0..3 {
        let (qemu, old) = (machine.wait_on(), emulator(&machine));
        machine.power("cycle");
        wait_until("a new process", SOON, || machine.qemu_pid().is_some_and(|pid| pid != qemu));
        machine.wait_on();
        assert_ne!(emulator(&machine), old);
        machine.power("off");
        machine.wait_off();
        assert_eq!(processes::children(machine.pid()), [0_u32; 0]);
        machine.power("on");
    }
    let qemu = machine.wait_on();
    let log = machine.log();
    assert!(!log.contains("ERROR") && !log.contains("TPM is dead"), "{log}");

    // One that hangs has the state locked: the next start needs its end.
    let hung = emulator(&machine);
    processes::signal(hung, Signal::SIGSTOP);
    processes::signal(qemu, Signal::SIGKILL);
    machine.wait_off();
    assert!(!processes::exists(hung));
    machine.power("on");
    machine.wait_on();

    // A machine that runs on without its TPM is one that somebody has to be told of.
    processes::signal(emulator(&machine), Signal::SIGKILL);
    machine.expect_log("the guest's TPM is dead");
    machine.power("cycle");
    wait_until("a new emulator", SOON, || emulators(&machine).len() == 1);
    machine.wait_on();

    machine.restart();
    machine.power("on");
    let qemu = machine.wait_on();
    let swtpm = emulator(&machine);
    machine.signal(Signal::SIGKILL);
    machine.wait_end(SOON);
    for pid in [qemu, swtpm] {
        wait_until("its end", SOON, || !processes::exists(pid));
    }
    assert!(machine.setup.dir.path().join("state/tpm/tpm2-00.permall").exists());
}

#[test]
fn the_previous_power_state_is_restored() {
    let mut machine =
        Setup::bare().set("power.restore=previous").set("power.stop_limit_s=0").start();
    machine.wait_on();
    machine.restart();
    machine.wait_on();
    machine.ipmitool(&["chassis", "status"]).has_field("Power Restore Policy", "previous");
    machine.signal(Signal::SIGKILL);
    machine.wait_end(SOON);
    machine.start_again();
    machine.wait_on();

    machine.power("off");
    machine.wait_off();
    machine.restart();
    assert_eq!(machine.status()["power"], "off");
    machine.signal(Signal::SIGKILL);
    machine.wait_end(SOON);
    machine.start_again();
    assert_eq!(machine.status()["power"], "off");

    machine.power("on");
    let qemu = machine.wait_on();
    // What was asked for counts, also when there is no time left to do it.
    processes::signal(qemu, Signal::SIGSTOP);
    machine.power("off");
    machine.signal(Signal::SIGTERM);
    machine.expect_log("SIGTERM: stopping");
    machine.restart();
    assert_eq!(machine.status()["power"], "off");
}

/// A machine with UEFI, and a disk with a program that no key of the firmware's has signed: the
/// guest's kernel.
fn unsigned(setup: Setup) -> Setup {
    let folder = setup.dir.path().join("esp");
    fs::create_dir_all(folder.join("EFI/BOOT")).unwrap();
    fs::copy(root().join("target/guest/vmlinuz"), folder.join("EFI/BOOT/BOOTX64.EFI")).unwrap();
    let drive = format!("if=virtio,format=raw,file=fat:rw:{}", folder.display());
    setup
        .set("firmware.mode=uefi")
        // QEMU opens the folder by itself, as whoever made it.
        .set(format!("qemu.user={}", nix::unistd::geteuid()))
        .set(format!("qemu.extra_args=[\"-drive\", \"{drive}\"]"))
}

#[test]
fn secure_boot_refuses_what_is_not_signed() {
    let boot = |setup: Setup| {
        let machine = unsigned(setup).start();
        let mut sol = machine.sol();
        machine.power("on");
        // The disk comes before the firmware's own shell.
        sol.expect_within(BOOT, "BdsDxe: loading Boot");
        sol.expect_within(BOOT, "BdsDxe: ");
        let answer = sol.expect_within(BOOT, "\r\n");
        let state = machine.setup.dir.path().join("state");
        let stores = ["uefi-vars.fd", "uefi-vars-secure-boot.fd"];
        (answer, stores.map(|name| state.join(name).exists()))
    };
    let (answer, stores) = boot(Setup::bare());
    assert!(answer.starts_with("starting Boot"), "{answer}");
    assert_eq!(stores, [true, false]);
    let (answer, stores) = boot(Setup::bare().set("firmware.secure_boot=true"));
    assert!(answer.starts_with("failed to load Boot"), "{answer}");
    assert!(answer.ends_with(": Access Denied"), "{answer}");
    assert_eq!(stores, [false, true]);
    // With a store of keys that has none, it is off, whatever the firmware could do.
    let template = "/usr/share/OVMF/OVMF_VARS_4M.fd";
    if Path::new(template).exists() {
        let setup = Setup::bare().set("firmware.secure_boot=true");
        let (answer, _) = boot(setup.set(format!("firmware.vars_template={template}")));
        assert!(answer.starts_with("starting Boot"), "{answer}");
    }
}

#[test]
fn the_guest_knows_of_secure_boot_and_of_a_tpm() {
    let machine = Setup::demo()
        .set("firmware.mode=uefi")
        .set("firmware.secure_boot=true")
        .set("tpm.model=tis")
        .start();
    let mut sol = machine.sol();
    machine.power("on");
    // This firmware is slow under emulation, with its System Management Mode.
    sol.expect_within(2 * BOOT, "Linux version ");
    sol.expect_guest();
    // What the kernel has read from the variables SecureBoot and SetupMode.
    let secure = sol.shell("dmesg | grep -i secure");
    assert!(secure.contains("Secure boot enabled"), "{secure}");
    let driver = sol.shell("readlink /sys/class/tpm/tpm0/device/driver");
    assert!(driver.trim_end().ends_with("/tpm_tis"), "{driver}");
}
