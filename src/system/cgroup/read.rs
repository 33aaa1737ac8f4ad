//! Reading what a VE uses: pure parsers of the kernel's formats.

use super::types::{BlockDevice, CpuTime, DeviceIo, Pressure, Throttled};

/// A number alone in a file. `max` and negative numbers are none.
pub fn number(text: &str) -> Option<u64> {
    text.trim_end().parse().ok()
}

/// The value behind `key` in a file of `key value` lines.
pub fn value(text: &str, key: &str) -> Option<u64> {
    text.lines()
        .find_map(|l| l.strip_prefix(key)?.strip_prefix(' ')?.parse().ok())
}

/// `cpu.stat` of v2: processor time (microseconds there).
pub fn cpu_time(text: &str) -> CpuTime {
    let ns = |key| value(text, key).and_then(|us| us.checked_mul(1000));
    CpuTime {
        total_ns: ns("usage_usec"),
        user_ns: ns("user_usec"),
        system_ns: ns("system_usec"),
    }
}

/// `cpu.stat` of both versions: v1 has `throttled_time` in nanoseconds, v2 `throttled_usec`.
pub fn throttled(text: &str) -> Option<Throttled> {
    let ns =
        value(text, "throttled_time").or_else(|| value(text, "throttled_usec").and_then(|us| us.checked_mul(1000)))?;
    Some(Throttled {
        periods: value(text, "nr_periods")?,
        throttled: value(text, "nr_throttled")?,
        ns,
    })
}

/// `MAJOR:MINOR`.
pub fn device(text: &str) -> Option<BlockDevice> {
    let (major, minor) = text.split_once(':')?;
    Some(BlockDevice {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
    })
}

/// `io.stat`: `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0`. A device may stand there with nothing behind
/// it, and other keys may be among these.
pub fn io_stat(text: &str) -> Vec<DeviceIo> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let mut io = nothing_on(device(fields.next()?)?);
            for (key, n) in fields.filter_map(|f| f.split_once('=')) {
                let slot = match key {
                    "rbytes" => &mut io.read_bytes,
                    "wbytes" => &mut io.write_bytes,
                    "rios" => &mut io.read_ops,
                    "wios" => &mut io.write_ops,
                    _ => continue,
                };
                *slot = n.parse().ok()?;
            }
            Some(io)
        })
        .collect()
}

/// `blkio.throttle.io_service_bytes_recursive` and `…io_serviced_recursive`: `8:0 Read 123`, and sums that we pass
/// over.
pub fn blkio(bytes: &str, ops: &str) -> Vec<DeviceIo> {
    let mut all: Vec<DeviceIo> = Vec::new();
    let mut add = |text: &str, set: fn(&mut DeviceIo, &str, u64)| {
        for line in text.lines() {
            let mut fields = line.split_ascii_whitespace();
            let (Some(dev), Some(what), Some(n)) = (
                fields.next().and_then(device),
                fields.next(),
                fields.next().and_then(|n| n.parse::<u64>().ok()),
            ) else {
                continue;
            };
            let at = all.iter().position(|d| d.device == dev).unwrap_or_else(|| {
                all.push(nothing_on(dev));
                all.len() - 1
            });
            set(&mut all[at], what, n);
        }
    };
    add(bytes, |io, what, n| match what {
        "Read" => io.read_bytes = n,
        "Write" => io.write_bytes = n,
        _ => {}
    });
    add(ops, |io, what, n| match what {
        "Read" => io.read_ops = n,
        "Write" => io.write_ops = n,
        _ => {}
    });
    all
}

const fn nothing_on(device: BlockDevice) -> DeviceIo {
    DeviceIo {
        device,
        read_bytes: 0,
        write_bytes: 0,
        read_ops: 0,
        write_ops: 0,
    }
}

/// `cpu.pressure` and its like: `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, then perhaps the same for `full`.
pub fn pressure(text: &str) -> Option<Pressure> {
    let line = |kind: &str| -> Option<(f32, u64)> {
        let rest = text.lines().find_map(|l| l.strip_prefix(kind))?;
        let field = |key| rest.split_ascii_whitespace().find_map(|f| f.strip_prefix(key));
        Some((field("avg10=")?.parse().ok()?, field("total=")?.parse().ok()?))
    };
    let (some_avg10, some_us) = line("some ")?;
    let full = line("full ");
    Some(Pressure {
        some_avg10,
        some_us,
        full_avg10: full.map(|f| f.0),
        full_us: full.map(|f| f.1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::types::Usage;
    use proptest::prelude::*;

    #[test]
    fn numbers() {
        assert_eq!(number("123\n"), Some(123));
        assert_eq!(number("max\n"), None);
        assert_eq!(number("-1\n"), None);
        assert_eq!(number(""), None);
        assert_eq!(value("oom 3\noom_kill 4\n", "oom_kill"), Some(4));
        assert_eq!(value("oom_kill_disable 0\nunder_oom 0\n", "oom_kill"), None);
    }

    #[test]
    fn cpu_stat_of_both_versions() {
        let v2 = "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\nnr_periods 7\nnr_throttled 2\nthrottled_usec 9\n";
        let cpu = CpuTime {
            total_ns: Some(1_500_000),
            user_ns: Some(1_000_000),
            system_ns: Some(500_000),
        };
        assert_eq!(cpu_time(v2), cpu);
        assert_eq!(
            throttled(v2),
            Some(Throttled {
                periods: 7,
                throttled: 2,
                ns: 9000
            })
        );
        let v1 = "nr_periods 7\nnr_throttled 2\nthrottled_time 9000\nwait_sum 12\n";
        assert_eq!(throttled(v1), throttled(v2));
        assert_eq!(
            throttled("usage_usec 1\n"),
            None,
            "no cpu controller: unknown, not zero"
        );
        assert_eq!(cpu_time("garbage"), CpuTime::default());
    }

    #[test]
    fn io_of_both_versions() {
        let want = DeviceIo {
            device: BlockDevice { major: 8, minor: 16 },
            read_bytes: 10,
            write_bytes: 20,
            read_ops: 1,
            write_ops: 2,
        };
        let v2 = "8:16 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0 cost.usage=5\n254:0 \n";
        assert_eq!(io_stat(v2)[0], want);
        assert_eq!(io_stat(v2)[1], nothing_on(BlockDevice { major: 254, minor: 0 }));
        let bytes = "8:16 Read 10\n8:16 Write 20\n8:16 Sync 30\n8:16 Total 30\nTotal 30\n";
        let ops = "8:16 Read 1\n8:16 Write 2\n8:16 Total 3\nTotal 3\n";
        assert_eq!(blkio(bytes, ops), [want]);
        assert_eq!(blkio("Total 0\n", "Total 0\n"), []);
    }

    #[test]
    fn pressure_with_and_without_full() {
        let some = "some avg10=1.50 avg60=0.20 avg300=0.00 total=12345\n";
        let p = pressure(some).unwrap();
        assert_eq!((p.some_avg10, p.some_us, p.full_us), (1.5, 12345, None));
        let both = format!("{some}full avg10=0.50 avg60=0.00 avg300=0.00 total=99\n");
        assert_eq!(pressure(&both).unwrap().full_us, Some(99));
        assert_eq!(pressure(""), None);
    }

    #[test]
    fn sums_only_the_named_disks() {
        let io = io_stat("8:0 rbytes=1 wbytes=2 rios=3 wios=4\n7:0 rbytes=10 wbytes=20 rios=30 wios=40\n");
        let u = Usage {
            io: Some(io),
            ..Usage::default()
        };
        assert_eq!(u.io_on(&[BlockDevice { major: 7, minor: 0 }]).unwrap().write_bytes, 20);
        assert_eq!(u.io_on(&[]).unwrap().write_bytes, 0);
        assert_eq!(Usage::default().io_on(&[]), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_parser_panics(text in "[ -~\n]{0,200}") {
            let _ = (number(&text), value(&text, "a"), cpu_time(&text), throttled(&text), io_stat(&text));
            let _ = (blkio(&text, &text), pressure(&text), device(&text));
        }

        #[test]
        fn io_lines_come_back(major in 0u32..4096, minor in 0u32..1_048_576, n in any::<[u64; 4]>()) {
            let line = format!("{major}:{minor} rbytes={} wbytes={} rios={} wios={}\n", n[0], n[1], n[2], n[3]);
            let io = io_stat(&line)[0];
            prop_assert_eq!(io.device, BlockDevice { major, minor });
            prop_assert_eq!([io.read_bytes, io.write_bytes, io.read_ops, io.write_ops], n);
        }
    }
}
