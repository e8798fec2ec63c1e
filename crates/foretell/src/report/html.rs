//! The little HTML that every section needs: escaped text and the frame of a section.

use std::fmt::{self, Write as _};

/// `content` with the five characters that mean something to HTML replaced; safe as text and in quoted attributes.
pub(super) fn text(content: &str) -> Text<'_> {
    Text(content)
}

/// See [`text`].
pub(super) struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// [`text`] in which what stands between two backticks is shown as code.
pub(super) fn prose(content: &str) -> String {
    if content.matches('`').count() % 2 == 1 {
        return text(content).to_string();
    }
    let piece = |(i, piece): (usize, &str)| match i % 2 {
        0 => text(piece).to_string(),
        _ => format!("<code>{}</code>", text(piece)),
    };
    content.split('`').enumerate().map(piece).collect()
}

/// One part of the page, reachable from the line of links at its top.
pub(super) struct Section {
    /// Anchor, and the word that links to it.
    id: String,
    /// Heading.
    title: String,
    /// How to read what follows, in a sentence or two.
    lead: String,
    /// The content; HTML.
    body: String,
}

impl Section {
    /// A part of the page. `body` is HTML.
    pub(super) fn new(id: &str, title: &str, lead: &str, body: String) -> Self {
        Self { id: id.to_owned(), title: title.to_owned(), lead: lead.to_owned(), body }
    }

    pub(super) fn link(&self) -> String {
        format!("<a href=\"#{0}\">{0}</a>\n", text(&self.id))
    }

    pub(super) fn html(&self) -> String {
        let Self { id, title, lead, body } = self;
        let (id, title, lead) = (text(id), text(title), prose(lead));
        format!("<section id=\"{id}\">\n<h2>{title}</h2>\n<p class=\"lead\">{lead}</p>\n{body}</section>\n")
    }
}
