//! `vzcfgvalidate`: what is wrong with a CTID.conf, by itself and by what its values must be to each other.

use std::io::{self, BufRead, Write};
use std::path::Path;
use std::process::ExitCode;

use hostel_model::openvz::{
    Act, Amount, Becomes, By, Conf, Given, Key, Pair, Remembered, Surroundings, Unit, code, pair, parameter, translate,
};

use super::super::options::{Opt, flag, valued};
use super::super::word::{Stop, Tool, print};

const VZCFGVALIDATE: Tool = Tool("vzcfgvalidate");

const USAGE: &str = "Usage: vzcfgvalidate [-r | -i] [-v yes|no] FILE\n\
    Checks a CTID.conf. Errors are what it can't be used with, warnings what has no meaning here, recommendations what\n\
    belonged together on OpenVZ. -r puts limits right that are below their barriers, -i asks before; -v yes tells also\n\
    what has no effect here. Ends with 0 if there are no errors, 2 if there are, 1 if it can't be read.\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    Repair,
    Ask,
    Verbose,
    Help,
}

const OPTIONS: &[Opt<Is>] = &[
    flag(Is::Repair, 'r', "repair"),
    flag(Is::Ask, 'i', "interactive"),
    valued(Is::Verbose, 'v', "verbose"),
    flag(Is::Help, 'h', "help"),
];

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// It can't be used.
    Error,
    /// It has no meaning here.
    Warning,
    /// It belonged together.
    Recommendation,
}

/// A finding, and the value that would put it right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    weight: Weight,
    text: String,
    better: Option<(String, String)>,
}

impl Finding {
    fn new(weight: Weight, text: String) -> Self {
        Self {
            weight,
            text,
            better: None,
        }
    }

    fn line(&self) -> String {
        let word = match self.weight {
            Weight::Error => "Error",
            Weight::Warning => "Warning",
            Weight::Recommendation => "Recommendation",
        };
        format!("{word}: {}\n", self.text)
    }
}

/// The tool.
pub fn main() -> ExitCode {
    VZCFGVALIDATE.end(run(&Tool::typed()))
}

fn run(words: &[String]) -> Result<u8, Stop> {
    let Some(typed) = Tool::read(OPTIONS, Is::Help, USAGE, words)? else {
        return Ok(0);
    };
    let [file] = typed.operands.as_slice() else {
        return Err(Stop::Said(format!("one file is to be checked\n{USAGE}"), 1));
    };
    let verbose = typed.value(Is::Verbose).is_some_and(|value| value != "no");
    let text = std::fs::read_to_string(file).map_err(|e| Stop::Said(format!("cannot read {file}: {e}"), 1))?;
    let (mut conf, findings) = check(&text, verbose);
    let (mut lines, mut wrong, mut changed) = (String::new(), false, false);
    for finding in findings {
        lines.push_str(&finding.line());
        let better = finding.better.filter(|_| typed.has(Is::Repair) || typed.has(Is::Ask));
        match better {
            Some((name, value)) if typed.has(Is::Repair) || agreed(&mut lines, &name, &value)? => {
                conf.set(&name, &value);
                lines.push_str(&format!("set to {name}=\"{value}\"\n"));
                changed = true;
            }
            _ => wrong |= finding.weight == Weight::Error,
        }
    }
    if changed {
        replace(file, &conf.to_string())?;
    }
    if !wrong {
        lines.push_str("Validation completed: success\n");
    }
    print(&lines)?;
    Ok(if wrong { 2 } else { 0 })
}

/// Says what was found so far, and asks.
fn agreed(lines: &mut String, name: &str, value: &str) -> Result<bool, Stop> {
    print(&format!("{}set to {name}=\"{value}\"? (y/n) ", std::mem::take(lines)))?;
    let mut answer = String::new();
    let heard = std::io::stdin().lock().read_line(&mut answer);
    heard.map_err(|e| Stop::Said(format!("cannot read standard input: {e}"), 1))?;
    Ok(answer.trim().starts_with(['y', 'Y']))
}

/// Whole or not at all, and to be read by those who could read it before.
fn replace(file: &str, text: &str) -> Result<(), Stop> {
    let written = || {
        let real = std::fs::canonicalize(file)?;
        // A file has a directory.
        let mut new = tempfile::NamedTempFile::new_in(real.parent().unwrap_or(Path::new("/")))?;
        new.write_all(text.as_bytes())?;
        new.as_file().set_permissions(std::fs::metadata(&real)?.permissions())?;
        new.as_file().sync_all()?;
        new.persist(&real)?;
        Ok(())
    };
    written().map_err(|e: io::Error| Stop::Said(format!("cannot write {file}: {e}"), 1))
}

/// The file as it was read, and what is to be said of it.
pub fn check(text: &str, verbose: bool) -> (Conf, Vec<Finding>) {
    let (conf, problems) = Conf::parse(text);
    let problems = problems.into_iter().map(|problem| {
        // A line that assigns something is understood, but its name isn't.
        let weight = match conf.entries().any(|entry| entry.line == problem.line) {
            true => Weight::Warning,
            false => Weight::Error,
        };
        Finding::new(weight, problem.to_string())
    });
    let mut findings: Vec<Finding> = problems.collect();
    for entry in conf.entries() {
        let Some(key) = parameter(&entry.name) else { continue };
        match key.becomes {
            Becomes::Refused(why) => findings.push(Finding::new(Weight::Warning, format!("{}: {why}", entry.name))),
            Becomes::NoEffect(why) if verbose => {
                let text = format!("{} has no effect here: {why}", entry.name);
                findings.push(Finding::new(Weight::Recommendation, text));
            }
            _ => {}
        }
        let unit = key.counts.or(match key.becomes {
            Becomes::Settings {
                by: By::Limit(unit) | By::Barrier(unit),
                ..
            } => Some(unit),
            Becomes::Act {
                act: Act::PrivateMemory,
                ..
            } => Some(Unit::Pages),
            Becomes::Act { act: Act::Inodes, .. } => Some(Unit::Count),
            _ => None,
        });
        let pair = unit.and_then(|unit| of_pair(&entry.name, &entry.value, unit));
        findings.extend(pair.or_else(|| of_value(key, &entry.name, &entry.value)));
    }
    findings.extend(relations(&conf));
    (conf, findings)
}

/// What would be said of it if it were set. What depends on this host's networks is not judged: the file may be for another.
fn of_value(key: &'static Key, named: &str, value: &str) -> Option<Finding> {
    let remembered = Remembered::default();
    let around = Surroundings {
        cpus: u32::MAX,
        creating: true,
        remembered: &remembered,
        memory_limit: None,
        interfaces: Vec::new(),
        networks: &[],
        default_network: None,
        no_io_weight: None,
    };
    let refused = translate(&[Given { key, named, value }], &around).err()?;
    let weight = match refused.code {
        code::NO_ADDRESS | code::VETH => return None,
        code::CAPABILITY | code::DEVICE => Weight::Warning,
        _ => Weight::Error,
    };
    // What is refused whatever its value has been said.
    let said_already = matches!(key.becomes, Becomes::Refused(_));
    let text = match refused.message.strip_prefix(named) {
        Some(_) => refused.message,
        None => format!("{named}: {}", refused.message),
    };
    (!said_already).then(|| Finding::new(weight, text))
}

fn of_pair(name: &str, value: &str, unit: Unit) -> Option<Finding> {
    match pair(value, unit) {
        Err(e) => Some(Finding::new(Weight::Error, format!("{name}: {e}"))),
        Ok(Pair { barrier, limit }) if above(barrier, limit) => {
            let first = value.split(':').next().unwrap_or(value);
            Some(Finding {
                better: Some((name.to_owned(), format!("{first}:{first}"))),
                ..Finding::new(
                    Weight::Error,
                    format!("{name}: the barrier should be no more than the limit (currently {value})"),
                )
            })
        }
        Ok(_) => None,
    }
}

fn above(a: Amount, b: Amount) -> bool {
    match (a.limit(), b.limit()) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(a), Some(b)) => a > b,
    }
}

/// What a barrier must have room for: so many bytes for each of what another parameter counts.
const ROOM: [(&str, Unit, &str, u64); 5] = [
    ("KMEMSIZE", Unit::Bytes, "NUMPROC", 40 << 10),
    ("TCPSNDBUF", Unit::Bytes, "NUMTCPSOCK", 2560),
    ("TCPRCVBUF", Unit::Bytes, "NUMTCPSOCK", 2560),
    ("OTHERSOCKBUF", Unit::Bytes, "NUMOTHERSOCK", 2560),
    ("DCACHESIZE", Unit::Bytes, "NUMFILE", 384),
];

/// Those of OpenVZ's own between the parameters that count here no more, and those that do.
fn relations(conf: &Conf) -> Vec<Finding> {
    let barrier = |name: &str, unit| pair(conf.get(name)?, unit).ok().map(|pair| pair.barrier);
    let mut findings = Vec::new();
    for (name, unit, of, each) in ROOM {
        let (Some(room), Some(number)) = (barrier(name, unit), barrier(of, Unit::Count)) else {
            continue;
        };
        let needed = Amount::At(number.limit().map_or(0, |n| n.saturating_mul(each)));
        if above(needed, room) {
            let text = format!("{name} has room for less than {each} bytes for each of {of}");
            findings.push(Finding::new(Weight::Recommendation, text));
        }
    }
    for (name, least) in [("PRIVVMPAGES", "VMGUARPAGES"), ("PHYSPAGES", "VMGUARPAGES")] {
        let limit = conf
            .get(name)
            .and_then(|value| pair(value, Unit::Pages).ok())
            .map(|pair| pair.limit);
        if let (Some(limit), Some(guarantee)) = (limit, barrier(least, Unit::Pages))
            && above(guarantee, limit)
        {
            let text = format!("the barrier of {least} should be no more than the limit of {name}");
            findings.push(Finding::new(Weight::Error, text));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(text: &str) -> String {
        check(text, false).1.iter().map(Finding::line).collect()
    }

    #[test]
    fn errors_warnings_and_recommendations() {
        assert_eq!(said("PHYSPAGES=\"0:65536\"\nNUMPROC=\"100\"\nHOSTNAME=\"a\"\n"), "");
        let all = said(
            "DISKSPACE=\"2G:1G\"\nNUMPROC=\"many\"\nCOLOUR=\"red\"\nKMEMSIZE=\"1M:1M\"\nKEY = 1\n\
             PHYSPAGES=\"0:100\"\nVMGUARPAGES=\"200\"\nNUMTCPSOCK=\"500\"\nTCPSNDBUF=\"1M\"\n",
        );
        for part in [
            "Error: DISKSPACE: the barrier should be no more than the limit (currently 2G:1G)\n",
            "Error: NUMPROC: \"many\" is not",
            "Warning: line 3: there is no parameter COLOUR\n",
            "Error: line 5: it is not of the form KEY=\"value\"\n",
            "Error: the barrier of VMGUARPAGES should be no more than the limit of PHYSPAGES\n",
            "Recommendation: TCPSNDBUF has room for less than 2560 bytes for each of NUMTCPSOCK\n",
        ] {
            assert!(all.contains(part), "{part}\n{all}");
        }
        let more = check("KMEMSIZE=\"1M:1M\"\n", true).1;
        assert!(more[0].line().contains("KMEMSIZE has no effect here"), "{more:?}");
    }

    #[test]
    fn values_that_make_no_sense() {
        for wrong in [
            "CPULIMIT=\"banana\"",
            "ONBOOT=\"maybe\"",
            "IP_ADDRESS=\"1.2.3\"",
            "IOPRIO=\"9\"",
            "CPUUNITS=\"0\"",
            "NETFILTER=\"bogus\"",
            "NUMPROC=\"0\"",
            "DISKSPACE=\"unlimited\"",
            "PRIVVMPAGES=\"200:100\"",
            "DISKINODES=\"200:100\"",
            "HOSTNAME=\"a no parameter\"",
        ] {
            let (name, _) = wrong.split_once('=').unwrap();
            let said = said(&format!("{wrong}\n"));
            assert!(said.starts_with(&format!("Error: {name}: ")), "{wrong}: {said}");
        }
        assert!(said("DEVNODES=\"sda:rw\"\n").starts_with("Warning: DEVNODES: no VE gets sda"));
        let fine = "IP_ADDRESS=\"203.0.113.5 2001:db8::5/64\"\nNETIF=\"ifname=eth0,bridge=br7\"\nCPULIMIT=\"25\"\nIOPRIO=\"4\"\n";
        assert_eq!(said(fine), "");
    }

    #[test]
    fn a_limit_below_its_barrier_is_put_right() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("101.conf").display().to_string();
        std::fs::write(&file, "# mine\nDISKSPACE=\"2G:1G\"\n").unwrap();
        let run = |words: &[&str]| run(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        assert!(matches!(run(&[&file]), Ok(2)));
        assert!(matches!(run(&["-r", &file]), Ok(0)));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "# mine\nDISKSPACE=\"2G:2G\"\n");
        assert!(matches!(run(&["-v", "yes", &file]), Ok(0)));
        assert!(matches!(run(&["/no/such/file"]), Err(Stop::Said(_, 1))));
        assert!(matches!(run(&[]), Err(Stop::Said(_, 1))));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_file_is_too_odd(text in "((KMEMSIZE|NUMPROC|DISKSPACE|PHYSPAGES|X)=[\"0-9a-zA-Z:. ]{0,12}\n|\\PC{0,9}\n){0,8}") {
            check(&text, true);
        }
    }
}
