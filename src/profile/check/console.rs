//! `[console]` and `[[serials]]`.

use std::path::Path;

use super::Check;
use crate::profile::document::{Console, Document, Serial};
use crate::profile::sources::Key;

/// Serial ports of a PC beside the console; Linux looks for no more than these without being told.
const MOST_SERIALS: usize = 2;

impl Check<'_> {
    pub(super) fn consoles(&mut self, document: &Document) {
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
}
