//! The thread that writes the log. It takes what waits, writes it in one go, and opens its file again when told.
//!
//! What cannot be written is lost and counted; the gateway goes on.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};

use metrics::Counter;

use super::{Destination, Record, Settings};

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Message {
    Record(Box<Record>),
    Reopen,
    Flush(SyncSender<()>),
}

/// How many bytes are written in one go, unless a single record is longer.
const CHUNK: usize = 64 * 1024;

/// Starts the thread. It ends, with everything written, when nobody can hand over records any more.
pub(super) fn start(
    settings: &Settings,
    messages: Receiver<Message>,
    lost: Counter,
) -> io::Result<()> {
    let mut writer = Writer {
        output: open(&settings.destination)?,
        settings: settings.clone(),
        lost,
        failing: false,
    };
    std::thread::Builder::new()
        .name("access-log".into())
        .spawn(move || writer.run(&messages))?;
    Ok(())
}

struct Writer {
    output: Box<dyn Write + Send>,
    settings: Settings,
    lost: Counter,
    /// Whether the last write failed, so that only the first of many failures is said.
    failing: bool,
}

impl Writer {
    fn run(&mut self, messages: &Receiver<Message>) {
        let (mut lines, mut count) = (String::new(), 0);
        // Sleeps only with everything written.
        while let Ok(first) = messages.recv() {
            let mut message = Ok(first);
            loop {
                match message {
                    Ok(Message::Record(record)) => {
                        let format = self.settings.format;
                        format.write(&record, self.settings.query, &mut lines);
                        count += 1;
                    }
                    Ok(Message::Reopen) => {
                        self.write(&mut lines, &mut count);
                        self.reopen();
                    }
                    Ok(Message::Flush(done)) => {
                        self.write(&mut lines, &mut count);
                        let _ = done.send(());
                    }
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
                if lines.len() >= CHUNK {
                    self.write(&mut lines, &mut count);
                }
                message = messages.try_recv();
            }
            self.write(&mut lines, &mut count);
        }
    }

    fn write(&mut self, lines: &mut String, count: &mut u64) {
        if lines.is_empty() {
            return;
        }
        let written = self.output.write_all(lines.as_bytes());
        match written.and_then(|()| self.output.flush()) {
            Ok(()) => self.failing = false,
            Err(error) => {
                self.lost.increment(*count);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(%error, "the access log cannot be written; its records are lost");
                }
            }
        }
        lines.clear();
        *count = 0;
    }

    fn reopen(&mut self) {
        match open(&self.settings.destination) {
            Ok(output) => self.output = output,
            Err(error) => {
                tracing::error!(%error, "the access log cannot be opened again; it goes on where it was");
            }
        }
    }
}

fn open(destination: &Destination) -> io::Result<Box<dyn Write + Send>> {
    Ok(match destination {
        Destination::Stdout => Box::new(io::stdout()),
        Destination::Stderr => Box::new(io::stderr()),
        Destination::File(path) => Box::new(append(path)?),
    })
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}
