//! A page that stands alone: one file, no script, no network, readable on a phone, in light and in dark.
//!
//! Frame and small pieces only; what a report says is the report's business.

pub(crate) mod bars;
pub(crate) mod curves;

use std::fmt::Write as _;

const STYLE: &str = include_str!("page/page.css");

/// `text` with the characters that mean something in HTML replaced.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A whole document around `body`, which is HTML.
pub(crate) fn document(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )
}

/// A section with a heading; `body` is HTML.
pub(crate) fn section(heading: &str, body: &str) -> String {
    format!(
        "<section>\n<h2>{}</h2>\n{body}</section>\n",
        escape(heading)
    )
}

/// A paragraph of plain text.
pub(crate) fn paragraph(text: &str) -> String {
    format!("<p>{}</p>\n", escape(text))
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

/// Terms and what they mean or are.
pub(crate) fn definitions(pairs: &[(&str, String)]) -> String {
    let mut html = String::from("<dl>\n");
    for (term, text) in pairs {
        let _ = writeln!(html, "<dt>{}</dt><dd>{}</dd>", escape(term), escape(text));
    }
    html.push_str("</dl>\n");
    html
}

/// A table whose first column is text and whose others are numbers; it scrolls sideways where it must.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let mut html = String::from("<div class=\"scroll\"><table>\n<thead><tr>");
    for heading in headings {
        let _ = write!(html, "<th scope=\"col\">{}</th>", escape(heading));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        html.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            let cell = escape(cell);
            let _ = match column {
                0 => write!(html, "<th scope=\"row\">{cell}</th>"),
                _ => write!(html, "<td>{cell}</td>"),
            };
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody>\n</table></div>\n");
    html
}

/// A plot drawn twice, for wide and for narrow screens: scaled down, its text could not be read on a phone.
pub(crate) fn figure(caption: &str, draw: impl Fn(f64) -> String) -> String {
    format!(
        "<figure>\n<div class=\"wide\">{}</div>\n<div class=\"narrow\">{}</div>\n<figcaption>{}</figcaption>\n</figure>\n",
        draw(WIDE),
        draw(NARROW),
        escape(caption)
    )
}

/// Width of a plot on a wide screen, in CSS pixels.
const WIDE: f64 = 860.0;
/// And on a narrow one.
const NARROW: f64 = 350.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_text() {
        assert_eq!(escape("a<b & \"c\">"), "a&lt;b &amp; &quot;c&quot;&gt;");
        assert!(paragraph("<script>").contains("&lt;script&gt;"));
        let rows = [vec!["<x>".to_owned(), "1".to_owned()]];
        let table = table(&["a", "b"], &rows);
        assert!(
            table.contains("<th scope=\"row\">&lt;x&gt;</th><td>1</td>"),
            "{table}"
        );
        assert_eq!(list("notes", &[]), "");
    }

    #[test]
    fn a_document_needs_nothing_else() {
        let document = document("t", "<p>x</p>");
        for forbidden in ["http://", "https://", "<script", "<link", "@import", "url("] {
            assert!(!document.contains(forbidden), "{forbidden}");
        }
    }
}
