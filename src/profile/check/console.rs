//! `[console]` and `[[serials]]`.

use std::path::Path;

use super::Check;
use crate::profile::document::{Console, Document, Serial};
use crate::profile::sources::Key;

/// Serial ports of a PC beside the console; Linux looks for no more than these without being told.
const MOST_SERIALS: usize = 2;

impl Check<'_> {
    /// `directories`: those of the program's own files, with their keys.
    pub(super) fn consoles(
        &mut self,
        document: &Document,
        directories: [(&str, Option<&Path>); 2],
    ) {
        let Console { history_kib, file, file_mib, file_count, .. } = &document.console;
        self.range("console.history_kib", *history_kib, 0, 65536);
        self.log_file("console", file.as_deref(), *file_mib, *file_count);
        self.console_on_tcp(document);
        if document.serials.len() > MOST_SERIALS {
            let count = document.serials.len();
            self.error(
                "serials",
                format!("{count} serial ports beside the console"),
                format!("at most {MOST_SERIALS}"),
            );
        }
        for (index, serial) in document.serials.iter().enumerate() {
            let section = format!("serials.{index}");
            let Serial { file, file_mib, file_count, socket } = serial;
            self.log_file(&section, file.as_deref(), *file_mib, *file_count);
            if file.is_none() && !socket {
                self.error(
                    &section,
                    format!("nobody would see what `{}` says", Key::from(section.as_str())),
                    "write `socket = true`, or `file = \"…\"`, or both",
                );
            }
        }
        self.log_files_are_distinct(document, directories);
    }

    fn console_on_tcp(&mut self, document: &Document) {
        let Console { tcp_port: port, tcp_address: address, .. } = document.console;
        if port == 0 {
            if !self.sources.is_default(&Key::from("console.tcp_address")) {
                let message = "`console.tcp_address` is set, and `console.tcp_port` is 0: the \
                               console is not served on TCP";
                self.error("console.tcp_address", message, "leave it out, or set the port");
            }
            return;
        }
        if port == document.vnc.port {
            let message = format!("TCP port {port} is that of `vnc.port` as well");
            self.error("console.tcp_port", message, "give each a port of its own");
        }
        if !address.is_loopback() {
            let message = format!(
                "whoever reaches TCP port {port} on {address} sees the console and types at it"
            );
            let help = "leave `console.tcp_address` out for 127.0.0.1, or keep the network to those \
                        who may";
            self.warn("console.tcp_address", message, help);
        }
    }

    fn log_file(&mut self, section: &str, file: Option<&Path>, mib: u32, count: u32) {
        let key = |name: &str| format!("{section}.{name}");
        self.range(&key("file_mib"), mib, 1, 65536);
        self.range(&key("file_count"), count, 0, 99);
        if let Some(path) = file {
            self.path(&key("file"), path);
            return;
        }
        for name in ["file_mib", "file_count"] {
            let named = Key::from(key(name).as_str());
            if !self.sources.is_default(&named) {
                let message = format!("`{named}` is set, and there is no `file`");
                self.error(&key(name), message, "write `file = \"…\"`, or leave it out");
            }
        }
    }

    /// Two that write to one file would destroy what is in it.
    fn log_files_are_distinct(
        &mut self,
        document: &Document,
        directories: [(&str, Option<&Path>); 2],
    ) {
        let disks = document.disks.iter().enumerate();
        let disks = disks
            .filter_map(|(index, disk)| Some((format!("disks[{index}]"), disk.path.as_deref()?)));
        let cdroms = document.cdroms.iter().enumerate();
        let cdroms = cdroms.filter_map(|(index, cdrom)| {
            Some((format!("cdroms[{index}]"), cdrom.path.as_deref()?))
        });
        let kernel = document.kernel.iter().flat_map(|kernel| [&kernel.path, &kernel.initrd]);
        let kernel = kernel.zip(["kernel.path", "kernel.initrd"]);
        let kernel = kernel.filter_map(|(path, key)| Some((key.to_owned(), path.as_deref()?)));
        let mut taken: Vec<(String, &Path)> = disks.chain(cdroms).chain(kernel).collect();
        let consoles = [("console".to_owned(), document.console.file.as_deref())];
        let serials = document.serials.iter().enumerate();
        let serials =
            serials.map(|(index, serial)| (format!("serials.{index}"), serial.file.as_deref()));
        for (section, path) in consoles.into_iter().chain(serials) {
            let Some(path) = path else { continue };
            for (key, directory) in directories {
                if directory.is_some_and(|directory| path.parent() == Some(directory)) {
                    let message = format!(
                        "{} is in `{key}`, where the program's own files are",
                        path.display()
                    );
                    self.error(
                        &format!("{section}.file"),
                        message,
                        "write it to another directory",
                    );
                }
            }
            if let Some((other, _)) = taken.iter().find(|(_, other)| *other == path) {
                let message = format!("{} is that of `{other}` as well", path.display());
                self.error(&format!("{section}.file"), message, "give each a file of its own");
            }
            taken.push((Key::from(section.as_str()).to_string(), path));
        }
    }
}
