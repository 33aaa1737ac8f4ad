//! The little of Protocol Buffers that CRIU's RPC takes: fields that are numbers or bytes (encoding.html of their
//! documentation; numbers of fields and requests as in CRIU's images/rpc.proto).

/// A message under construction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message(Vec<u8>);

impl Message {
    /// Adds a number (or a boolean, or a word of an enumeration).
    #[must_use]
    pub fn number(mut self, field: u32, value: u64) -> Self {
        self.varint(u64::from(field) << 3);
        self.varint(value);
        self
    }

    /// Adds bytes: a text or another message.
    #[must_use]
    pub fn bytes(mut self, field: u32, value: &[u8]) -> Self {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    /// Adds another message.
    #[must_use]
    pub fn message(self, field: u32, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }

    /// As it is sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn varint(&mut self, mut value: u64) {
        while value > 0x7f {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number.
    Number(u64),
    /// Bytes.
    Bytes(&'a [u8]),
}

/// The fields of a message, in order; `None` if it isn't one, or has kinds of fields that CRIU doesn't use.
pub fn fields(mut bytes: &[u8]) -> Option<Vec<(u32, Value<'_>)>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let field = u32::try_from(key >> 3).ok()?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut bytes)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (value, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                Value::Bytes(value)
            }
            _ => return None,
        };
        all.push((field, value));
    }
    Some(all)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let inner = Message::default().bytes(1, b"post-dump").number(2, 300);
        let message = Message::default().number(1, 6).message(5, &inner).number(7, u64::MAX);
        // 0x08 is field 1 as a number; 300 is 0xac 0x02 (the documentation's own example).
        assert!(inner.as_bytes().ends_with(&[0x10, 0xac, 0x02]));
        let read = fields(message.as_bytes()).unwrap();
        assert_eq!(read[0], (1, Value::Number(6)));
        assert_eq!(read[2], (7, Value::Number(u64::MAX)));
        let (5, Value::Bytes(inner)) = read[1] else {
            panic!("{read:?}")
        };
        assert_eq!(
            fields(inner).unwrap(),
            [(1, Value::Bytes(b"post-dump")), (2, Value::Number(300))]
        );
    }

    #[test]
    fn what_is_cut_off_is_no_message() {
        let message = Message::default().number(1, 1 << 40).bytes(2, b"word");
        for length in [1, 3, 8, 10, message.as_bytes().len() - 1] {
            assert_eq!(fields(&message.as_bytes()[..length]), None, "{length}");
        }
        assert_eq!(fields(&[0xff; 12]), None);
    }
}
