//! Extended headers of pax(1): `length key=value\n` records. Values are bytes and may hold newlines (capabilities
//! do), which is why this isn't left to a parser that splits by lines.

/// A record that breaks the form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The records of one extended header, in their order.
pub(super) fn records(mut data: &[u8]) -> Result<Vec<(&str, &[u8])>, Malformed> {
    let mut found = Vec::new();
    while !data.is_empty() {
        let space = data.iter().take(20).position(|b| *b == b' ').ok_or(Malformed)?;
        let (digits, _) = data.split_at(space);
        let length: usize = parse_number(digits).and_then(|n| n.try_into().ok()).ok_or(Malformed)?;
        let record = data.get(space + 1..length).ok_or(Malformed)?;
        let Some((b'\n', record)) = record.split_last() else {
            return Err(Malformed);
        };
        let equals = record.iter().position(|b| *b == b'=').ok_or(Malformed)?;
        let (key, value) = record.split_at(equals);
        let key = std::str::from_utf8(key).map_err(|_| Malformed)?;
        found.push((key, value.get(1..).unwrap_or_default()));
        data = data.get(length..).unwrap_or_default();
    }
    Ok(found)
}

/// A decimal number of digits only.
pub(super) fn parse_number(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if digits {
        std::str::from_utf8(text).ok()?.parse().ok()
    } else {
        None
    }
}

/// A time in seconds since 1970 with a fraction, perhaps negative: seconds and nanoseconds (0 to 999 999 999).
pub(super) fn parse_time(text: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |t| (true, t));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds = i64::try_from(parse_number(whole.as_bytes())?).ok()?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanos: u32 = format!("{:0<9.9}", fraction).parse().ok()?;
    Some(match (negative, nanos) {
        (false, _) => (seconds, nanos),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanos),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(key: &str, value: &[u8]) -> Vec<u8> {
        let body = key.len() + value.len() + 3;
        let mut length = body + 1;
        while body + length.to_string().len() != length {
            length += 1;
        }
        [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
    }

    #[test]
    fn refuses_malformed() {
        for bad in [
            &b"x"[..],
            b"5 a=b",
            b"99 a=b\n",
            b"6 a=b\n\n",
            b"0 \n",
            b"3 a\n",
            b"-6 a=b\n",
            b"18446744073709551616 a=b\n",
        ] {
            assert_eq!(records(bad), Err(Malformed), "{bad:?}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(parse_time(b"12.5"), Some((12, 500_000_000)));
        assert_eq!(parse_time(b"12"), Some((12, 0)));
        assert_eq!(parse_time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(parse_time(b"1.1234567899"), Some((1, 123_456_789)));
        for bad in [&b""[..], b".5", b"1.x", b"--1", b"+1", b"99999999999999999999"] {
            assert_eq!(parse_time(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn round_trips(values in proptest::collection::vec(("[a-zA-Z.]{1,20}", proptest::collection::vec(any::<u8>(), 0..200)), 0..5)) {
            let data: Vec<u8> = values.iter().flat_map(|(k, v)| record(k, v)).collect();
            let read = records(&data).unwrap();
            let expected: Vec<(&str, &[u8])> = values.iter().map(|(k, v)| (k.as_str(), v.as_slice())).collect();
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn never_panics(data in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = records(&data);
            let _ = parse_time(&data);
        }
    }
}
