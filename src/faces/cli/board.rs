//! Progress on standard error: on a terminal a block of live lines, one for each VE at work, below the lines of
//! those that are done; elsewhere plain lines.

use std::io::Write;
use std::time::Instant;

use anstyle::{AnsiColor, Style};

use super::failure::visible;
use super::parallel::Show;

/// Where progress is drawn.
#[derive(Debug)]
pub struct Board<W: Write> {
    out: W,
    show: Show,
    labels: Vec<String>,
    active: Vec<Active>,
    begun: usize,
    /// Live lines on the screen now.
    drawn: usize,
}

/// The room that a terminal has.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Columns.
    pub width: usize,
    /// Lines.
    pub height: usize,
}

/// A VE at work.
#[derive(Debug)]
struct Active {
    index: usize,
    step: String,
    since: Instant,
}

impl<W: Write> Board<W> {
    /// A board for things of these names.
    pub fn new(out: W, show: Show, labels: Vec<String>) -> Self {
        Self {
            out,
            show,
            labels,
            active: Vec::new(),
            begun: 0,
            drawn: 0,
        }
    }

    /// Work on one begins.
    pub fn begin(&mut self, index: usize, now: Instant) {
        self.begun += 1;
        self.active.push(Active {
            index,
            step: String::new(),
            since: now,
        });
    }

    /// It has come to a step.
    pub fn step(&mut self, index: usize, what: &str, size: Size, now: Instant) {
        let what = visible(what);
        if let Some(active) = self.active.iter_mut().find(|a| a.index == index) {
            active.step.clone_from(&what);
        }
        let kept = if self.show.verbose {
            self.line(index, &what, Style::new().dimmed())
        } else {
            String::new()
        };
        self.draw(&kept, size, now);
    }

    /// Something to know about it.
    pub fn note(&mut self, index: usize, what: &str, size: Size, now: Instant) {
        if self.show.quiet {
            return;
        }
        let note = self
            .show
            .paint
            .with(Style::new().fg_color(Some(AnsiColor::Yellow.into())), "note:");
        let text = format!("{}: {note} {}\n", self.label(index), visible(what));
        self.draw(&text, size, now);
    }

    /// It is done; `text` is what stays of it, whole lines.
    pub fn end(&mut self, index: usize, text: &str, size: Size, now: Instant) {
        self.active.retain(|a| a.index != index);
        self.draw(text, size, now);
    }

    /// Draws the seconds anew.
    pub fn tick(&mut self, size: Size, now: Instant) {
        self.draw("", size, now);
    }

    fn label(&self, index: usize) -> &str {
        self.labels.get(index).map_or("", String::as_str)
    }

    fn line(&self, index: usize, what: &str, style: Style) -> String {
        format!("{}: {}\n", self.label(index), self.show.paint.with(style, what))
    }

    /// Replaces the live block by `kept` and the block as it is now, in one write so that nothing flickers.
    fn draw(&mut self, kept: &str, size: Size, now: Instant) {
        let mut text = String::new();
        if self.drawn > 0 {
            text.push_str(&format!("\x1b[{}A\r\x1b[J", self.drawn));
        }
        text.push_str(kept);
        self.drawn = 0;
        if self.show.live && !self.show.quiet {
            for line in self.live(size.height, now) {
                // One column is left free: a line of the full width would make some terminals wrap.
                let line: String = line.chars().take(size.width.saturating_sub(1)).collect();
                text.push_str(&self.show.paint.with(Style::new().dimmed(), &line));
                text.push('\n');
                self.drawn += 1;
            }
        }
        if !text.is_empty() {
            // Nothing can be done about an unwritable standard error.
            let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        }
    }

    /// The live block. It stays below the terminal's height: what has scrolled out can't be drawn again.
    fn live(&self, height: usize, now: Instant) -> Vec<String> {
        let room = height.saturating_sub(2).max(1);
        let waiting = self.labels.len().saturating_sub(self.begun);
        let mut lines: Vec<String> = self.active.iter().take(room).map(|a| self.live_line(a, now)).collect();
        let more = self.active.len() - lines.len() + waiting;
        if more > 0 {
            lines.push(format!("{more} more to come"));
        }
        lines
    }

    fn live_line(&self, active: &Active, now: Instant) -> String {
        let step = if active.step.is_empty() { "…" } else { &active.step };
        match now.saturating_duration_since(active.since).as_secs() {
            0 => format!("{}: {step}", self.label(active.index)),
            s => format!("{}: {step} ({})", self.label(active.index), super::human::seconds(s)),
        }
    }
}
