//! The clients, each a loop of its own. What each does next is chosen by its random numbers.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use crate::clients::{ADMIN, SOL_READY};
use crate::command::{Output, run};
use crate::processes::{self, Signal};
use crate::random::Random;
use crate::soak::guest;
use crate::soak::scene::{Actor, Event, Scene};
use crate::terminal::Terminal;
use crate::wait::{SOON, wait_until};

/// A command, and what it says when it works, as a regular expression.
type Step = (&'static str, &'static str);

/// Who does what, and how long he rests after it, in milliseconds: from, and how much more at most.
pub(super) struct Client {
    pub(super) name: Actor,
    rest: (u64, usize),
    act: fn(&Scene, Actor, &mut Random),
}

pub(super) const ALL: [Client; 10] = [
    Client { name: "ipmitool 1", rest: (0, 300), act: ipmitool },
    Client { name: "ipmitool 2", rest: (0, 300), act: ipmitool },
    Client { name: "freeipmi", rest: (0, 400), act: freeipmi },
    Client { name: "ctl", rest: (0, 400), act: ctl },
    Client { name: "switcher", rest: (100, 2000), act: switcher },
    Client { name: "ipmitool sol", rest: (0, 1000), act: ipmitool_sol },
    Client { name: "ipmiconsole", rest: (2000, 4000), act: ipmiconsole },
    Client { name: "thief", rest: (3000, 6000), act: thief },
    Client { name: "killer", rest: (2000, 4000), act: killer },
    Client { name: "links", rest: (500, 3000), act: links },
];

impl Client {
    /// Works until all is over.
    pub(super) fn work(&self, scene: &Scene, mut random: Random) {
        while !scene.is_over() {
            {
                // Poisoned, the test has failed.
                let Ok(_open) = scene.gate.read() else { return };
                (self.act)(scene, self.name, &mut random);
            }
            let (least, more) = self.rest;
            scene.pause(Duration::from_millis(least) + up_to(more, &mut random));
        }
    }
}

fn up_to(ms: usize, random: &mut Random) -> Duration {
    Duration::from_millis(u64::try_from(random.below(ms)).unwrap())
}

/// Splits a command line without quotes.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(' ')
}

/// For a host that does other things as well, and keeps the BMC waiting: 5 s until a request is repeated.
const PATIENT: &str = "-I lanplus -N 5";

impl Scene {
    /// `ipmitool INTERFACE … LINE`.
    fn ipmitool_command(&self, interface: &str, line: &str) -> Command {
        let mut command = self.client("ipmitool");
        command.args(words(interface)).args(["-H", "127.0.0.1"]);
        command.args(["-p", &self.machine.port().to_string()]);
        command.args(["-U", ADMIN.user, "-P", ADMIN.password]).args(words(line));
        command
    }

    pub(super) fn ipmitool(&self, line: &str) -> Output {
        run(&mut self.ipmitool_command(PATIENT, line))
    }

    /// `ipmitool … sol activate`, on a terminal.
    pub(super) fn sol(&self) -> Terminal {
        Terminal::open(&self.ipmitool_command("-I lanplus", "sol activate"))
    }

    fn freeipmi(&self, tool: &str, line: &str) -> Output {
        let mut command = self.client(tool);
        command.args(["-D", "LAN_2_0", "-h", &format!("127.0.0.1:{}", self.machine.port())]);
        command.args(["-u", ADMIN.user, "-p", ADMIN.password]);
        if ["ipmi-fru", "ipmi-sensors", "ipmi-sel"].contains(&tool) {
            let cache = self.machine.setup.dir.path().display();
            command.args(["--quiet-cache", &format!("--sdr-cache-directory={cache}")]);
        }
        run(command.args(words(line)))
    }
}

/// What one does to an event log that others use, too.
const LOG_STEPS: [Step; 3] = [
    ("sel list", r"\A(SEL has no entries|( *[0-9a-f]+ \|.*\n)+\z)"),
    ("sel clear", r"\AClearing SEL\."),
    ("event 1", r"\ASending SAMPLE event: .*\n.* Upper Critical going high"),
];

fn ipmitool(scene: &Scene, me: Actor, random: &mut Random) {
    const INTERFACES: [&str; 3] = ["-I lanplus -C 17 -N 5", "-I lanplus -C 3 -N 5", "-I lan -N 5"];
    const STEPS: [Step; 12] = [
        ("power status", r"\AChassis Power is o(n|ff)\n\z"),
        ("chassis status", r"\ASystem Power         : o(n|ff)\n"),
        ("mc info", r"\ADevice ID                 : 32\n"),
        ("mc guid", r"\ASystem GUID +: "),
        ("sdr list", r"\A(.* \| .*\n){4}"),
        ("fru print", r" Product Name          : "),
        ("user list 1", r"\n2   admin "),
        ("lan print 1", r"\nIP Address              : "),
        ("channel info 1", r"\AChannel 0x1 info:\n"),
        ("chassis bootparam get 5", r"Boot parameter data: "),
        ("chassis bootdev disk", r"\ASet Boot Device to disk\n\z"),
        ("chassis bootdev none", r"\ASet Boot Device to none\n\z"),
    ];
    if random.once_in(20) {
        let doing = "-P wrong -R 1 mc info";
        let output = scene.doing(me, Event::WrongPassword, || scene.ipmitool(doing));
        return scene.judge(me, "ipmitool", doing, "no way", &output);
    }
    let interface = random.pick(&INTERFACES);
    let ask = |line| run(&mut scene.ipmitool_command(interface, line));
    if random.once_in(4) {
        let (doing, works) = *random.pick(&LOG_STEPS);
        let output = scene.doing(me, Event::Sel, || ask(doing));
        scene.judge(me, "ipmitool", doing, works, &output);
    } else {
        let (doing, works) = *random.pick(&STEPS);
        scene.judge(me, "ipmitool", doing, works, &ask(doing));
    }
}

fn freeipmi(scene: &Scene, me: Actor, random: &mut Random) {
    const STEPS: [(&str, &str, &str); 6] = [
        ("ipmi-sensors", "--no-header-output", r"\A([0-9]+ +\| .*\n)+\z"),
        ("ipmi-sensors", "--sdr-cache-recreate", r"\AID +\| Name .*\n([0-9]+ +\| .*\n)+\z"),
        ("ipmipower", "--stat", r"\A127\.0\.0\.1: o(n|ff)\n\z"),
        ("bmc-info", "-I 17", r"Device ID             : 32\n"),
        ("ipmi-chassis", "--get-status", r"System Power +: o(n|ff)\n"),
        ("ipmi-fru", "--verbose", r"\n  FRU Product Name: "),
    ];
    match random.below(8) {
        0 => {
            let output =
                scene.doing(me, Event::Sel, || scene.freeipmi("ipmi-sel", "--no-header-output"));
            scene.judge(me, "ipmi-sel", "--no-header-output", r"\A([0-9]+ +\| .*\n)*\z", &output);
        }
        1 if random.once_in(3) => {
            let output =
                scene.doing(me, Event::WrongPassword, || scene.freeipmi("bmc-info", "-p wrong"));
            scene.judge(me, "bmc-info", "-p wrong", "no way", &output);
        }
        _ => {
            let (tool, doing, works) = *random.pick(&STEPS);
            scene.judge(me, tool, doing, works, &scene.freeipmi(tool, doing));
        }
    }
}

fn ctl(scene: &Scene, me: Actor, random: &mut Random) {
    const STEPS: [Step; 7] = [
        ("status", r"\Amachine   e2e\n"),
        ("status --json", r"\A\{"),
        ("links", r"\Anic0  "),
        ("sel list", r"\A(.*[0-9]  .*\n)*\z"),
        ("sensor list", r"  CPU Load  "),
        ("boot disk --once", ""),
        ("boot none", ""),
    ];
    match random.below(10) {
        0 => {
            let output = scene.machine.health();
            scene.judge(me, "health", "", "", &output);
        }
        1 => {
            let mut console = scene.machine.console(&["--history"]);
            scene.pause(up_to(500, random));
            console.press("x\r~.");
            assert_eq!(console.end(), 0);
            scene.count("ctl console --history", true);
        }
        2 => {
            let path = scene.machine.run_dir.join("console.sock");
            let mut socket = UnixStream::connect(path).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            socket.write_all(b"x").unwrap();
            // There may be nothing to read.
            let _ = socket.read(&mut [0; 4096]);
            scene.count("console.sock", true);
        }
        _ => {
            let (doing, works) = *random.pick(&STEPS);
            let asked: Vec<&str> = words(doing).collect();
            scene.judge(me, "ctl", doing, works, &scene.machine.ctl(&asked));
        }
    }
}

/// Switches power, by one tool or another.
fn switcher(scene: &Scene, me: Actor, random: &mut Random) {
    // More often on than off, so that the others meet both.
    const ACTIONS: [&str; 9] = ["on", "on", "on", "off", "cycle", "cycle", "reset", "soft", "diag"];
    let action = *random.pick(&ACTIONS);
    match random.below(3) {
        0 if action != "diag" => {
            let doing = format!("--{action}");
            let output = scene.doing(me, Event::Power, || scene.freeipmi("ipmipower", &doing));
            scene.judge(me, "ipmipower", &doing, r"\A127\.0\.0\.1: ok\n\z", &output);
            if action == "reset" {
                // It closes no session then, as if the BMC were reset with the machine.
                scene.leave_session();
            }
        }
        1 => {
            let doing = format!("power {action}");
            let asked: Vec<&str> = words(&doing).collect();
            let output = scene.doing(me, Event::Power, || scene.machine.ctl(&asked));
            scene.judge(me, "ctl", &doing, "", &output);
        }
        _ => {
            let doing = format!("power {action}");
            let output = scene.doing(me, Event::Power, || scene.ipmitool(&doing));
            scene.judge(me, "ipmitool", &doing, r"\AChassis Power Control: ", &output);
        }
    }
}

/// Types at a console now and then, for some seconds at most, or until it has ended.
fn type_at(scene: &Scene, console: &mut Terminal, random: &mut Random) {
    for _ in 0..random.below(8) {
        if !console.try_press("soak") {
            break;
        }
        scene.pause(up_to(800, random));
    }
}

fn ipmitool_sol(scene: &Scene, me: Actor, random: &mut Random) {
    const TAKEN: &str = "SOL payload already active on another session";
    const CLOSED: &str = "SOL session closed by BMC";
    let mut console = scene.doing(me, Event::Sol, || {
        let mut console = scene.sol();
        (console.expect_one(&[SOL_READY, TAKEN]) == 0).then_some(console)
    });
    let Some(console) = &mut console else {
        assert!(scene.lately(me, Event::Sol), "{me}: who has it?");
        return scene.count("ipmitool sol activate", false);
    };
    scene.doing(me, Event::Sol, || type_at(scene, console, random));
    // It may end by itself at this moment.
    let program = processes::children(console.id()).first().copied();
    if let Some(program) = program.filter(|_| random.once_in(12)) {
        processes::signal(program, Signal::SIGKILL);
        console.end();
        scene.leave_session();
        return scene.count("ipmitool sol activate, killed", true);
    }
    console.try_press("\r~.");
    let code = console.end();
    let shown = console.transcript();
    // This guest does not begin anew when a reset has left the KCS in the middle of a request.
    let wrong = shown.contains(char::from(guest::WRONG_ANSWER));
    assert!(
        !wrong || scene.lately(me, Event::Power),
        "{me}: the guest has got a wrong answer in-band: {shown:?}"
    );
    let worked = code == 0 && shown.contains("[terminated ipmitool]");
    scene.count("ipmitool sol activate", worked);
    if !worked {
        let ended = [Event::Sol, Event::SolEnd].iter().any(|event| scene.lately(me, *event));
        assert!(ended && shown.contains(CLOSED), "{me}: ended with {code}: {shown:?}");
        // ipmitool leaves it as it is then.
        scene.leave_session();
    }
}

/// FreeIPMI's console, which takes Serial-over-LAN over from whoever has it.
fn ipmiconsole(scene: &Scene, me: Actor, random: &mut Random) {
    let mut command = scene.client("ipmiconsole");
    command.args(["-h", &format!("127.0.0.1:{}", scene.machine.port())]);
    command.args(["-u", ADMIN.user, "-p", ADMIN.password]);
    let mut console = Terminal::open(&command);
    scene.doing(me, Event::Sol, || {
        console.expect("[SOL established]\r\n");
        type_at(scene, &mut console, random);
    });
    console.try_press("&.");
    let code = console.end();
    let shown = console.transcript();
    let stolen = shown.contains("[SOL session stolen]");
    scene.count("ipmiconsole", !stolen);
    assert!(
        code == 0
            && shown.contains("[closing the connection]")
            && (!stolen || scene.lately(me, Event::SolEnd)),
        "{me}: ended with {code}: {shown:?}"
    );
}

/// Ends others' Serial-over-LAN.
fn thief(scene: &Scene, me: Actor, _: &mut Random) {
    let output = scene.doing(me, Event::SolEnd, || scene.ipmitool("sol deactivate"));
    scene.judge(me, "ipmitool", "sol deactivate", r"\A\z", &output);
}

/// Kills QEMU, or stops it for a while.
fn killer(scene: &Scene, me: Actor, random: &mut Random) {
    let Some(qemu) = scene.machine.qemu_pid() else { return };
    if random.once_in(3) {
        scene.doing(me, Event::Stop, || {
            processes::signal(qemu, Signal::SIGSTOP);
            scene.pause(Duration::from_millis(200) + up_to(3000, random));
            processes::signal(qemu, Signal::SIGCONT);
        });
        scene.count("QEMU stopped", true);
    } else {
        scene.doing(me, Event::Kill, || {
            processes::signal(qemu, Signal::SIGKILL);
            wait_until("the program notices", SOON, || scene.machine.qemu_pid() != Some(qemu));
        });
        scene.count("QEMU killed", true);
    }
}

impl Scene {
    pub(super) fn wait_carrier(&self, up: bool) {
        wait_until(&format!("the carrier is {up}"), SOON, || {
            self.machine.status()["links"][0]["carrier"] == up
        });
    }

    /// Links the node to the lab.
    pub(super) fn link(&self) {
        self.node.ip(&format!("link add eth2 type veth peer name x netns {}", self.lab.0));
        self.lab.ip("link set x up");
        self.node.ip("link set eth2 up");
    }
}

/// Takes the link down at either end, or away, and brings it back.
fn links(scene: &Scene, me: Actor, random: &mut Random) {
    let (away, back): (&dyn Fn(), &dyn Fn()) = match random.below(3) {
        0 => (&|| drop(scene.node.ip("link del eth2")), &|| scene.link()),
        1 => (&|| drop(scene.lab.ip("link set x down")), &|| drop(scene.lab.ip("link set x up"))),
        _ => (&|| drop(scene.node.ip("link set eth2 down")), &|| {
            drop(scene.node.ip("link set eth2 up"))
        }),
    };
    scene.doing(me, Event::Link, || {
        away();
        scene.wait_carrier(false);
        scene.pause(up_to(300, random));
        back();
        scene.wait_carrier(true);
    });
    let mtu = if random.once_in(2) { 9000 } else { 1500 };
    scene.node.ip(&format!("link set eth2 mtu {mtu}"));
    scene.count("link away and back", true);
}
