//! What the terminal at standard error can show: whether it is one, its size, colours, and characters beyond ASCII.

use std::env;
use std::io::{self, IsTerminal};

/// A terminal's abilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terminal {
    /// Whether lines can be drawn over: a terminal, and not a dumb one.
    pub(crate) redraws: bool,
    /// Whether colours are wanted (<https://no-color.org>).
    pub(crate) colours: bool,
    /// Whether characters beyond ASCII can be shown.
    pub(crate) unicode: bool,
}

impl Terminal {
    /// The terminal at standard error.
    pub(crate) fn of_standard_error() -> Terminal {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        Terminal::from(io::stderr().is_terminal(), variable)
    }

    fn from(is_terminal: bool, variable: impl Fn(&str) -> Option<String>) -> Terminal {
        let redraws = is_terminal && variable("TERM").is_some_and(|term| term != "dumb");
        // The first of these that is set decides, as POSIX has it.
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .find_map(variable_of(&variable))
            .unwrap_or_default()
            .to_lowercase();
        Terminal {
            redraws,
            colours: redraws && variable("NO_COLOR").is_none(),
            unicode: locale.ends_with("utf-8") || locale.ends_with("utf8"),
        }
    }

    /// Columns and lines now; a terminal that does not know has 80 and 24.
    pub(crate) fn size() -> (usize, usize) {
        let size = rustix::termios::tcgetwinsize(io::stderr()).ok();
        let or = |number: Option<u16>, default| match number {
            None | Some(0) => default,
            Some(number) => usize::from(number),
        };
        (
            or(size.map(|size| size.ws_col), 80),
            or(size.map(|size| size.ws_row), 24),
        )
    }
}

/// As a function that `find_map` takes.
fn variable_of<'a>(
    variable: &'a impl Fn(&str) -> Option<String>,
) -> impl Fn(&str) -> Option<String> + 'a {
    move |name| variable(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terminal(is_terminal: bool, set: &[(&str, &str)]) -> Terminal {
        Terminal::from(is_terminal, |name| {
            let found = set.iter().find(|(set, _)| *set == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_environment_is_believed() {
        let all = [("TERM", "xterm"), ("LANG", "de_DE.UTF-8")];
        let able = Terminal {
            redraws: true,
            colours: true,
            unicode: true,
        };
        assert_eq!(terminal(true, &all), able);
        assert!(!terminal(false, &all).redraws && !terminal(false, &all).colours);
        assert!(!terminal(true, &[("TERM", "dumb")]).redraws);
        let grey = terminal(true, &[("TERM", "xterm"), ("NO_COLOR", "1")]);
        assert!(grey.redraws && !grey.colours && !grey.unicode);
        // The stronger variable says no.
        assert!(!terminal(true, &[("LC_ALL", "C"), ("LANG", "C.UTF-8")]).unicode);
    }
}
