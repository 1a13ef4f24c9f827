//! What a machine boots in tests: a disk, a CD-ROM and a file for PXE, for BIOS and for UEFI. Each
//! says on the serial port who it is, waits for a key there, and resets the machine, as an operating
//! system does that reboots.

/// For BIOS: 16-bit code at 0000:7C00h.
const BIOS_CODE: [u8; 44] = [
    0xfa, 0xfc, //             cli; cld
    0x31, 0xc0, 0x8e, 0xd8, // ds = 0
    0xbe, 0x00, 0x00, //       si = message, filled in
    0xba, 0xfd, 0x03, //       send: wait until the line status says "transmitter empty"
    0xec, 0xa8, 0x20, 0x74, 0xf8, //
    0xac, 0x84, 0xc0, 0x74, 0x06, // next character; after the last one, on to `read`
    0xba, 0xf8, 0x03, 0xee, 0xeb, 0xed, // write it, on to `send`
    0xba, 0xfd, 0x03, //       read: wait until the line status says "data ready"
    0xec, 0xa8, 0x01, 0x74, 0xf8, //
    0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee, // reset control register: hard reset
    0xeb, 0xf0, //             on to `read`
];

/// For UEFI: the same, 64-bit.
const EFI_CODE: [u8; 47] = [
    0xfa, //                                           cli
    0x48, 0x8d, 0x35, 39, 0, 0, 0, //                  rsi = message, right behind
    0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x20, 0x74, 0xf7, // send
    0xac, 0x84, 0xc0, 0x74, 0x07, //                   next character
    0x66, 0xba, 0xf8, 0x03, 0xee, 0xeb, 0xeb, //       write it
    0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xf7, // read
    0x66, 0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee, //       hard reset
    0xeb, 0xee, //
];

const SECTOR: usize = 512;
/// Sectors of a diskette of 1.44 MB.
const SECTORS: usize = 2880;
/// BIOS code begins behind the parameters of a FAT boot sector.
const CODE_AT: usize = 0x3E;

/// What it says.
fn message(who: &str) -> Vec<u8> {
    format!("{who} booted\r\n\0").into_bytes()
}

fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

fn put16(image: &mut [u8], at: usize, value: usize) {
    put(image, at, &u16::try_from(value).unwrap().to_le_bytes());
}

fn put32(image: &mut [u8], at: usize, value: usize) {
    put(image, at, &u32::try_from(value).unwrap().to_le_bytes());
}

/// A boot sector, which iPXE takes as a network boot program, too.
pub(crate) fn bios_program(who: &str) -> Vec<u8> {
    let mut sector = vec![0; SECTOR];
    put(&mut sector, 0, &[0xEB, 0x3C, 0x90]); // on to the code
    put(&mut sector, CODE_AT, &BIOS_CODE);
    put16(&mut sector, CODE_AT + 7, 0x7C00 + CODE_AT + BIOS_CODE.len());
    put(&mut sector, CODE_AT + BIOS_CODE.len(), &message(who));
    put(&mut sector, 510, &[0x55, 0xAA]);
    sector
}

/// An application (PE32+, Microsoft's *PE Format*).
pub(crate) fn efi_program(who: &str) -> Vec<u8> {
    const HEADER: usize = 0x40;
    const OPTIONAL: usize = HEADER + 24;
    const SECTION: usize = OPTIONAL + 240;
    const CODE_RVA: usize = 0x1000;
    let mut file = vec![0; 2 * SECTOR];
    put(&mut file, 0, b"MZ");
    put32(&mut file, 0x3C, HEADER);
    put(&mut file, HEADER, b"PE\0\0");
    put16(&mut file, HEADER + 4, 0x8664); // x86-64
    put16(&mut file, HEADER + 6, 1); // sections
    put16(&mut file, HEADER + 20, 240); // size of the optional header
    put16(&mut file, HEADER + 22, 0x22); // executable, large addresses
    put16(&mut file, OPTIONAL, 0x20B);
    put32(&mut file, OPTIONAL + 4, SECTOR); // size of the code
    put32(&mut file, OPTIONAL + 16, CODE_RVA); // entry point
    put32(&mut file, OPTIONAL + 20, CODE_RVA); // base of the code
    put32(&mut file, OPTIONAL + 32, 0x1000); // alignment in memory
    put32(&mut file, OPTIONAL + 36, SECTOR); // alignment in the file
    put32(&mut file, OPTIONAL + 56, 2 * CODE_RVA); // size in memory
    put32(&mut file, OPTIONAL + 60, SECTOR); // size of the headers
    put16(&mut file, OPTIONAL + 68, 10); // EFI application
    put32(&mut file, OPTIONAL + 108, 16); // data directories, all empty
    put(&mut file, SECTION, b".text");
    put32(&mut file, SECTION + 8, SECTOR); // size in memory
    put32(&mut file, SECTION + 12, CODE_RVA);
    put32(&mut file, SECTION + 16, SECTOR); // size in the file
    put32(&mut file, SECTION + 20, SECTOR); // place in the file
    put32(&mut file, SECTION + 36, 0x6000_0020); // code, executable, readable
    put(&mut file, SECTOR, &EFI_CODE);
    put(&mut file, SECTOR + EFI_CODE.len(), &message(who));
    file
}

/// A disk that BIOS and UEFI boot: FAT12 (Microsoft's *FAT: General Overview of On-Disk Format*) with
/// `\EFI\BOOT\BOOTX64.EFI`, and a boot sector.
pub(crate) fn disk(who: &str) -> Vec<u8> {
    const FAT_SECTORS: usize = 9;
    const ROOT_ENTRIES: usize = 224;
    const ROOT: usize = (1 + 2 * FAT_SECTORS) * SECTOR;
    const DIRECTORY: u8 = 0x10;
    // Where cluster 2, the first, is.
    const DATA: usize = ROOT + ROOT_ENTRIES * 32;
    let mut image = vec![0; SECTORS * SECTOR];
    put(&mut image, 0, &bios_program(who));
    put(&mut image, 3, b"E2E     ");
    put16(&mut image, 11, SECTOR);
    image[13] = 1; // sectors of a cluster
    put16(&mut image, 14, 1); // sectors before the FATs
    image[16] = 2; // FATs
    put16(&mut image, 17, ROOT_ENTRIES);
    put16(&mut image, 19, SECTORS);
    image[21] = 0xF8; // fixed disk
    put16(&mut image, 22, FAT_SECTORS);
    put16(&mut image, 24, 18); // sectors of a track
    put16(&mut image, 26, 2); // heads
    image[38] = 0x29; // the next three are there
    put32(&mut image, 39, 0xE2E);
    put(&mut image, 43, b"NO NAME    FAT12   ");
    // Clusters 0 and 1 are none; two directories of one, and a file of two.
    for fat in [SECTOR, (1 + FAT_SECTORS) * SECTOR] {
        put(&mut image, fat, &[0xF8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x05, 0xF0, 0xFF]);
    }
    let mut entry = |at: usize, name: &[u8; 11], kind: u8, cluster: usize, size: usize| {
        put(&mut image, at, name);
        image[at + 11] = kind;
        put16(&mut image, at + 26, cluster);
        put32(&mut image, at + 28, size);
    };
    let program = efi_program(who);
    entry(ROOT, b"EFI        ", DIRECTORY, 2, 0);
    entry(DATA, b".          ", DIRECTORY, 2, 0);
    entry(DATA + 32, b"..         ", DIRECTORY, 0, 0);
    entry(DATA + 64, b"BOOT       ", DIRECTORY, 3, 0);
    entry(DATA + SECTOR, b".          ", DIRECTORY, 3, 0);
    entry(DATA + SECTOR + 32, b"..         ", DIRECTORY, 2, 0);
    entry(DATA + SECTOR + 64, b"BOOTX64 EFI", 0x20, 4, program.len());
    put(&mut image, DATA + 2 * SECTOR, &program);
    image
}

/// A CD-ROM that BIOS and UEFI boot (ISO 9660 without files, *El Torito Bootable CD-ROM Format
/// Specification* 1.0).
pub(crate) fn cdrom(who: &str) -> Vec<u8> {
    const BLOCK: usize = 2048;
    const CATALOG: usize = 19;
    const ROOT: usize = 20;
    const BIOS: usize = 21;
    const EFI: usize = 22;
    let fat = disk(who);
    let blocks = EFI + fat.len() / BLOCK;
    let mut image = vec![0; blocks * BLOCK];
    let both_ends = |value: usize| {
        let value = u32::try_from(value).unwrap();
        [value.to_le_bytes(), value.to_be_bytes()].concat()
    };
    let mut directory = vec![34, 0];
    directory.extend(both_ends(ROOT));
    directory.extend(both_ends(BLOCK));
    directory.extend([0; 7]);
    directory.extend([2, 0, 0, 1, 0, 0, 1, 1, 0]);
    let descriptor = |kind: u8| [&[kind], &b"CD001\x01"[..]].concat();
    let primary = 16 * BLOCK;
    put(&mut image, primary, &descriptor(1));
    put(&mut image, primary + 80, &both_ends(blocks));
    put(&mut image, primary + 120, &[1, 0, 0, 1, 1, 0, 0, 1, 0x00, 0x08, 0x08, 0x00]);
    put(&mut image, primary + 156, &directory);
    image[primary + 881] = 1;
    let boot = 17 * BLOCK;
    put(&mut image, boot, &descriptor(0));
    put(&mut image, boot + 7, b"EL TORITO SPECIFICATION");
    put32(&mut image, boot + 0x47, CATALOG);
    put(&mut image, 18 * BLOCK, &descriptor(255));
    // `.` and `..`
    put(&mut image, ROOT * BLOCK, &directory);
    put(&mut image, ROOT * BLOCK + 34, &directory);
    image[ROOT * BLOCK + 34 + 33] = 1;
    let catalog = CATALOG * BLOCK;
    image[catalog] = 1; // validation entry; its words add up to 0
    put(&mut image, catalog + 28, &[0xAA, 0x55, 0x55, 0xAA]);
    let mut bootable = |at: usize, sectors: usize, block: usize| {
        image[at] = 0x88; // bootable, no emulation
        put16(&mut image, at + 6, sectors);
        put32(&mut image, at + 8, block);
    };
    bootable(catalog + 32, BLOCK / SECTOR, BIOS);
    bootable(catalog + 96, SECTORS, EFI);
    // The last section: UEFI, one entry.
    put(&mut image, catalog + 64, &[0x91, 0xEF, 1, 0]);
    put(&mut image, BIOS * BLOCK, &bios_program(who));
    put(&mut image, EFI * BLOCK, &fat);
    image
}
