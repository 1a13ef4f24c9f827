//! What the clients talk to.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::command::{spawn, tool};
use crate::machine::{Machine, PASSWORD, Setup, USER, free_port};
use crate::rows::Group;
use crate::wait::{SOON, wait_until};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    QemuBmc,
    /// OpenIPMI's, of Debian's package `openipmi`.
    IpmiSim,
}

pub(crate) enum Server {
    QemuBmc(Box<Machine>),
    IpmiSim(Simulator),
}

/// A running ipmi_sim; dropped, it is killed.
pub(crate) struct Simulator {
    child: Child,
    dir: TempDir,
    port: u16,
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Peer {
    /// By the environment.
    pub(crate) fn chosen() -> Self {
        match std::env::var("MATRIX_PEER").as_deref() {
            Err(_) => Self::QemuBmc,
            Ok("ipmi_sim") => Self::IpmiSim,
            Ok(other) => panic!("MATRIX_PEER={other} is not known; there is ipmi_sim"),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::QemuBmc => "qemu-bmc",
            Self::IpmiSim => "ipmi_sim",
        }
    }

    pub(crate) fn start(self, group: &Group) -> Server {
        match self {
            Self::QemuBmc => Server::QemuBmc(Box::new(qemu_bmc(group))),
            Self::IpmiSim => Server::IpmiSim(ipmi_sim(group)),
        }
    }
}

impl Server {
    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::QemuBmc(machine) => machine.port(),
            Self::IpmiSim(simulator) => simulator.port,
        }
    }

    /// A directory for the group's files.
    pub(crate) fn dir(&self) -> &Path {
        match self {
            Self::QemuBmc(machine) => machine.setup.dir.path(),
            Self::IpmiSim(simulator) => simulator.dir.path(),
        }
    }
}

/// Beside the administrator, who has slot 2. The passwords are the names with `-secret` behind.
const OTHERS: [&str; 2] = ["operator", "user"];

fn qemu_bmc(group: &Group) -> Machine {
    let mut setup = Setup::bare();
    for (slot, name) in (1..).zip(OTHERS) {
        let key = format!("ipmi.users.{slot}");
        setup = setup
            .set(format!("{key}.name={name}"))
            .set(format!("{key}.password={name}-secret"))
            .set(format!("{key}.privilege={name}"));
    }
    for (name, text) in &group.files {
        fs::write(setup.dir.path().join(name), text).unwrap();
    }
    let dir = setup.dir.path().display().to_string();
    group.sets.iter().fold(setup, |setup, set| setup.set(set.replace("{dir}", &dir))).start()
}

/// Called as `chassis [MC] get|set NAME [VALUE] …`.
const CHASSIS: &str = r#"#!/bin/sh
cd "$(dirname "$0")"
case $1 in
0x*) shift ;;
esac
action=$1
shift
while [ $# -gt 0 ]; do
	case $action in
	get)
		case $1 in
		power) echo "power:$(cat power)" ;;
		boot) echo "boot:$(cat boot)" ;;
		*) exit 1 ;;
		esac
		shift
		;;
	set)
		case $1 in
		power) echo "$2" > power ;;
		boot) echo "$2" > boot ;;
		reset | shutdown | identify) ;;
		*) exit 1 ;;
		esac
		shift 2
		;;
	esac
done
"#;

/// One MC with an event log, a temperature of 25 degrees, and a FRU with board and product areas.
fn emulation() -> String {
    let sdr: Vec<u8> = [
        &[0x20, 0x00, 0x01, 0x07, 0x01, 0x7F, 0x68, 0x01, 0x01][..],
        // Events, readable and settable thresholds; degrees Celsius, linear, y = x.
        &[0x80, 0x7A, 0x80, 0x7A, 0x3F, 0x3F, 0x00, 0x01, 0x00, 0x00],
        &[0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x07, 0x19, 0x50, 0x05, 0x7F, 0x80],
        &[0x64, 0x5F, 0x5A, 0x00, 0x05, 0x0A, 0x01, 0x01, 0x00, 0x00, 0x00, 0xC4],
        b"Temp",
    ]
    .concat();
    let mut record = vec![0x00, 0x00, 0x51, 0x01, u8::try_from(sdr.len()).unwrap()];
    record.extend(sdr);
    let area = |head: &[u8], fields: &[&str]| {
        let mut area = [&[0x01, 0x00], head].concat();
        for field in fields {
            area.push(0xC0 | u8::try_from(field.len()).unwrap());
            area.extend(field.as_bytes());
        }
        area.push(0xC1);
        area.resize((area.len() + 1).next_multiple_of(8), 0);
        area[1] = u8::try_from(area.len() / 8).unwrap();
        let last = area.len() - 1;
        area[last] = area.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
        area
    };
    let board = area(&[0x19, 0, 0, 0], &["qemu-bmc", "matrix", "0001", "part", "file"]);
    let product =
        area(&[0x19], &["qemu-bmc", "matrix", "part", "1.0", "0001", "asset-tag-1", "file"]);
    let mut fru = vec![0x01, 0, 0, 1, u8::try_from(1 + board.len() / 8).unwrap(), 0, 0, 0];
    fru[7] = fru.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
    fru.extend(board);
    fru.extend(product);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!(" {byte:#04x}")).collect::<String>();
    format!(
        "mc_setbmc 0x20\n\
         mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x0 0x0 persist_sdr\n\
         sel_enable 0x20 1000 0x0a\n\
         mc_enable 0x20\n\
         sensor_add 0x20 0 1 1 1\n\
         sensor_set_value 0x20 0 1 0x19 0\n\
         sensor_set_threshold 0x20 0 1 settable 111111 0x64 0x5f 0x5a 0x00 0x05 0x0a\n\
         sensor_set_event_support 0x20 0 1 enable scanning per-state 000111111111111 \
         000111111111111 000111111111111 000111111111111\n\
         main_sdr_add 0x20{}\n\
         mc_add_fru_data 0x20 0 {} data{}\n",
        hex(&record),
        fru.len(),
        hex(&fru),
    )
}

/// Whether somebody answers Get Channel Authentication Capabilities there.
fn answers(port: u16) -> bool {
    const REQUEST: [u8; 23] = [
        6, 0, 0xFF, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0x20, 0x18, 0xC8, 0x81, 0, 0x38, 0x8E, 4, 0xB5,
    ];
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    socket.send(&REQUEST).is_ok() && socket.recv(&mut [0; 64]).is_ok()
}

fn ipmi_sim(group: &Group) -> Simulator {
    let dir = tempfile::Builder::new().prefix("qemu-bmc-peer-").tempdir().unwrap();
    let port = free_port();
    // Something to connect its SOL with.
    let console = TcpListener::bind("127.0.0.1:0").unwrap();
    let console_port = console.local_addr().unwrap().port();
    thread::spawn(move || {
        let taken: Vec<_> = console.incoming().collect();
        drop(taken);
    });
    let path = |name: &str| dir.path().join(name);
    let write = |name: &str, text: &str| fs::write(path(name), text).unwrap();
    write("power", "0\n");
    write("boot", "default\n");
    write("chassis", CHASSIS);
    fs::set_permissions(path("chassis"), fs::Permissions::from_mode(0o755)).unwrap();
    write("sim.emu", &emulation());
    fs::create_dir(path("state")).unwrap();
    for (name, text) in &group.files {
        write(name, text);
    }
    let key = group.files.iter().find(|(name, _)| name == "k_g");
    let key = key.map_or_else(String::new, |(_, text)| format!("bmc_key \"{}\"\n", text.trim()));
    let auths = ["callback", "user", "operator", "admin"]
        .map(|level| format!("allowed_auths_{level} md5\n"))
        .concat();
    let mut users = format!("user 2 true \"{USER}\" \"{PASSWORD}\" admin 10 md5\n");
    for (slot, name) in (3..).zip(OTHERS) {
        users += &format!("user {slot} true \"{name}\" \"{name}-secret\" {name} 10 md5\n");
    }
    write(
        "lan.conf",
        &format!(
            "name \"matrix\"\nset_working_mc 0x20\nstartlan 1\naddr 127.0.0.1 {port}\n\
             priv_limit admin\n{auths}guid a123456789abcdefa123456789abcdef\n{key}endlan\n\
             chassis_control \"{}\"\nsol \"tcp:127.0.0.1:{console_port}\" 115200\n{users}",
            path("chassis").display(),
        ),
    );
    let mut command = tool("ipmi_sim");
    command.arg("-n").arg("-c").arg(path("lan.conf")).arg("-f").arg(path("sim.emu"));
    command.arg("-s").arg(path("state")).current_dir(dir.path());
    let log = fs::File::create(path("log")).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let simulator = Simulator { child: spawn(&mut command), dir, port };
    wait_until("ipmi_sim answers", SOON, || answers(port));
    simulator
}
