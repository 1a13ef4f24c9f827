//! MAAS's commissioning of a server, from inside: what its script `30-maas-01-bmc-config` asks and
//! writes, and then its power driver, from another host, with the address that the script has found.
//!
//! The script itself does nothing in a virtual machine; so its steps are here.

use std::collections::BTreeMap;
use std::fs;

use crate::command::{run, tool};
use crate::machine::{Setup, root};
use crate::namespace::{Namespace, link};
use crate::terminal::Terminal;
use crate::wait::BOOT;

const USER: &str = "maas";
/// With what its script makes passwords of.
const PASSWORD: &str = "a0Z!\"#$%'&;`~(x)";

/// The guest's shell, and what was said at it, for people to read.
struct Shell {
    terminal: Terminal,
    transcript: String,
}

impl Shell {
    /// Runs a command, and answers what it said and its exit code.
    #[track_caller]
    fn run(&mut self, words: &[&str]) -> (String, i32) {
        let command = shlex::try_join(words.iter().copied()).unwrap();
        let line = format!("{command}; echo \"[$?]\"");
        let output = self.terminal.shell_within(BOOT, &line).replace("\r\n", "\n");
        let (text, code) = output.rsplit_once('[').unwrap();
        self.transcript += &format!("machine# {command}\n{text}");
        let code = code.trim_end().trim_end_matches(']').parse().unwrap();
        if code != 0 {
            self.transcript += &format!("(exit code {code})\n");
        }
        (text.to_owned(), code)
    }
}

/// What `bmc-config --checkout` has said: keys and values of each section.
struct Settings(BTreeMap<String, BTreeMap<String, String>>);

impl Settings {
    fn read(text: &str) -> Self {
        let mut sections = BTreeMap::new();
        let mut section = None;
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            let (key, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            match (key, &mut section) {
                ("", _) => {}
                ("Section", _) => section = Some((value.trim().to_owned(), BTreeMap::new())),
                ("EndSection", _) => sections.extend(section.take()),
                (_, Some((_, keys))) => {
                    keys.insert(key.to_owned(), value.trim().to_owned());
                }
                // What the tool has to complain of stands between the sections.
                (_, None) => {}
            }
        }
        Self(sections)
    }

    fn get(&self, section: &str, key: &str) -> Option<&str> {
        self.0.get(section)?.get(key).map(String::as_str)
    }

    /// A user's number that nobody has, by the name of its section. User 1 is nobody's.
    fn free_user(&self) -> &str {
        let numbers = (2..=63).map(|number| format!("User{number}"));
        let free = |name: &String| {
            self.0.get(name).is_some_and(|keys| keys.get("Username").is_some_and(String::is_empty))
        };
        let section = numbers.clone().find(free).expect("a user without a name");
        self.0.get_key_value(&section).unwrap().0
    }
}

/// The keys that the script wants to have this value, where the BMC has them at all.
fn wanted() -> Vec<(&'static str, String, &'static str)> {
    let mut all = Vec::new();
    for key in ["Volatile_Access_Mode", "Non_Volatile_Access_Mode"] {
        all.push(("Lan_Channel", key.to_owned(), "Always_Available"));
    }
    for channel in ["Lan_Channel", "Serial_Channel"] {
        for what in ["User_Level_Auth", "Per_Message_Auth", "Pef_Alerting"] {
            for kind in ["Volatile", "Non_Volatile"] {
                all.push((channel, format!("Enable_{what}_{kind}"), "Yes"));
            }
        }
    }
    for level in ["Callback", "User", "Admin", "OEM"] {
        for kind in ["None", "MD2", "OEM_Proprietary"] {
            all.push(("Lan_Channel_Auth", format!("{level}_Enable_Auth_Type_{kind}"), "No"));
        }
    }
    for id in [1, 2, 6, 7, 11, 15, 16] {
        let key = format!("Maximum_Privilege_Cipher_Suite_Id_{id}");
        all.push(("Rmcpplus_Conf_Privilege", key, "Unused"));
    }
    for what in ["Authentication", "Encryption"] {
        all.push(("SOL_Conf", format!("Force_SOL_Payload_{what}"), "Yes"));
    }
    all
}

/// What stands behind a name in `ipmitool lan print`.
fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_once(": ").unwrap().1
}

#[test]
fn maas_finds_the_bmc_from_inside_adds_its_user_and_switches_from_outside() {
    let (node, region) = (Namespace::new(), Namespace::new());
    link((&node, "eth1"), (&region, "eth1"), 1500);
    node.ip("address add 198.51.100.7/24 dev eth1");
    region.ip("address add 198.51.100.1/24 dev eth1");
    let machine = node.machine(Setup::ipmi_guest().set("ipmi.bind=eth1").set("ipmi.port=623"));
    let mut shell = Shell { terminal: machine.guest(), transcript: String::new() };

    // Is there one?
    let (found, _) = shell.run(&["ipmi-locate"]);
    assert!(found.contains("IPMI Version: 2.0"), "{found}");

    // What is it set to? The tool ends with 1 where a BMC lacks something that it asks for.
    let (text, _) = shell.run(&["bmc-config", "--checkout"]);
    let settings = Settings::read(&text);
    for section in ["User2", "Lan_Channel", "Lan_Conf", "Rmcpplus_Conf_Privilege", "SOL_Conf"] {
        assert!(settings.0.contains_key(section), "no {section} in\n{text}");
    }
    assert_eq!(settings.get("User2", "Username"), Some("admin"), "{text}");
    let suite = |id| {
        settings.get("Rmcpplus_Conf_Privilege", &format!("Maximum_Privilege_Cipher_Suite_Id_{id}"))
    };
    assert_eq!(suite(3), Some("Administrator"), "{text}");
    // It finds the channel by trial; ipmitool knows of suite 17, FreeIPMI's checkout does not.
    let mut lan = String::new();
    let channel = (0..9).find(|channel| {
        let (text, code) = shell.run(&["ipmitool", "lan", "print", &channel.to_string()]);
        lan = text;
        code == 0 && lan.contains("RMCP+ Cipher Suites")
    });
    assert_eq!(channel, Some(1));
    // A privilege for each entry, as it takes the letters to be: the best suite is to be an
    // administrator's. It goes on when that fails.
    let privileges = field(&lan, "Cipher Suite Priv Max");
    let suites: Vec<&str> = field(&lan, "RMCP+ Cipher Suites").split(',').collect();
    let best = suites.iter().position(|suite| *suite == "17").unwrap();
    let privileges = format!("{}a{}", &privileges[..best], &privileges[best + 1..]);
    shell.run(&["ipmitool", "lan", "set", "1", "cipher_privs", &privileges]);

    for (section, key, value) in wanted() {
        // What is unknown to the BMC, and what is as it should be, is not written.
        if settings.get(section, &key).is_none_or(|now| now == value) {
            continue;
        }
        let pair = format!("--key-pair={section}:{key}={value}");
        let (text, code) = shell.run(&["bmc-config", "--commit", &pair]);
        assert_eq!((&text[..], code), ("", 0), "{pair}");
    }

    let user = settings.free_user();
    for (key, value) in [
        ("Username", USER),
        ("Password", PASSWORD),
        ("Enable_User", "Yes"),
        ("Lan_Privilege_Limit", "Administrator"),
        ("Lan_Enable_IPMI_Msgs", "Yes"),
        ("Lan_Enable_Link_Auth", "Yes"),
        ("SOL_Payload_Access", "Yes"),
    ] {
        if settings.get(user, key) == Some(value) {
            continue;
        }
        let pair = format!("--key-pair={user}:{key}={value}");
        let (text, code) = shell.run(&["bmc-config", "--commit", &pair]);
        assert_eq!((&text[..], code), ("", 0), "{pair}");
    }

    // Where is it? The checkout comes last once more, to show what has become of it.
    let (text, _) = shell.run(&["bmc-config", "--checkout", "-S", "Lan_Conf", "-S", user]);
    let after = Settings::read(&text);
    assert_eq!(after.get(user, "Username"), Some(USER), "{text}");
    assert_eq!(after.get(user, "Lan_Privilege_Limit"), Some("Administrator"), "{text}");
    let address = after.get("Lan_Conf", "IP_Address").unwrap().to_owned();
    assert_eq!(address, "198.51.100.7", "{text}");
    let mac = node.ip("-brief link show eth1").split_whitespace().nth(2).unwrap().to_uppercase();
    assert_eq!(after.get("Lan_Conf", "MAC_Address"), Some(&mac[..]), "{text}");

    // From here on MAAS is outside.
    let mut outside = |words: &[&str]| {
        let mut command = tool("ip");
        command.args(["netns", "exec", &region.0]).args(words);
        let output = run(&mut command);
        let line = shlex::try_join(words.iter().copied()).unwrap();
        shell.transcript += &format!("region# {line}\n{}", output.text());
        output.succeeds()
    };
    for suite in ["3", "17"] {
        let login = ["-h", &address, "-u", USER, "-p", PASSWORD, "-I", suite, "-l", "OPERATOR"];
        let words = ["ipmipower", "-W", "opensesspriv", "--driver-type", "LAN_2_0"];
        outside(&[&words[..], &login, &["--stat"]].concat()).says(&format!("{address}: on"));
    }
    let login = ["-I", "lanplus", "-H", &address, "-U", USER, "-P", PASSWORD];
    outside(&[&["ipmitool"], &login[..], &["power", "status"]].concat())
        .says("Chassis Power is on");
    outside(&[&["ipmitool"], &login[..], &["power", "off"]].concat());
    machine.wait_off();
    let wrong = [&login[..7], &["wrong", "-R", "1", "power", "status"]].concat();
    // What was opened is what the profile opens: the letters stood for other suites than it took them for.
    let other = [&["-C", "1", "-R", "1"], &login[..], &["power", "status"]].concat();
    for words in [wrong, other] {
        let mut command = tool("ip");
        run(command.args(["netns", "exec", &region.0, "ipmitool"]).args(words)).fails();
    }

    let folder = root().join("target/in-band");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("commissioning.txt"), &shell.transcript).unwrap();
}
