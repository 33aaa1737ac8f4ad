//! OpenMetrics text (<https://github.com/prometheus/OpenMetrics>, version 1.0.0), without what the older text format of
//! Prometheus has no word for: node_exporter's textfile collector reads that one only.

use std::fmt::Write;

use hostel_engine::facade::{Family, FamilyKind, Sample};

/// What the text is, for HTTP.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All of it. A family without samples is left out.
pub fn text(families: &[Family]) -> String {
    let mut out = String::new();
    for family in families.iter().filter(|f| !f.samples.is_empty()) {
        let (kind, ending) = match family.kind {
            FamilyKind::Gauge => ("gauge", ""),
            FamilyKind::Counter => ("counter", "_total"),
        };
        let name = family.name;
        // Writing to a string never fails.
        let _ = writeln!(out, "# TYPE {name} {kind}\n# HELP {name} {}", escaped(family.help));
        for sample in &family.samples {
            let _ = writeln!(out, "{name}{ending}{} {}", labels(sample), sample.value);
        }
    }
    out.push_str("# EOF\n");
    out
}

fn labels(sample: &Sample) -> String {
    let each = sample
        .labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)));
    format!("{{{}}}", each.collect::<Vec<_>>().join(","))
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_as_prometheus_reads_them() {
        let family = |name, kind, value| Family {
            name,
            kind,
            help: "A thing.",
            samples: vec![Sample {
                labels: vec![("ve", "web\"1\\\n".to_owned()), ("id", "101".to_owned())],
                value,
            }],
        };
        let empty = Family {
            samples: Vec::new(),
            ..family("hostel_none", FamilyKind::Gauge, 0.0)
        };
        let families = [
            family("hostel_ve_cpu_seconds", FamilyKind::Counter, 0.25),
            family("hostel_ve_memory_bytes", FamilyKind::Gauge, 4_398_046_511_104.0),
            empty,
        ];
        let want = r#"# TYPE hostel_ve_cpu_seconds counter
# HELP hostel_ve_cpu_seconds A thing.
hostel_ve_cpu_seconds_total{ve="web\"1\\\n",id="101"} 0.25
# TYPE hostel_ve_memory_bytes gauge
# HELP hostel_ve_memory_bytes A thing.
hostel_ve_memory_bytes{ve="web\"1\\\n",id="101"} 4398046511104
# EOF
"#;
        assert_eq!(text(&families), want);
    }
}
