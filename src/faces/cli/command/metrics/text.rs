//! OpenMetrics text (<https://github.com/prometheus/OpenMetrics>, version 1.0.0), and the older text format of Prometheus
//! (<https://prometheus.io/docs/instrumenting/exposition_formats>, version 0.0.4), which is the only one that node_exporter's
//! textfile collector and promtool read. They differ in what a counter's family is called.

use std::borrow::Cow;
use std::fmt::Write;

use hostel_engine::facade::{Family, FamilyKind, Sample};

/// In which words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Openmetrics,
    Prometheus,
}

impl Format {
    /// What the text is, for HTTP.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Openmetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// The one for who accepts this, by HTTP. Who accepts anything gets what a person's browser shows.
    pub fn for_who_accepts(accept: &str) -> Self {
        match accept.contains("application/openmetrics-text") {
            true => Self::Openmetrics,
            false => Self::Prometheus,
        }
    }
}

/// A text that is being written, a family after the other.
#[derive(Debug)]
pub struct Text {
    format: Format,
    out: String,
}

impl Text {
    /// Nothing yet.
    pub const fn new(format: Format) -> Self {
        Self {
            format,
            out: String::new(),
        }
    }

    /// A family; one without samples is left out.
    pub fn add(&mut self, family: &Family) {
        if family.samples.is_empty() {
            return;
        }
        let (kind, ending) = match family.kind {
            FamilyKind::Gauge => ("gauge", ""),
            FamilyKind::Counter => ("counter", "_total"),
        };
        let (name, help) = (family.name, escaped(family.help));
        let called = match self.format {
            Format::Openmetrics => "",
            Format::Prometheus => ending,
        };
        // Writing to a string never fails.
        let _ = writeln!(self.out, "# TYPE {name}{called} {kind}\n# HELP {name}{called} {help}");
        for sample in &family.samples {
            let _ = write!(self.out, "{name}{ending}");
            self.labels(sample);
            let _ = writeln!(self.out, " {}", sample.value);
        }
    }

    fn labels(&mut self, sample: &Sample) {
        let mut before = '{';
        for (name, value) in &sample.labels {
            let _ = write!(self.out, "{before}{name}=\"{}\"", escaped(value));
            before = ',';
        }
        if before == ',' {
            self.out.push('}');
        }
    }

    /// All of it.
    pub fn end(mut self) -> String {
        if self.format == Format::Openmetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }
}

fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['\\', '"', '\n']) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
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
        let of_host = Family {
            samples: vec![Sample {
                labels: Vec::new(),
                value: 3.0,
            }],
            ..family("hostel_ledger_behind_records", FamilyKind::Gauge, 0.0)
        };
        let families = [
            of_host,
            family("hostel_ve_cpu_seconds", FamilyKind::Counter, 0.25),
            family("hostel_ve_memory_bytes", FamilyKind::Gauge, 4_398_046_511_104.0),
            empty,
        ];
        let want = r#"# TYPE hostel_ledger_behind_records gauge
# HELP hostel_ledger_behind_records A thing.
hostel_ledger_behind_records 3
# TYPE hostel_ve_cpu_seconds counter
# HELP hostel_ve_cpu_seconds A thing.
hostel_ve_cpu_seconds_total{ve="web\"1\\\n",id="101"} 0.25
# TYPE hostel_ve_memory_bytes gauge
# HELP hostel_ve_memory_bytes A thing.
hostel_ve_memory_bytes{ve="web\"1\\\n",id="101"} 4398046511104
# EOF
"#;
        let text = |format| {
            let mut text = Text::new(format);
            families.iter().for_each(|family| text.add(family));
            text.end()
        };
        assert_eq!(text(Format::Openmetrics), want);
        let older = want
            .replace("TYPE hostel_ve_cpu_seconds ", "TYPE hostel_ve_cpu_seconds_total ")
            .replace("HELP hostel_ve_cpu_seconds ", "HELP hostel_ve_cpu_seconds_total ")
            .replace("# EOF\n", "");
        assert_eq!(text(Format::Prometheus), older);
        let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
        assert_eq!(Format::for_who_accepts(accept), Format::Openmetrics);
        assert_eq!(Format::for_who_accepts("*/*"), Format::Prometheus);
    }
}
