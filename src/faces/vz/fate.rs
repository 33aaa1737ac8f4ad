//! How something of the dialect compares with the original: what the documentation says, and what a person is told.

#[cfg(test)]
use hostel_model::openvz::Becomes;

/// How something compares with the original.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It does the same.
    Same,
    /// It does nearly the same; what differs.
    Differs(&'static str),
    /// It is accepted and does nothing; why.
    NoEffect(&'static str),
    /// It is refused; why, and what to do instead.
    Refused(&'static str),
}

#[cfg(test)]
impl Fate {
    /// For the documentation: a cell of a table.
    pub fn cell(self) -> String {
        match self {
            Self::Same => "same".to_owned(),
            Self::Differs(how) => format!("differs: {how}"),
            Self::NoEffect(why) => format!("no effect here: {why}"),
            Self::Refused(why) => format!("refused: {why}"),
        }
    }
}

#[cfg(test)]
impl From<Becomes> for Fate {
    fn from(becomes: Becomes) -> Self {
        match becomes {
            Becomes::Settings { differs: "", .. } | Becomes::Act { differs: "", .. } => Self::Same,
            Becomes::Settings { differs, .. } | Becomes::Act { differs, .. } => Self::Differs(differs),
            Becomes::NoEffect(why) => Self::NoEffect(why),
            Becomes::Refused(why) => Self::Refused(why),
        }
    }
}
