//! The run while it goes on: a few lines drawn over each other on a terminal, a plain line now and then elsewhere.

use std::io::{self, Write};
use std::time::Duration;

use loadgen::export::Live;
use loadgen::fleet::Opened;
use loadgen::report::number::{count, percent, quantity, time};

use super::terminal::Terminal;

/// Seconds between two plain lines.
const PLAIN_INTERVAL: u64 = 10;
/// Schedule lag beyond which it is marked.
const LATE: Duration = Duration::from_millis(5);
/// Share of a core beyond which the generator is marked.
const BUSY: f64 = 0.95;
/// Kinds of failure that are shown.
const FAILURES: usize = 4;

const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const PLAIN: &str = "\x1b[0m";

/// The view.
#[derive(Debug)]
pub(crate) struct Progress {
    terminal: Terminal,
    warmup: Duration,
    /// Lengths of the lines that stand on the terminal.
    drawn: Vec<usize>,
}

/// One line: what it is about, and pieces of which some are marked.
#[derive(Debug, PartialEq)]
struct Line {
    about: &'static str,
    pieces: Vec<(Mark, String)>,
}

/// How a piece is shown where there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    None,
    Doubt,
    Bad,
}

impl Progress {
    pub(crate) fn new(terminal: Terminal, warmup: Duration) -> Progress {
        Progress {
            terminal,
            warmup,
            drawn: Vec::new(),
        }
    }

    /// The fleet is being opened.
    pub(crate) fn opening(&mut self, opened: Opened) {
        if self.terminal.redraws {
            let text = format!(
                "{} of {} devices",
                count(opened.done as u64),
                count(opened.of as u64)
            );
            self.draw(&[line("opening", vec![(Mark::None, text)])]);
        }
    }

    /// Another second has passed.
    pub(crate) fn show(&mut self, live: &Live) {
        if self.terminal.redraws {
            self.draw(&self.lines(live));
        } else if live.seconds.is_multiple_of(PLAIN_INTERVAL) {
            // Progress that cannot be shown is no reason to end a run, here and below.
            let _ = writeln!(io::stderr(), "{}", self.plain(live));
        }
    }

    /// Takes the lines away.
    pub(crate) fn clear(&mut self) {
        let (columns, _) = Terminal::size();
        let _ = io::stderr().write_all(self.erasure(columns).as_bytes());
        self.drawn.clear();
    }

    fn lines(&self, live: &Live) -> Vec<Line> {
        let Some(recent) = live.recent() else {
            return Vec::new();
        };
        let per_second = |rate: f64| format!("{} /s", quantity(rate));
        let quantile = |value: Option<f64>| value.map_or("-".to_owned(), time);
        let warming = Duration::from_secs(live.seconds) <= self.warmup;
        let phase = if warming { "warm-up" } else { "load" };
        let failed = live.failed + live.overflow;
        let failures = if failed == 0 {
            vec![(Mark::None, "none".to_owned())]
        } else {
            vec![(Mark::Bad, self.failures(live))]
        };
        let lag = if live.lag > LATE {
            Mark::Doubt
        } else {
            Mark::None
        };
        let busy = if live.busiest_shard > BUSY {
            Mark::Doubt
        } else {
            Mark::None
        };
        vec![
            line(
                phase,
                vec![(
                    Mark::None,
                    format!("{} s, {} completed", live.seconds, count(live.ok)),
                )],
            ),
            line(
                "rate",
                vec![(
                    Mark::None,
                    format!(
                        "{} of {} intended   {}",
                        per_second(recent.ok_per_second),
                        per_second(recent.intended_per_second),
                        self.curve(live)
                    ),
                )],
            ),
            line(
                "response",
                vec![(
                    Mark::None,
                    format!(
                        "p50 {}   p99 {}   (last {} s)",
                        quantile(recent.p50),
                        quantile(recent.p99),
                        recent.seconds
                    ),
                )],
            ),
            line(
                "open",
                vec![(Mark::None, format!("{} connections", count(live.open)))],
            ),
            line("failed", failures),
            line(
                "generator",
                vec![
                    (
                        lag,
                        format!("late by {}", time(live.lag.as_secs_f64() * 1e6)),
                    ),
                    (Mark::None, "   ".to_owned()),
                    (
                        busy,
                        format!("busiest thread {} of a core", percent(live.busiest_shard)),
                    ),
                ],
            ),
        ]
    }

    /// The most frequent kinds of failure.
    fn failures(&self, live: &Live) -> String {
        let mut kinds: Vec<_> = live.failures.iter().collect();
        kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let mut words: Vec<_> = kinds
            .iter()
            .take(FAILURES)
            .map(|((class, moment), failed)| format!("{} {class} at {moment}", count(**failed)))
            .collect();
        if kinds.len() > FAILURES {
            words.push("others".to_owned());
        }
        if live.overflow > 0 {
            words.push(format!("{} not sent", count(live.overflow)));
        }
        words.join(", ")
    }

    /// The rate of the last seconds as a row of bars.
    fn curve(&self, live: &Live) -> String {
        let steps: &[char] = if self.terminal.unicode {
            &['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']
        } else {
            &['_', '.', '-', '=', '#']
        };
        let most = live.curve.iter().copied().max().unwrap_or(0).max(1);
        let step = |ok: &u64| {
            let index = *ok as usize * (steps.len() - 1) / most as usize;
            steps.get(index).copied().unwrap_or(' ')
        };
        live.curve.iter().map(step).collect()
    }

    fn plain(&self, live: &Live) -> String {
        let words: Vec<_> = self
            .lines(live)
            .into_iter()
            .map(|line| {
                let pieces: String = line.pieces.into_iter().map(|(_, text)| text).collect();
                format!("{} {}", line.about, pieces)
            })
            .filter(|words| !words.starts_with("rate"))
            .collect();
        let recent = live.recent();
        let rate = recent.map_or(String::new(), |recent| {
            format!(
                "rate {} /s of {} /s intended",
                quantity(recent.ok_per_second),
                quantity(recent.intended_per_second)
            )
        });
        self.printable(&format!("{}; {rate}", words.join("; ")))
    }

    /// Text that the terminal can show.
    fn printable(&self, text: &str) -> String {
        if self.terminal.unicode {
            text.to_owned()
        } else {
            text.replace('µ', "u")
        }
    }

    fn draw(&mut self, lines: &[Line]) {
        let (columns, rows) = Terminal::size();
        let mut out = self.erasure(columns);
        // The last column stays free, so that no line wraps by itself; the last row is the cursor's.
        let width = columns.saturating_sub(1);
        let shown = lines.len().min(rows.saturating_sub(1));
        self.drawn.clear();
        for line in lines.iter().take(shown) {
            let mut room = width;
            let about = self.cut(&format!("{:<10} ", line.about), &mut room);
            out.push_str(&about);
            for (mark, text) in &line.pieces {
                let text = self.cut(text, &mut room);
                match mark {
                    Mark::Bad if self.terminal.colours => out += &format!("{RED}{text}{PLAIN}"),
                    Mark::Doubt if self.terminal.colours => {
                        out += &format!("{YELLOW}{text}{PLAIN}");
                    }
                    _ => out.push_str(&text),
                }
            }
            out.push('\n');
            self.drawn.push(width - room);
        }
        let _ = io::stderr().write_all(out.as_bytes());
        let _ = io::stderr().flush();
    }

    /// As much of a text as there is room for.
    fn cut(&self, text: &str, room: &mut usize) -> String {
        let cut: String = self.printable(text).chars().take(*room).collect();
        *room -= cut.chars().count();
        cut
    }

    /// What takes the drawn lines away. A terminal that has become narrower has wrapped them into more rows.
    fn erasure(&self, columns: usize) -> String {
        let rows: usize = self
            .drawn
            .iter()
            .map(|length| length.div_ceil(columns.max(1)).max(1))
            .sum();
        match rows {
            0 => String::new(),
            rows => format!("\x1b[{rows}A\r\x1b[J"),
        }
    }
}

fn line(about: &'static str, pieces: Vec<(Mark, String)>) -> Line {
    Line { about, pieces }
}

#[cfg(test)]
mod tests {
    use loadgen::measure::{Attempt, Cause, Failure, Moment, Second};

    use super::*;

    fn live() -> Live {
        let mut live = Live::default();
        for index in 0..10 {
            let mut second = Second::new(index);
            let mut attempt = Attempt::start(std::time::Instant::now(), true);
            attempt.done = Some(attempt.intended + Duration::from_micros(300));
            second.start(Duration::from_millis(20));
            second.finish(&attempt, Ok(()));
            second.start(Duration::ZERO);
            let failure = Failure {
                cause: Cause::Timeout,
                moment: Moment::Tcp,
            };
            second.finish(&attempt, Err(failure));
            second.overflow();
            live.add(&second);
        }
        live
    }

    fn progress(redraws: bool, unicode: bool) -> Progress {
        let terminal = Terminal {
            redraws,
            colours: false,
            unicode,
        };
        Progress::new(terminal, Duration::from_secs(2))
    }

    fn text(lines: &[Line]) -> String {
        lines
            .iter()
            .flat_map(|line| &line.pieces)
            .map(|(_, text)| text.as_str())
            .collect()
    }

    #[test]
    fn the_lines_say_what_goes_on() {
        let lines = progress(true, true).lines(&live());
        let text = text(&lines);
        for word in [
            "10 s, 10 completed",
            "1.00 /s of 3.00 /s intended",
            "(last 5 s)",
            "10 timeout at tcp, 10 not sent",
            "late by 20.0 ms",
            "█",
        ] {
            assert!(text.contains(word), "{word} is not in {text}");
        }
        let generator = lines.last().unwrap();
        assert_eq!(generator.pieces[0].0, Mark::Doubt);
    }

    #[test]
    fn without_unicode_everything_is_ascii() {
        let progress = progress(false, false);
        let text = progress.plain(&live());
        assert!(text.is_ascii(), "{text}");
        assert!(text.contains("p50 3") && text.contains(" us"), "{text}");
        assert!(!text.contains('\x1b') && !text.contains('\n'));
        assert!(progress.curve(&live()).is_ascii());
    }

    #[test]
    fn a_narrower_terminal_is_cleared_of_what_it_wrapped() {
        let mut progress = progress(true, true);
        assert_eq!(progress.erasure(80), "");
        progress.drawn = vec![60, 10, 0];
        assert_eq!(progress.erasure(80), "\x1b[3A\r\x1b[J");
        assert_eq!(progress.erasure(20), "\x1b[5A\r\x1b[J");
    }

    #[test]
    fn lines_are_cut_to_the_room_there_is() {
        let progress = progress(true, false);
        let mut room = 4;
        assert_eq!(progress.cut("12µ456", &mut room), "12u4");
        assert_eq!((room, progress.cut("x", &mut room).as_str()), (0, ""));
    }
}
