//! What is measured.

use std::ops::{Index, IndexMut};

/// What a person asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Processor time.
    Cpu,
    /// Memory, with the page cache.
    Memory,
    /// Swap.
    Swap,
    /// Space on the disk.
    Disk,
    /// What the disk is read and written.
    Io,
    /// Traffic.
    Network,
    /// Processes and threads.
    Processes,
}

impl Resource {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 7] = [
        Self::Cpu,
        Self::Memory,
        Self::Swap,
        Self::Disk,
        Self::Io,
        Self::Network,
        Self::Processes,
    ];

    /// As it is typed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Swap => "swap",
            Self::Disk => "disk",
            Self::Io => "io",
            Self::Network => "network",
            Self::Processes => "processes",
        }
    }

    /// Its figures.
    pub fn figures(self) -> impl Iterator<Item = Figure> {
        FIGURES.into_iter().filter(move |f| f.resource() == self)
    }
}

/// One number of each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Figure {
    /// Processors in use, in millionths of one. As a counter: nanoseconds of processor time.
    Cpu,
    /// Bytes.
    Memory,
    /// Bytes.
    Swap,
    /// Bytes.
    Disk,
    /// Bytes per second that are read.
    Read,
    /// Bytes per second that are written.
    Write,
    /// Read operations per second.
    ReadOps,
    /// Write operations per second.
    WriteOps,
    /// Bytes per second to the VE.
    In,
    /// Bytes per second from the VE.
    Out,
    /// How many processes and threads.
    Processes,
}

/// All of them.
pub const FIGURES: [Figure; 11] = [
    Figure::Cpu,
    Figure::Memory,
    Figure::Swap,
    Figure::Disk,
    Figure::Read,
    Figure::Write,
    Figure::ReadOps,
    Figure::WriteOps,
    Figure::In,
    Figure::Out,
    Figure::Processes,
];

impl Figure {
    /// As it stands in JSON and in lines for programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Swap => "swap",
            Self::Disk => "disk",
            Self::Read => "read",
            Self::Write => "write",
            Self::ReadOps => "read_ops",
            Self::WriteOps => "write_ops",
            Self::In => "in",
            Self::Out => "out",
            Self::Processes => "processes",
        }
    }

    /// What it tells of.
    pub const fn resource(self) -> Resource {
        match self {
            Self::Cpu => Resource::Cpu,
            Self::Memory => Resource::Memory,
            Self::Swap => Resource::Swap,
            Self::Disk => Resource::Disk,
            Self::Read | Self::Write | Self::ReadOps | Self::WriteOps => Resource::Io,
            Self::In | Self::Out => Resource::Network,
            Self::Processes => Resource::Processes,
        }
    }

    /// Is it worked out from a counter, and so needs two readings?
    pub const fn is_rate(self) -> bool {
        matches!(self.resource(), Resource::Cpu | Resource::Io | Resource::Network)
    }

    /// What a counter's growth comes to per second, in the unit of this figure. `None` for no time at all.
    pub fn rate(self, growth: u64, ns: u64) -> Option<u64> {
        // Processor time is in nanoseconds, and a millionth of a processor is 1000 of them per second.
        let per_second = if self == Self::Cpu { 1_000_000 } else { 1_000_000_000 };
        let rate = (u128::from(growth) * per_second + u128::from(ns) / 2).checked_div(u128::from(ns))?;
        u64::try_from(rate).ok()
    }
}

/// A value for each figure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures<T>([T; 11]);

impl<T> Figures<T> {
    /// One made for each.
    pub fn each(make: impl FnMut(Figure) -> T) -> Self {
        Self(FIGURES.map(make))
    }
}

impl<T> Index<Figure> for Figures<T> {
    type Output = T;
    fn index(&self, figure: Figure) -> &T {
        &self.0[figure as usize]
    }
}

impl<T> IndexMut<Figure> for Figures<T> {
    fn index_mut(&mut self, figure: Figure) -> &mut T {
        &mut self.0[figure as usize]
    }
}
