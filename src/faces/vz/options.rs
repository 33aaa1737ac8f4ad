//! Options as getopt_long(3) of glibc reads them, as OpenVZ's tools did: short ones may stand together and with their
//! value ("-aHo status", "-ostatus"), long ones may be shortened as far as they stay clear, operands may stand between
//! them, and "--" ends them.

/// An option, and what it means.
#[derive(Debug, Clone, Copy)]
pub struct Opt<T> {
    /// What it means.
    pub is: T,
    /// As a letter.
    pub short: Option<char>,
    /// As a word.
    pub long: &'static str,
    /// A value follows.
    pub value: bool,
}

/// One without a value.
pub const fn flag<T>(is: T, short: char, long: &'static str) -> Opt<T> {
    Opt {
        is,
        short: Some(short),
        long,
        value: false,
    }
}

/// One with a value.
pub const fn valued<T>(is: T, short: char, long: &'static str) -> Opt<T> {
    Opt {
        is,
        short: Some(short),
        long,
        value: true,
    }
}

/// What was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed<T> {
    /// Options in their order, with their values.
    pub options: Vec<(T, String)>,
    /// All else.
    pub operands: Vec<String>,
}

impl<T: PartialEq> Typed<T> {
    /// Was it named?
    pub fn has(&self, is: T) -> bool {
        self.options.iter().any(|(option, _)| *option == is)
    }

    /// The value that it was given, the last time if more than once.
    pub fn value(&self, is: T) -> Option<&str> {
        let mut named = self.options.iter().rev();
        named.find(|(option, _)| *option == is).map(|(_, value)| value.as_str())
    }
}

/// Reads words. The error is a line in the words of getopt, without the program's name.
pub fn read<T: Copy>(known: &[Opt<T>], words: &[String]) -> Result<Typed<T>, String> {
    let mut typed = Typed {
        options: Vec::new(),
        operands: Vec::new(),
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            typed.operands.extend(words.by_ref().cloned());
        } else if let Some(long) = word.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            let option = find_long(known, name)?;
            let value = match (option.value, value) {
                (false, Some(_)) => return Err(format!("option '--{}' doesn't allow an argument", option.long)),
                (false, None) => String::new(),
                (true, Some(value)) => value,
                (true, None) => words
                    .next()
                    .cloned()
                    .ok_or_else(|| format!("option '--{}' requires an argument", option.long))?,
            };
            typed.options.push((option.is, value));
        } else if let Some(letters) = word.strip_prefix('-').filter(|l| !l.is_empty()) {
            read_letters(known, letters, &mut words, &mut typed.options)?;
        } else {
            typed.operands.push(word.clone());
        }
    }
    Ok(typed)
}

fn read_letters<'w, T: Copy>(
    known: &[Opt<T>],
    letters: &str,
    words: &mut impl Iterator<Item = &'w String>,
    options: &mut Vec<(T, String)>,
) -> Result<(), String> {
    let mut letters = letters.chars();
    while let Some(letter) = letters.next() {
        let option = known.iter().find(|option| option.short == Some(letter));
        let option = option.ok_or_else(|| format!("invalid option -- '{letter}'"))?;
        if !option.value {
            options.push((option.is, String::new()));
            continue;
        }
        let rest: String = letters.by_ref().collect();
        let value = match rest.is_empty() {
            false => rest,
            true => words
                .next()
                .cloned()
                .ok_or_else(|| format!("option requires an argument -- '{letter}'"))?,
        };
        options.push((option.is, value));
    }
    Ok(())
}

fn find_long<T: Copy>(known: &[Opt<T>], name: &str) -> Result<Opt<T>, String> {
    if let Some(option) = known.iter().find(|option| option.long == name && !name.is_empty()) {
        return Ok(*option);
    }
    let mut like = known
        .iter()
        .filter(|option| !name.is_empty() && option.long.starts_with(name));
    match (like.next(), like.next()) {
        (Some(option), None) => Ok(*option),
        (Some(_), Some(_)) => Err(format!("option '--{name}' is ambiguous")),
        (None, _) => Err(format!("unrecognized option '--{name}'")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KNOWN: &[Opt<char>] = &[
        flag('a', 'a', "all"),
        flag('H', 'H', "no-header"),
        valued('o', 'o', "output"),
        valued('n', 'n', "name"),
        flag('N', 'N', "name_filter"),
    ];

    fn typed(line: &str) -> Result<(String, Vec<String>), String> {
        let words: Vec<String> = line.split(' ').filter(|w| !w.is_empty()).map(str::to_owned).collect();
        let typed = read(KNOWN, &words)?;
        let options = typed.options.iter().map(|(is, value)| format!("{is}{value}"));
        Ok((options.collect::<Vec<_>>().join(" "), typed.operands))
    }

    #[test]
    fn as_clients_type_them() {
        for (line, options, operands) in [
            ("-a -H -o veid,status", "a H oveid,status", 0),
            ("-a -ovpsid,status -H", "a ovpsid,status H", 0),
            ("-aHo status 101", "a H ostatus", 1),
            ("101 -aH 102 --output=x", "a H ox", 2),
            ("--output x --all", "ox a", 0),
            ("--out x --no", "ox H", 0),
            ("-- -a", "", 1),
            ("-", "", 1),
            ("--name x", "nx", 0),
        ] {
            let (seen, others) = typed(line).unwrap();
            assert_eq!((seen.as_str(), others.len()), (options, operands), "{line}");
        }
    }

    #[test]
    fn mistakes_in_the_words_of_getopt() {
        for (line, said) in [
            ("-x", "invalid option -- 'x'"),
            ("-ao", "option requires an argument -- 'o'"),
            ("--output", "option '--output' requires an argument"),
            ("--colour", "unrecognized option '--colour'"),
            ("--nam x", "option '--nam' is ambiguous"),
            ("--all=1", "option '--all' doesn't allow an argument"),
            ("--=x", "unrecognized option '--'"),
        ] {
            assert_eq!(typed(line), Err(said.to_owned()), "{line}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_is_typed_is_read_or_refused(words in prop::collection::vec("(-{0,2}[aHonNx=]{0,4}|\\PC{0,6})", 0..8)) {
            if let Ok(typed) = read(KNOWN, &words) {
                prop_assert!(typed.options.len() + typed.operands.len() <= words.iter().map(String::len).sum::<usize>() + words.len());
            }
        }
    }
}
