//! Numbers as a person reads them at a glance. Exact values are what JSON is for.

/// Bytes in powers of 1024, three digits at most: `812M`, `1.5G`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 7] = ["B", "K", "M", "G", "T", "P", "E"];
    let mut value = n as f64;
    let mut unit = 0;
    // 999.5 would print as a fourth digit.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit > 0 && value < 9.95 {
        format!("{value:.1}{}", UNITS[unit])
    } else {
        format!("{value:.0}{}", UNITS[unit])
    }
}

/// Seconds as the two largest units: `42s`, `3m04s`, `5h02m`, `12d03h`.
pub fn seconds(n: u64) -> String {
    match n {
        0..60 => format!("{n}s"),
        60..3600 => format!("{}m{:02}s", n / 60, n % 60),
        3600..86_400 => format!("{}h{:02}m", n / 3600, n % 3600 / 60),
        _ => format!("{}d{:02}h", n / 86_400, n % 86_400 / 3600),
    }
}

/// Thousandths as a decimal number: 1500 is `1.5`, 2000 is `2`.
pub fn milli(n: u32) -> String {
    let text = format!("{}.{:03}", n / 1000, n % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
