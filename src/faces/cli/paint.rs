//! Colours, where they are wanted.

use anstream::{AutoStream, ColorChoice, stream::RawStream};
use anstyle::Style;

/// Whether one stream takes colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint(bool);

impl Paint {
    /// Never colours.
    pub const OFF: Self = Self(false);
    /// Always colours.
    #[cfg(test)]
    pub const ON: Self = Self(true);

    /// Colours if `stream` is a terminal that has them, and neither NO_COLOR nor `--no-color` forbids it.
    pub fn on<S: RawStream>(stream: &S, no_color: bool) -> Self {
        Self(!no_color && AutoStream::choice(stream) != ColorChoice::Never)
    }

    /// The text in a style.
    pub fn with(self, style: Style, text: &str) -> String {
        if self.0 && !text.is_empty() {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}
