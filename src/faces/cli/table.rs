//! Tables that fit the terminal: columns are shortened, wrapped or left out, lines never run over.

use anstyle::Style;

use super::failure::visible;
use super::paint::Paint;

/// Between two columns.
const GAP: usize = 2;

/// What a column does when there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Narrow {
    /// It keeps its width.
    Keep,
    /// Its cells are cut, down to this width.
    Cut(usize),
    /// Its cells go on in further lines, down to this width.
    Wrap(usize),
}

/// A column.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its heading.
    pub header: String,
    /// Numbers stand on the right.
    pub right: bool,
    /// What it does when there is no room.
    pub narrow: Narrow,
    /// Left out when there is no room, higher numbers first; 0: never.
    pub drop: u8,
}

impl Column {
    /// A column of text that keeps its width and its place.
    pub fn text(header: &str) -> Self {
        Self {
            header: header.to_owned(),
            right: false,
            narrow: Narrow::Keep,
            drop: 0,
        }
    }

    /// A column of numbers.
    pub fn number(header: &str) -> Self {
        Self {
            right: true,
            ..Self::text(header)
        }
    }

    /// With cells that may be cut.
    pub fn cut(self, least: usize) -> Self {
        Self {
            narrow: Narrow::Cut(least),
            ..self
        }
    }

    /// With cells that may wrap.
    pub fn wrap(self, least: usize) -> Self {
        Self {
            narrow: Narrow::Wrap(least),
            ..self
        }
    }
}

/// A cell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cell {
    /// What stands in it.
    pub text: String,
    /// What stands in it if that is too long; cut if `None`.
    pub short: Option<String>,
    /// Its colours.
    pub style: Style,
}

impl Cell {
    /// A plain cell; `-` for nothing.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let text = if text.is_empty() {
            "-".to_owned()
        } else {
            visible(&text)
        };
        Self {
            text,
            short: None,
            style: Style::new(),
        }
    }

    /// In a style.
    pub fn styled(self, style: Style) -> Self {
        Self { style, ..self }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}

/// Columns and rows of as many cells.
#[derive(Debug, Clone, Default)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    headless: bool,
}

impl Table {
    /// A table without rows.
    pub fn new(columns: Vec<Column>) -> Self {
        Self {
            columns,
            ..Self::default()
        }
    }

    /// Without the line of headings.
    pub fn headless(self, headless: bool) -> Self {
        Self { headless, ..self }
    }

    /// One row more; missing cells are empty.
    pub fn row(&mut self, mut cells: Vec<Cell>) {
        cells.resize_with(self.columns.len(), || Cell::new(""));
        self.rows.push(cells);
    }

    /// The text, in lines no longer than `width`.
    pub fn render(&self, width: Option<usize>, paint: Paint) -> String {
        let layout = self.layout(width);
        let mut out = String::new();
        if !self.headless {
            let bold = Style::new().bold();
            let heads: Vec<Cell> = self
                .columns
                .iter()
                .map(|c| Cell::new(&*c.header).styled(bold))
                .collect();
            self.line(&heads, &layout, paint, &mut out);
        }
        for row in &self.rows {
            self.line(row, &layout, paint, &mut out);
        }
        out
    }

    /// Which columns are shown, and how wide each is.
    fn layout(&self, width: Option<usize>) -> Vec<(usize, usize)> {
        let natural: Vec<usize> = (0..self.columns.len()).map(|c| self.natural(c)).collect();
        let Some(width) = width else {
            return natural.into_iter().enumerate().collect();
        };
        let mut shown: Vec<usize> = (0..self.columns.len()).collect();
        let least = |c: usize| match self.columns[c].narrow {
            Narrow::Keep => natural[c],
            Narrow::Cut(least) | Narrow::Wrap(least) => {
                natural[c].min(least.max(self.columns[c].header.chars().count()))
            }
        };
        let needed = |shown: &[usize], of: &dyn Fn(usize) -> usize| -> usize {
            shown.iter().map(|c| of(*c)).sum::<usize>() + GAP * shown.len().saturating_sub(1)
        };
        while needed(&shown, &least) > width {
            let victim = shown
                .iter()
                .copied()
                .filter(|c| self.columns[*c].drop > 0)
                .max_by_key(|c| self.columns[*c].drop);
            let Some(victim) = victim else { break };
            shown.retain(|c| *c != victim);
        }
        // What is left over goes to the shortened columns, the most important first.
        let mut spare = width.saturating_sub(needed(&shown, &least));
        let mut widths: Vec<(usize, usize)> = shown.iter().map(|c| (*c, least(*c))).collect();
        let mut order: Vec<usize> = (0..widths.len()).collect();
        order.sort_by_key(|n| self.columns[widths[*n].0].drop);
        for n in order {
            let (column, now) = widths[n];
            let more = (natural[column] - now).min(spare);
            widths[n].1 += more;
            spare -= more;
        }
        clip(&mut widths, width);
        widths
    }

    fn natural(&self, column: usize) -> usize {
        let head = if self.headless {
            0
        } else {
            self.columns[column].header.chars().count()
        };
        let cells = self.rows.iter().map(|r| r[column].text.chars().count());
        cells.max().unwrap_or(0).max(head)
    }

    fn line(&self, cells: &[Cell], layout: &[(usize, usize)], paint: Paint, out: &mut String) {
        let parts: Vec<Vec<String>> = layout
            .iter()
            .map(|(c, width)| fill(&cells[*c], *width, self.columns[*c].narrow))
            .collect();
        for n in 0..parts.iter().map(Vec::len).max().unwrap_or(0) {
            let mut line = String::new();
            for (part, (column, width)) in parts.iter().zip(layout) {
                let text = part.get(n).map_or("", String::as_str);
                let pad = " ".repeat(width.saturating_sub(text.chars().count()));
                let text = paint.with(cells[*column].style, text);
                line.push_str(&if self.columns[*column].right {
                    format!("{pad}{text}")
                } else {
                    format!("{text}{pad}")
                });
                line.push_str(&" ".repeat(GAP));
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }
}

/// The last resort: columns that nothing may shorten are cut at the terminal's edge.
fn clip(widths: &mut Vec<(usize, usize)>, width: usize) {
    let mut used = 0;
    for n in 0..widths.len() {
        let start = used + if n == 0 { 0 } else { GAP };
        if start >= width {
            widths.truncate(n);
            return;
        }
        widths[n].1 = widths[n].1.min(width - start);
        used = start + widths[n].1;
    }
}

/// The lines of a cell in a column of this width.
fn fill(cell: &Cell, width: usize, narrow: Narrow) -> Vec<String> {
    if cell.text.chars().count() <= width {
        return vec![cell.text.clone()];
    }
    if matches!(narrow, Narrow::Wrap(_)) {
        return wrap(&cell.text, width);
    }
    match &cell.short {
        Some(short) if short.chars().count() <= width => vec![short.clone()],
        _ => vec![cut(&cell.text, width)],
    }
}

/// The beginning of a text, with an ellipsis for the rest.
fn cut(text: &str, width: usize) -> String {
    text.chars()
        .take(width.saturating_sub(1))
        .chain(std::iter::once('…').take(width.min(1)))
        .collect()
}

/// A text in lines of at most `width`, broken between words where it can be.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        if used > 0 && used + 1 + word.len() > width {
            lines.push(String::new());
            used = 0;
        }
        while word.len() > width {
            let rest = word.split_off(width);
            lines.last_mut().into_iter().for_each(|l| l.extend(&word));
            lines.push(String::new());
            word = rest;
        }
        if let Some(line) = lines.last_mut() {
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            used += word.len();
            line.extend(&word);
        }
    }
    lines
}
