//! OpenIPMI's `ipmi_sim`, of Debian's package `openipmi`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::machine::{PASSWORD, USER};

/// The least that a chassis script can do: it tells that the power is off.
pub(crate) const OFF: &str = "#!/bin/sh\necho power:0\n";

/// Writes its configuration, with these lines beside, and answers its command line.
pub(crate) fn configure(dir: &Path, port: u16, lines: &str) -> Vec<String> {
    let path = |name: &str| dir.join(name);
    let words = |path: &Path| path.display().to_string();
    fs::create_dir_all(path("state")).unwrap();
    let emulation = "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x0 0x0\n\
                     sel_enable 0x20 1000 0x0a\nmc_enable 0x20\n";
    fs::write(path("sim.emu"), emulation).unwrap();
    // As many sessions as it can have.
    let lan = format!(
        "name \"bench\"\nset_working_mc 0x20\nstartlan 1\naddr 127.0.0.1 {port}\npriv_limit admin\n\
         allowed_auths_admin md5\nguid a123456789abcdefa123456789abcdef\nendlan\n\
         {lines}\nuser 2 true \"{USER}\" \"{PASSWORD}\" admin 63 md5\n"
    );
    fs::write(path("lan.conf"), lan).unwrap();
    let config = words(&path("lan.conf"));
    let (emulation, state) = (words(&path("sim.emu")), words(&path("state")));
    ["ipmi_sim", "-n", "-c", &config, "-f", &emulation, "-s", &state].map(str::to_owned).into()
}

/// Writes a chassis script, and answers the line that names it.
pub(crate) fn chassis(dir: &Path, script: &str) -> String {
    let path = dir.join("chassis");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    format!("chassis_control \"{}\"", path.display())
}

/// Writes the configuration of a supervisord that has a machine, and answers its command line and a
/// chassis script that asks it whether that runs.
pub(crate) fn supervisor(dir: &Path) -> ([String; 3], String) {
    let bin = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python-clients/bin");
    let (config, socket) = (dir.join("supervisord.conf"), dir.join("supervisor.sock"));
    let (place, socket) = (dir.display(), socket.display());
    let text = format!(
        "[supervisord]\nnodaemon=true\nlogfile={place}/supervisord.log\npidfile={place}/supervisord.pid\n\
         [unix_http_server]\nfile={socket}\n[supervisorctl]\nserverurl=unix://{socket}\n\
         [rpcinterface:supervisor]\n\
         supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n\
         [program:machine]\ncommand=sleep infinity\n"
    );
    fs::write(&config, text).unwrap();
    let words = |name: &str| bin.join(name).display().to_string();
    let config = config.display().to_string();
    let script = format!(
        "#!/bin/sh\nif {} -c {config} status machine | grep -q RUNNING; then\n\
         \techo power:1\nelse\n\techo power:0\nfi\n",
        words("supervisorctl")
    );
    ([words("supervisord"), "-c".to_owned(), config], script)
}
