//! Columns of text.

use super::Style;

/// How a cell is shown.
type Paint = fn(Style, &str) -> String;

/// A table whose columns are as wide as they need to be.
#[derive(Debug, Default)]
pub(crate) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<(String, Option<Paint>)>>,
}

impl Table {
    /// Starts a table with its heads.
    pub(crate) fn new(head: &[&'static str]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new() }
    }

    /// Starts a row.
    pub(crate) fn row(&mut self) -> &mut Self {
        self.rows.push(Vec::new());
        self
    }

    /// Adds a cell to the last row.
    pub(crate) fn cell(&mut self, text: impl Into<String>) -> &mut Self {
        self.push(text.into(), None)
    }

    /// Adds a painted cell to the last row.
    pub(crate) fn painted(&mut self, text: impl Into<String>, paint: Paint) -> &mut Self {
        self.push(text.into(), Some(paint))
    }

    fn push(&mut self, text: String, paint: Option<Paint>) -> &mut Self {
        if let Some(row) = self.rows.last_mut() {
            row.push((text, paint));
        }
        self
    }

    /// Draws the table without a trailing line feed.
    pub(crate) fn draw(&self, style: Style) -> String {
        let mut widths: Vec<usize> = self.head.iter().map(|text| text.len()).collect();
        for row in &self.rows {
            for (width, (text, _)) in widths.iter_mut().zip(row) {
                *width = (*width).max(text.chars().count());
            }
        }
        let head = self.head.iter().map(|text| ((*text).to_owned(), Some(Style::dim as Paint))).collect();
        let mut lines = Vec::with_capacity(self.rows.len() + 1);
        for row in std::iter::once(&head).chain(&self.rows) {
            let mut line = String::new();
            let mut gap = 0;
            for ((text, paint), width) in row.iter().zip(&widths) {
                line.push_str(&" ".repeat(gap));
                line.push_str(&paint.map_or_else(|| text.clone(), |paint| paint(style, text)));
                gap = width.saturating_sub(text.chars().count()) + 2;
            }
            lines.push(line);
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_no_line_ends_in_blanks() {
        let mut table = Table::new(&["NAME", "KIND"]);
        table.row().cell("db-prod").cell("postgresql");
        table.row().cell("é").painted("ssh", Style::good);
        let drawn = table.draw(Style { color: false });
        assert_eq!(drawn, "NAME     KIND\ndb-prod  postgresql\né        ssh");
    }
}
