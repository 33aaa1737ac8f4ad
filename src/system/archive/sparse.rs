//! Where the data of a sparse file lies: GNU tar's old header, and the three forms it has in extended headers
//! (GNU tar manual, appendix E.2).

use super::pax::parse_number;

/// The most pieces that one file may have.
pub(super) const MAX_SEGMENTS: usize = 1 << 17;

/// A piece of data: offset in the file and length, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// What an extended header says of a sparse file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Declared {
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    /// The file's size with its holes.
    pub(super) size: Option<u64>,
    /// Offsets and lengths in turn (versions 0.0 and 0.1).
    pub(super) numbers: Vec<u64>,
    /// The file's true name.
    pub(super) name: Option<Vec<u8>>,
}

impl Declared {
    /// Takes one record, the key without its `GNU.sparse.`; false if it isn't understood.
    pub(super) fn take(&mut self, key: &str, value: &[u8]) -> bool {
        let number = parse_number(value);
        match key {
            "major" => self.major = number,
            "minor" => self.minor = number,
            "size" | "realsize" => self.size = number,
            "name" => self.name = Some(value.to_vec()),
            "numblocks" => {}
            "offset" | "numbytes" => match number {
                Some(n) if self.numbers.len() < 2 * MAX_SEGMENTS => self.numbers.push(n),
                _ => return false,
            },
            "map" => {
                let numbers: Option<Vec<u64>> = value
                    .split(|b| *b == b',')
                    .filter(|n| !n.is_empty())
                    .map(parse_number)
                    .collect();
                match numbers {
                    Some(numbers) if numbers.len() <= 2 * MAX_SEGMENTS => self.numbers = numbers,
                    _ => return false,
                }
            }
            _ => return false,
        }
        key == "name" || key == "map" || number.is_some()
    }

    /// Is the map in front of the data (version 1.0)?
    pub(super) fn map_in_data(&self) -> Option<bool> {
        match (self.major.unwrap_or(0), self.minor.unwrap_or(0)) {
            (1, 0) => Some(true),
            (0, 0 | 1) => Some(false),
            _ => None,
        }
    }
}

/// Offsets and lengths in turn, as segments; `None` if their number is odd.
pub(super) fn pairs(numbers: &[u64]) -> Option<Vec<Segment>> {
    let pair = |p: &[u64]| match p {
        [offset, length] => Some(Segment {
            offset: *offset,
            length: *length,
        }),
        _ => None,
    };
    numbers.chunks(2).map(pair).collect()
}

/// Checks a map: rising, not overlapping, inside `size`, and holding exactly `stored` bytes.
pub(super) fn is_sound(map: &[Segment], size: u64, stored: u64) -> bool {
    let mut end = 0u64;
    let mut sum = 0u64;
    for segment in map {
        let Some(next) = segment.offset.checked_add(segment.length) else {
            return false;
        };
        if segment.offset < end || next > size {
            return false;
        }
        end = next;
        sum += segment.length; // no overflow: segments don't overlap and lie below `size`
    }
    sum == stored
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_checked() {
        let map = |numbers: &[u64]| pairs(numbers).unwrap();
        assert!(is_sound(&map(&[0, 10, 20, 5, 100, 0]), 100, 15));
        assert!(is_sound(&[], 1 << 40, 0));
        assert!(!is_sound(&map(&[0, 10, 5, 5]), 100, 15), "overlap");
        assert!(!is_sound(&map(&[20, 5, 0, 10]), 100, 15), "falling");
        assert!(!is_sound(&map(&[90, 11]), 100, 11), "beyond the end");
        assert!(!is_sound(&map(&[0, 10]), 100, 11), "not the stored bytes");
        assert!(!is_sound(&map(&[u64::MAX, 2]), u64::MAX, 2), "overflow");
        assert_eq!(pairs(&[1, 2, 3]), None);
    }

    #[test]
    fn records() {
        let mut d = Declared::default();
        assert!(d.take("map", b"0,1,5,2") && d.take("size", b"9") && d.take("name", b"x"));
        assert_eq!(
            (d.numbers.as_slice(), d.size, d.map_in_data()),
            (&[0, 1, 5, 2][..], Some(9), Some(false))
        );
        assert!(!d.take("map", b"0,x") && !d.take("size", b"-1") && !d.take("what", b"1"));
        assert!(d.take("major", b"1") && d.take("minor", b"0"));
        assert_eq!(d.map_in_data(), Some(true));
        assert!(d.take("major", b"2"));
        assert_eq!(d.map_in_data(), None);
    }
}
