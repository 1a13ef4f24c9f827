//! The console beside Serial-over-LAN: `ctl console`, sockets, files, standard output, history.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::command::tool;
use crate::machine::{Machine, Setup, free_port};
use crate::processes::{self, Signal};
use crate::terminal::{PROMPT, Terminal};
use crate::wait::{BOOT, SOON, wait_for, wait_until};

impl Machine {
    /// `qemu-bmc ctl console …`.
    fn ctl_console(&self, words: &[&str]) -> Command {
        let mut command = tool(env!("CARGO_BIN_EXE_qemu-bmc"));
        command.args(["ctl", "--socket"]).arg(self.run_dir.join("control.sock"));
        command.arg("console").args(words);
        command
    }

    /// The same on a terminal; it is up.
    #[track_caller]
    pub(crate) fn console(&self, words: &[&str]) -> Terminal {
        let mut terminal = Terminal::open(&self.ctl_console(words));
        terminal.expect("[console of the machine; ~. leaves, ~? helps]\r\n");
        terminal
    }

    /// Whether the console's history has this.
    fn console_shows(&self, text: &str) -> bool {
        let mut history = self.ctl_console(&["--history"]);
        let mut reader = history.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut buffer = [0; 65536];
        // What there is comes at once.
        let len = reader.stdout.take().unwrap().read(&mut buffer).unwrap();
        reader.kill().unwrap();
        reader.wait().unwrap();
        String::from_utf8_lossy(&buffer[..len]).contains(text)
    }

    #[track_caller]
    fn socket(&self, name: &str) -> Socket {
        Socket::open(UnixStream::connect(self.run_dir.join(name)).unwrap())
    }
}

/// A client of a console's socket, and all that it has got.
struct Socket<Stream = UnixStream> {
    stream: Stream,
    got: Arc<Mutex<Vec<u8>>>,
}

impl Socket {
    fn open(stream: UnixStream) -> Self {
        let reader = stream.try_clone().unwrap();
        Self::reading(stream, reader)
    }
}

impl<Stream> Socket<Stream> {
    fn reading(stream: Stream, mut reader: impl Read + Send + 'static) -> Self {
        let got = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&got);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = reader.read(&mut buffer) {
                sink.lock().unwrap().extend_from_slice(&buffer[..len]);
            }
        });
        Self { stream, got }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.got.lock().unwrap().clone()).into_owned()
    }

    #[track_caller]
    fn expect(&self, text: &str) {
        wait_until(&format!("`{text}` on the socket"), BOOT, || self.text().contains(text));
    }
}

/// How often a text is in another.
fn count(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

/// The lines that `seq 1 LAST` prints on a terminal.
fn numbers(last: u32) -> String {
    (1..=last).map(|number| format!("{number}\r\n")).collect()
}

#[test]
fn a_stopped_viewer_holds_up_neither_the_guest_nor_the_others() {
    let setup = Setup::demo();
    let (file, follower) = (setup.dir.path().join("console"), setup.dir.path().join("follower"));
    let machine = setup.set(format!("console.file={}", file.display())).start();
    let mut sol = machine.sol();
    let socket = machine.socket("console.sock");
    let mut typist = machine.console(&[]);
    let mut stopped = machine.console(&[]);
    let following = fs::File::create(&follower).unwrap();
    let mut reader = machine
        .ctl_console(&["--read-only"])
        .stdin(Stdio::null())
        .stdout(following)
        .spawn()
        .unwrap();
    machine.power("on");
    sol.expect_guest();
    typist.expect_guest();
    stopped.expect_guest();

    let program = processes::children(stopped.id()).first().copied().unwrap();
    processes::signal(program, Signal::SIGSTOP);
    // More than waits for a viewer, and the kernel's buffers.
    let expected = numbers(250_000);
    let start = Instant::now();
    typist.type_line("seq 1 250000");
    let limit = Duration::from_secs(90);
    typist.expect("seq 1 250000\r\n");
    assert!(typist.expect_within(limit, PROMPT) == expected, "ctl console has lost something");
    let took = start.elapsed();
    eprintln!("{} bytes from the guest in {took:?}", expected.len());
    sol.expect("seq 1 250000\r\n");
    assert!(sol.expect_within(limit, PROMPT) == expected, "SOL has lost something");
    wait_until("the socket has all", SOON, || socket.text().contains(&expected));
    for path in [&file, &follower] {
        let has_all = || fs::read_to_string(path).is_ok_and(|text| text.contains(&expected));
        wait_until(&format!("{} has all", path.display()), SOON, has_all);
    }

    // `script` has stopped with its child.
    for process in [stopped.id(), program] {
        processes::signal(process, Signal::SIGCONT);
    }
    stopped.expect_within(limit, " bytes skipped]\r\n");
    stopped.expect_within(limit, PROMPT);
    // All of them are at the same console.
    assert_eq!(stopped.shell("echo $((6*7*1000))"), "42000\r\n");
    typist.expect("42000\r\n");
    sol.expect("42000\r\n");
    reader.kill().unwrap();
    reader.wait().unwrap();
}

#[test]
fn ctl_console_types_sends_a_break_and_leaves() {
    let machine = Setup::demo().start();
    let mut console = machine.console(&[]);
    machine.ctl(&["power", "on"]).succeeds();
    console.expect_guest();
    assert_eq!(console.shell("echo ~/$((6*7*1000))"), "/root/42000\r\n");
    console.press("~?");
    console.expect("~.  leave\r\n");
    // What is typed comes after the break, though it goes another way.
    console.press("~Bh");
    console.expect("sysrq: HELP : ");

    let mut reader = machine.console(&["--read-only", "--history"]);
    // The history ends with the answer to the break.
    reader.expect("/root/42000\r\n");
    reader.expect("sysrq: HELP : ");
    reader.press("\rnobody\r~.");
    assert_eq!(reader.end(), 0);
    console.press("\u{3}");
    console.expect(PROMPT);
    console.press("\r~.");
    assert_eq!(console.end(), 0);
    assert!(!console.transcript().contains("nobody"));
}

#[test]
fn a_killed_ctl_console_leaves_the_terminal_as_it_was() {
    let machine = Setup::bare().start();
    let console = machine.ctl_console(&[]);
    let words = [console.get_program()].into_iter().chain(console.get_args());
    let words: Vec<&str> = words.map(|word| word.to_str().unwrap()).collect();
    // The shell stays, whatever ends the console, and says how it finds the terminal.
    let line = format!(
        "ulimit -c 0; trap : HUP INT QUIT TERM; stty -g; {}; echo; stty -g; echo \"[end]\"",
        shlex::try_join(words).unwrap()
    );
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
        let mut terminal = Terminal::open(Command::new("sh").args(["-c", &line]));
        let before = terminal.expect("[console of the machine; ~. leaves, ~? helps]\r\n");
        let shell = processes::children(terminal.id())[0];
        let program = processes::children(shell)[0];
        processes::signal(program, signal);
        let after = terminal.expect("[end]\r\n");
        let after = after.trim_end().rsplit_once("\r\n").unwrap().1;
        assert_eq!(after, before.trim_end(), "after {signal}");
    }
}

#[test]
fn ctl_console_is_left_whatever_the_program_does() {
    let machine = Setup::bare().start();
    let mut console = machine.console(&[]);
    machine.signal(Signal::SIGSTOP);
    // More than waits anywhere for a program that takes nothing.
    let line = format!("{}\r", "x".repeat(1000));
    for _ in 0..1000 {
        console.press(&line);
    }
    console.press("~.");
    assert_eq!(console.end(), 0);
    machine.signal(Signal::SIGCONT);
}

#[test]
fn ctl_console_ends_when_nobody_reads_it() {
    let machine = Setup::bare().start();
    machine.power("on");
    // Then it has no more to say.
    wait_until("the firmware's end", SOON, || machine.console_shows("No bootable device."));
    let mut command = machine.ctl_console(&["--history"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut reader = command.spawn().unwrap();
    reader.stdout.take().unwrap().read_exact(&mut [0; 16]).unwrap();
    // The pipe is closed now.
    let status = wait_for("its end", SOON, || reader.try_wait().unwrap());
    let mut complaint = String::new();
    reader.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    assert_eq!((status.code(), &complaint[..]), (Some(0), ""));
}

#[test]
fn ctl_console_says_why_it_cannot_show() {
    let machine = Setup::bare().start();
    machine.power("on");
    wait_until("the firmware's end", SOON, || machine.console_shows("No bootable device."));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = machine
        .ctl_console(&["--history"])
        .stdin(Stdio::null())
        .stdout(full)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(complaint, "error: standard output: No space left on device (os error 28)\n");
}

#[test]
fn those_who_come_and_go_leave_nothing_behind() {
    let machine = Setup::bare().start();
    machine.power("on");
    let qemu = machine.wait_on();
    // It reads nothing any more, and says nothing.
    processes::signal(qemu, Signal::SIGSTOP);
    let descriptors = || fs::read_dir(format!("/proc/{}/fd", machine.pid())).unwrap().count();
    let before = descriptors();
    for round in 0..1200 {
        let mut stream = UnixStream::connect(machine.run_dir.join("console.sock")).unwrap();
        stream.write_all(&[b'k'; 100]).unwrap();
        if round % 2 == 0 {
            stream.shutdown(Shutdown::Write).unwrap();
        }
    }
    wait_until("all descriptors are closed", SOON, || descriptors() <= before);
    processes::signal(qemu, Signal::SIGCONT);
    machine.power_is("on");
}

#[test]
fn viewers_stay_over_power_cycles_and_see_each_from_its_first_byte() {
    let setup = Setup::bare();
    let file = setup.dir.path().join("console");
    let mut machine = setup
        .set(format!("console.file={}", file.display()))
        .set("console.stdout=true")
        .set("console.sol_replay=true")
        .start();
    let socket = machine.socket("console.sock");
    let ready = "No bootable device.\r\n";
    for (round, action) in (1..).zip(["on", "cycle", "cycle"]) {
        machine.power(action);
        wait_until("the firmware's end", SOON, || count(&socket.text(), ready) == round);
        machine.wait_on();
    }
    let shown = socket.text();
    assert!(shown.starts_with("\u{1b}c\u{1b}["), "the first byte is cut: {shown:?}");
    // Nothing is between one machine's last byte and the next one's first.
    assert_eq!(count(&shown, &format!("{ready}\u{1b}c\u{1b}[")), 2, "{shown:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), shown);
    machine.expect_log("SeaBIOS (version ");
    wait_until("it is in the log", SOON, || count(&machine.log(), "\nNo bootable device.\n") == 3);
    assert!(!machine.log().contains('\u{1b}'), "standard output gets no control sequences");

    // Now that it is silent, all that SOL shows is history.
    let mut sol = machine.sol();
    for _ in 0..3 {
        sol.expect("SeaBIOS (version ");
        sol.expect(ready);
    }
    machine.signal(Signal::SIGTERM);
    assert_eq!(machine.wait_end(SOON).code(), Some(0));
    machine.assert_cleaned_up();
    assert!(!machine.run_dir.join("console.sock").exists());
}

#[test]
fn tcp_serves_what_the_socket_does_and_not_to_everybody() {
    let port = free_port();
    let mut machine = Setup::demo().set(format!("console.tcp_port={port}")).start();
    let socket = machine.socket("console.sock");
    let open = || {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let reader = stream.try_clone().unwrap();
        Socket::reading(stream, reader)
    };
    let mut first = open();
    let second = open();
    // Another of this host's addresses, as it would be to the outside.
    let other = TcpStream::connect((Ipv4Addr::new(127, 0, 0, 2), port));
    assert_eq!(other.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    machine.power("on");
    first.expect(PROMPT);
    first.stream.write_all(b"echo $((6*7*1000)); seq 1 50000 | sha256sum\r").unwrap();
    first.stream.shutdown(Shutdown::Write).unwrap();
    // As `seq 1 50000 | sha256sum` says anywhere.
    let sum = Command::new("sh").args(["-c", "seq 1 50000 | sha256sum"]).output().unwrap().stdout;
    let shown = format!("42000\r\n{}\r\n{PROMPT}", String::from_utf8(sum).unwrap().trim_end());
    for text in [&first.got, &second.got, &socket.got] {
        let text = || String::from_utf8_lossy(&text.lock().unwrap()).into_owned();
        wait_until("all have the same", BOOT, || text().contains(&shown));
    }
    assert_eq!(first.text(), socket.text());
    assert_eq!(second.text(), socket.text());

    // One that closes without having read all takes nobody along, and a restart needs no waiting.
    drop(second);
    machine.restart();
    open();
}

#[test]
fn uefi_firmware_is_seen_from_its_first_byte() {
    let machine = Setup::bare().set("firmware.mode=uefi").start();
    let socket = machine.socket("console.sock");
    machine.power("on");
    socket.expect("BdsDxe: ");
    let shown = socket.text();
    assert!(shown.starts_with("\u{1b}["), "the first byte is cut: {:?}", &shown[..40]);
}

#[test]
fn nobody_has_to_watch() {
    let machine = Setup::demo().set("console.history_kib=0").start();
    machine.power("on");
    {
        let mut socket = machine.socket("console.sock");
        socket.expect(PROMPT);
        socket.stream.write_all(b"seq 1 20000 && poweroff\r").unwrap();
        socket.expect("seq 1");
        // Gone, with the guest in the middle of it.
        socket.stream.shutdown(Shutdown::Both).unwrap();
    }
    wait_until("the guest has gone on to its end", BOOT, || machine.status()["power"] == "off");
}

#[test]
fn further_serial_ports_have_a_socket_and_a_file_that_begins_anew() {
    let setup = Setup::demo();
    let file = setup.dir.path().join("serial2");
    let machine = setup
        .set(format!(
            "serials=[{{ socket = true }}, {{ file = \"{}\", file_mib = 1, file_count = 1 }}]",
            file.display()
        ))
        .start();
    let mut sol = machine.sol();
    let mut second = machine.socket("serial1.sock");
    machine.power("on");
    sol.expect_guest();
    // Opened once: what has come before, the kernel drops when a port is opened.
    sol.shell("exec 3<> /dev/ttyS1; stty -F /dev/ttyS1 raw -echo; echo to the second >&3");
    second.expect("to the second\n");
    sol.type_line("head -n 1 <&3");
    sol.expect("head -n 1 <&3\r\n");
    second.stream.write_all(b"from the second\n").unwrap();
    sol.expect("from the second\r\n");
    sol.expect(PROMPT);

    sol.type_line("stty -F /dev/ttyS2 raw -echo; seq 1 200000 > /dev/ttyS2");
    sol.expect("ttyS2\r\n");
    sol.expect_within(BOOT, PROMPT);
    let expected: String = (1..=200_000).map(|number| format!("{number}\n")).collect();
    let older = machine.setup.dir.path().join("serial2.1");
    let text = wait_for("the third port's files have all", SOON, || {
        let text = fs::read_to_string(&older).ok()? + &fs::read_to_string(&file).ok()?;
        (text.len() == expected.len()).then_some(text)
    });
    assert!(text == expected, "the files have something else");
    assert!(fs::metadata(&older).unwrap().len() <= 1 << 20);
    assert!(!sol.transcript().contains("to the second\r\nto"), "each port by itself");
}
