//! Completion scripts and manual pages, from the same definitions as the help.

use std::io::{self, Write};

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;

use super::arguments::Arguments;
use super::exit::UsageError;

pub(crate) fn completions(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "certs-gen", &mut script);
    write(&script)
}

pub(crate) fn man(command: Option<&str>) -> Result<()> {
    let mut program = Arguments::command();
    // Gives each command its full name, `certs-gen fleet`, and its --help and --version.
    program.build();
    let page = match command {
        None => program,
        Some(name) => {
            let found = program.find_subcommand(name).cloned().with_context(|| {
                let names: Vec<_> = program
                    .get_subcommands()
                    .map(clap::Command::get_name)
                    .collect();
                UsageError(format!(
                    "there is no command {name:?}; there are {}",
                    names.join(", ")
                ))
            })?;
            let title = format!("certs-gen-{name}");
            found.display_name(title)
        }
    };
    let mut roff = Vec::new();
    clap_mangen::Man::new(page)
        .render(&mut roff)
        .context("cannot make the manual page")?;
    write(&roff)
}

fn write(document: &[u8]) -> Result<()> {
    match io::stdout().lock().write_all(document) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.context("cannot write to standard output"),
    }
}
