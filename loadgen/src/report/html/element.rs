//! Pieces of a page: text that stays text, sections, tables, and the document around them.
//!
//! Whatever comes from a result is escaped here and nowhere else: functions take plain text, except where a parameter is
//! called `html`.

use std::fmt::Write as _;

use crate::report::number::plain;

const STYLE: &str = include_str!("style.css");

/// `text` for use between tags and inside quoted attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in plain(text).chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A whole document around `html`. Its policy forbids all but its own style sheet, so that nothing that slipped in could run or load.
pub(crate) fn document(title: &str, html: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{html}</main>\n</body>\n</html>\n",
        escape(title)
    )
}

/// A section with a heading, a sentence on how to read it, and `html`.
pub(crate) fn section(heading: &str, explanation: &str, html: &str) -> String {
    let explanation = match explanation {
        "" => String::new(),
        text => format!("<p class=\"how\">{}</p>\n", escape(text)),
    };
    format!(
        "<section>\n<h2>{}</h2>\n{explanation}{html}</section>\n",
        escape(heading)
    )
}

/// A list of plain texts; nothing if there are none.
pub(crate) fn list(class: &str, items: &[String]) -> String {
    if items.is_empty() {
        return String::new();
    }
    let items = items.iter().fold(String::new(), |mut html, item| {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(html, "<li>{}</li>", escape(item));
        html
    });
    format!("<ul class=\"{class}\">\n{items}</ul>\n")
}

/// Terms and what they are.
pub(crate) fn definitions(pairs: &[(String, String)]) -> String {
    let mut html = String::from("<dl>\n");
    for (term, text) in pairs {
        let _ = writeln!(
            html,
            "<div><dt>{}</dt><dd>{}</dd></div>",
            escape(term),
            escape(text)
        );
    }
    html.push_str("</dl>\n");
    html
}

/// One of the figures at the top: what it is, how much, and a word about it.
pub(crate) struct Figure {
    /// What it is.
    pub(crate) name: String,
    /// The value with its unit.
    pub(crate) value: String,
    /// A word about it; may be empty.
    pub(crate) note: String,
}

impl Figure {
    /// The figure `name`.
    pub(crate) fn new(name: &str, value: String, note: impl Into<String>) -> Figure {
        Figure {
            name: name.to_owned(),
            value,
            note: note.into(),
        }
    }
}

/// The row of figures at the top.
pub(crate) fn figures(figures: &[Figure]) -> String {
    if figures.is_empty() {
        return String::new();
    }
    let mut html = String::from("<div class=\"figures\">\n");
    for figure in figures {
        // The number is large, its unit is not.
        let (number, unit) = figure.value.split_once(' ').unwrap_or((&figure.value, ""));
        let _ = writeln!(
            html,
            "<div><p class=\"name\">{}</p><p class=\"value\">{} <small>{}</small></p><p class=\"note\">{}</p></div>",
            escape(&figure.name),
            escape(number),
            escape(unit),
            escape(&figure.note)
        );
    }
    html.push_str("</div>\n");
    html
}

/// A table: the first `words` columns are text, the others numbers. It scrolls sideways where it must.
pub(crate) fn table(words: usize, headings: &[&str], rows: &[Vec<String>]) -> String {
    let mut html = String::from("<div class=\"scroll\"><table>\n<thead><tr>");
    let class = |column: usize| {
        if column < words {
            ""
        } else {
            " class=\"number\""
        }
    };
    for (column, heading) in headings.iter().enumerate() {
        let _ = write!(
            html,
            "<th scope=\"col\"{}>{}</th>",
            class(column),
            escape(heading)
        );
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        html.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            let cell = escape(cell);
            let _ = match column {
                0 => write!(html, "<th scope=\"row\">{cell}</th>"),
                _ => write!(html, "<td{}>{cell}</td>", class(column)),
            };
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody>\n</table></div>\n");
    html
}

/// What the colours of a plot mean.
pub(crate) fn legend(entries: &[(&str, &str)]) -> String {
    let mut html = String::from("<ul class=\"legend\">");
    for (class, text) in entries {
        let _ = write!(html, "<li><i class=\"{class}\"></i>{}</li>", escape(text));
    }
    html.push_str("</ul>\n");
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(
            escape("<a href='x'>&\"\x1b"),
            "&lt;a href=&#39;x&#39;&gt;&amp;&quot;\u{fffd}"
        );
        let hostile = "</title><script>alert(1)</script>";
        let rows = [vec![hostile.to_owned(), hostile.to_owned()]];
        let pieces = [
            document(hostile, ""),
            section(hostile, hostile, ""),
            list("x", &[hostile.to_owned()]),
            definitions(&[(hostile.to_owned(), hostile.to_owned())]),
            figures(&[Figure::new(hostile, hostile.to_owned(), hostile)]),
            table(1, &[hostile], &rows),
            legend(&[("a", hostile)]),
        ];
        for piece in pieces {
            assert!(!piece.contains("<script"), "{piece}");
        }
    }

    #[test]
    fn a_document_needs_nothing_else() {
        let document = document("t", "");
        for forbidden in ["http://", "https://", "<script", "@import", "url("] {
            assert!(!document.contains(forbidden), "{forbidden}");
        }
    }
}
