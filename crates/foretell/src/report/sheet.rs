//! A table of any columns, for people: lines of text in a terminal, a section of a page.

use std::fmt;

use super::html::{Section, text};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Sheet {
    /// Anchor on a page.
    pub id: String,
    /// Heading.
    pub title: String,
    /// How to read it, in a sentence or two: on a page alone.
    pub lead: String,
    /// The columns' names.
    pub head: Vec<String>,
    /// How many of them, from the left, are names and no figures.
    pub names: usize,
    /// In the order in which they are shown.
    pub lines: Vec<SheetLine>,
}

/// A line of a [`Sheet`].
#[derive(Clone, Debug)]
pub struct SheetLine {
    /// One for each column.
    pub cells: Vec<String>,
    /// Of something that has collapsed or failed.
    pub bad: bool,
}

impl Sheet {
    /// A section of a page; `None` without lines.
    pub(super) fn section(&self) -> Option<Section> {
        if self.lines.is_empty() {
            return None;
        }
        let head = |(i, name): (usize, &String)| {
            let class = if i < self.names { "" } else { " class=\"number\"" };
            format!("<th scope=\"col\"{class}>{}</th>", text(name))
        };
        let cell = |(i, cell): (usize, &String)| {
            if i < self.names {
                format!("<th scope=\"row\">{}</th>", text(cell))
            } else {
                format!("<td>{}</td>", text(cell))
            }
        };
        let line = |line: &SheetLine| {
            let class = if line.bad { " class=\"bad\"" } else { "" };
            format!("<tr{class}>{}</tr>\n", line.cells.iter().enumerate().map(cell).collect::<String>())
        };
        let body = format!(
            "<div class=\"card wide\"><table class=\"sheet\">\n<thead><tr>{}</tr></thead>\n<tbody>\n{}</tbody></table></div>\n",
            self.head.iter().enumerate().map(head).collect::<String>(),
            self.lines.iter().map(line).collect::<String>(),
        );
        Some(Section::new(&self.id, &self.title, &self.lead, body))
    }
}

impl fmt::Display for Sheet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        let all = || std::iter::once(&self.head).chain(self.lines.iter().map(|line| &line.cells));
        let width = |column: usize| all().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..self.head.len()).map(|column| width(column).unwrap_or(0)).collect();
        for line in all() {
            let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                if column < self.names { format!("{cell:width$}") } else { format!("{cell:>width$}") }
            });
            writeln!(f, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// A page of sheets and curves.
#[derive(Clone, Debug, Default)]
pub struct SheetsPage {
    /// "Foretell comparison".
    pub kind: String,
    /// "i-jepa and 21 others".
    pub title: String,
    /// Label → value.
    pub facts: Vec<(String, String)>,
    /// In their order; empty ones are left out.
    pub sheets: Vec<Sheet>,
    /// What was logged, by optimiser step.
    pub curves: Vec<super::Curve>,
}

/// Writes the page.
pub fn render_sheets(page: &SheetsPage) -> String {
    let sheets = page.sheets.iter().map(Sheet::section);
    let sections: Vec<Section> = sheets.chain([super::chart::section(&page.curves)]).flatten().collect();
    super::frame(&page.kind, &page.title, &super::run::facts(&page.facts), &sections)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet() -> Sheet {
        let line = |cells: [&str; 3], bad| SheetLine { cells: cells.map(str::to_owned).to_vec(), bad };
        Sheet {
            id: "probes".to_owned(),
            title: "What <they> know".to_owned(),
            lead: "Read it so.".to_owned(),
            head: ["run", "accuracy", "n"].map(str::to_owned).to_vec(),
            names: 1,
            lines: vec![line(["one & only", "55.9 ± 0.2", "3"], false), line(["two", "9", "1"], true)],
        }
    }

    #[test]
    fn names_stand_left_and_figures_right() {
        assert_eq!(
            sheet().to_string(),
            "What <they> know\n  run           accuracy  n\n  one & only  55.9 ± 0.2  3\n  two                  9  1\n"
        );
    }

    #[test]
    fn a_page_holds_what_it_shows_and_no_text_becomes_markup() {
        let curve = super::super::Curve {
            title: "loss".to_owned(),
            unit: String::new(),
            along: "step".to_owned(),
            series: vec![("two".to_owned(), vec![(1.0, 2.0), (2.0, 1.0)])],
            log_y: true,
        };
        let empty = Sheet { id: "none".to_owned(), lines: Vec::new(), ..sheet() };
        let page = render_sheets(&SheetsPage {
            kind: "Foretell comparison".to_owned(),
            title: "<u>one".to_owned(),
            facts: vec![("runs".to_owned(), "2".to_owned())],
            sheets: vec![sheet(), empty],
            curves: vec![curve],
        });
        for part in
            ["one &amp; only", "What &lt;they&gt; know", "<tr class=\"bad\">", "<path class=\"line\"", "&lt;u&gt;one"]
        {
            assert!(page.contains(part), "{part}");
        }
        assert!(!page.contains("<u>one") && !page.contains("id=\"none\"") && !page.contains("http"), "{page}");
    }
}
