//! The figures of docs/container.md: how large the image is, and how soon a container answers, beside
//! the way that docker-qemu-bmc takes: supervisord, OpenIPMI's simulator and QEMU, on the same base.

use std::fmt::Write as _;
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::command::{run, tool};
use crate::container::{Container, Setup};
use crate::engine::{IMAGE, build, docker, image, inspect, repository};
use crate::machine::{PASSWORD, USER, ipmitool};
use crate::wait::{SOON, wait_for};

const PAGE: &str = "docs/container.md";
const BEGIN: &str = "<!-- Made by `make container-measure`. -->\n";
const END: &str = "<!-- End of what is made. -->\n";
/// Starts that are timed; the middle one counts.
const STARTS: usize = 5;

/// The packages of the other way (its Dockerfile at 43843079c2dd), and OVMF, which came to it later.
const OTHER: &str = "FROM BASE
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \\
    ca-certificates iproute2 ipmitool openipmi ovmf qemu-system-x86 qemu-utils socat supervisor \\
    && rm -rf /var/lib/apt/lists/* && apt-get clean
COPY lan.conf emu supervisord.conf /etc/
CMD [\"supervisord\", \"-n\", \"-c\", \"/etc/supervisord.conf\"]
";

const LAN_CONF: &str = "name \"bmc\"
set_working_mc 0x20
  startlan 1
    addr 0.0.0.0 623
    priv_limit admin
    allowed_auths_admin md5
  endlan
  user 2 true \"admin\" \"password\" admin 10 md5
";

const EMU: &str = "mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x0000 0x0000
mc_enable 0x20
";

const SUPERVISORD_CONF: &str = "[supervisord]
nodaemon=true
user=root
[program:ipmi]
command=ipmi_sim -n -c /etc/lan.conf -f /etc/emu
priority=100
[program:qemu]
command=qemu-system-x86_64 -machine q35,accel=tcg -m 2048 -smp 2 -vnc :0 -serial null -nic none
priority=200
";

/// Size of an image without compression.
pub(crate) fn image_bytes(image: &str) -> u64 {
    inspect(image, "{{.Size}}").parse().unwrap()
}

/// What goes over the network.
fn compressed_bytes(image: &str) -> u64 {
    let line = format!("docker save {image} | gzip --fast | wc --bytes");
    let output = tool("sh").args(["-c", &line]).stdin(Stdio::null()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// Sum of what dpkg says of the packages that an image has.
fn package_bytes(image: &str) -> u64 {
    let words = ["run", "--rm", "--entrypoint=dpkg-query", image, "--show", "--showformat"];
    let sizes = docker(words.iter().chain(&["${Installed-Size}\\n"])).succeeds().stdout;
    sizes.lines().map(|kib| kib.parse::<u64>().unwrap() * 1024).sum()
}

fn megabytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 100_000).unwrap()) / 10.0
}

/// Time until the BMC answers.
fn answers(container: &Container) -> Duration {
    let address = wait_for("an address", SOON, || {
        Some(container.address()).filter(|address| !address.is_empty())
    });
    wait_for("an answer", SOON, || {
        let mut command = ipmitool("lan", &address, "623", [USER, PASSWORD]);
        (run(command.args(["-N", "1", "-R", "0", "mc", "info"])).code == Some(0)).then_some(())
    });
    container.started.elapsed()
}

fn middle(mut times: Vec<Duration>) -> f32 {
    times.sort();
    times[times.len() / 2].as_secs_f32()
}

/// The layers of our image, the lowest first, with what made them.
fn layers() -> String {
    let words =
        ["history", "--human=false", "--no-trunc", "--format", "{{.Size}} {{.CreatedBy}}", image()];
    let history = docker(words).succeeds().stdout;
    let mut table = String::from("| layer | MB |\n|---|---|\n");
    for line in history.lines().rev() {
        let (size, made_by) = line.split_once(' ').unwrap_or((line, ""));
        let name = match made_by {
            text if text.contains("apt-get") => "packages: QEMU, firmware, ROMs, iproute2",
            text if text.contains("LICENSE") => "licences",
            text if text.contains("/usr/local/bin") => "the program",
            _ => "base: debian:trixie-slim",
        };
        let size: u64 = size.parse().unwrap();
        if size > 0 {
            let _ = writeln!(table, "| {name} | {:.1} |", megabytes(size));
        }
    }
    table
}

/// Measures, and writes the page anew.
pub(crate) fn figures() {
    if image() == IMAGE {
        build(IMAGE, repository());
    }
    let base = std::env::var("BASE_IMAGE").unwrap_or_else(|_| "debian:trixie-slim".to_owned());
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("Dockerfile", OTHER.replace("BASE", &base).as_str()),
        ("lan.conf", LAN_CONF),
        ("emu", EMU),
        ("supervisord.conf", SUPERVISORD_CONF),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let other = "qemu-bmc-other-way";
    build(other, folder.path());

    let start = Instant::now();
    let mut times: [Vec<Duration>; 3] = Default::default();
    for number in 0..STARTS {
        let ours = Setup::new(&format!("ours{number}")).start();
        times[0].push(answers(&ours));
        times[1].push(ours.wait_healthy());
        drop(ours);
        let theirs = Setup::new(&format!("theirs{number}")).image(other).start();
        times[2].push(answers(&theirs));
    }
    let [answer, healthy, other_answer] = times.map(middle);
    eprintln!("{STARTS} starts of each in {:?}", start.elapsed());

    let mut text = layers();
    text.push_str(
        "\n| | qemu-bmc | supervisord, ipmi_sim, socat, QEMU | ratio |\n|---|---|---|---|\n",
    );
    let base_packages = package_bytes(&base);
    let base_bytes = image_bytes(&base);
    type Size<'a> = (&'a str, &'a dyn Fn(&str) -> u64);
    let sizes: [Size<'_>; 4] = [
        ("image, MB", &image_bytes),
        ("image without its base, MB", &|image| image_bytes(image) - base_bytes),
        ("image, compressed, MB", &compressed_bytes),
        ("packages beside the base's, as dpkg counts, MB", &|image| {
            package_bytes(image) - base_packages
        }),
    ];
    for (name, size) in sizes {
        let [ours, theirs] = [image(), other].map(|image| megabytes(size(image)));
        let _ = writeln!(text, "| {name} | {ours:.1} | {theirs:.1} | {:.2} |", ours / theirs);
    }
    let ratio = answer / other_answer;
    let _ = writeln!(
        text,
        "| `docker run` to the first IPMI answer, s | {answer:.2} | {other_answer:.2} | {ratio:.2} |"
    );
    let _ = writeln!(text, "| `docker run` to healthy, s | {healthy:.1} | – | |");

    let path = repository().join(PAGE);
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    println!("{text}");
    fs::write(path, [before, BEGIN, &text, END, after].concat()).unwrap();
    docker(["rmi", other]).succeeds();
}
