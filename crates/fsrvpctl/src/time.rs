//! Moments, durations and numbers for people.

use std::time::{SystemTime, UNIX_EPOCH};

/// "58 s", "12 min", "3 h", "4 d".
pub(crate) fn duration(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// "340 ms", "12.3 s", "4 min".
pub(crate) fn milliseconds(ms: u64) -> String {
    match ms {
        0..=999 => format!("{ms} ms"),
        1_000..=119_999 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ => duration(ms / 1_000),
    }
}

/// Seconds since the Unix epoch of an RFC 3339 moment in UTC, as the daemon writes it.
pub(crate) fn unix_seconds(rfc3339: &str) -> Option<u64> {
    let time = humantime::parse_rfc3339(rfc3339).ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// How long ago a moment was.
pub(crate) fn ago(rfc3339: &str, now: SystemTime) -> String {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    match unix_seconds(rfc3339) {
        Some(then) => duration(now.saturating_sub(then)),
        None => "?".to_owned(),
    }
}

/// Date and time without the ornaments: `2026-11-22 06:19:06`.
pub(crate) fn plain(rfc3339: &str) -> String {
    rfc3339.trim_end_matches('Z').replacen('T', " ", 1)
}

/// "1 set", "3 sets".
pub(crate) fn counted(number: usize, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {one}s"),
    }
}

/// "1.2 GiB"
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    let mut tenths = u128::from(bytes).saturating_mul(10) / 1_024;
    let mut unit = 0;
    while tenths >= 10_240 && unit < UNITS.len() - 1 {
        tenths /= 1_024;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn words() {
        assert_eq!(duration(119), "119 s");
        assert_eq!(duration(7_199), "119 min");
        assert_eq!(duration(172_800), "2 d");
        assert_eq!(milliseconds(999), "999 ms");
        assert_eq!(milliseconds(12_345), "12.3 s");
        assert_eq!(bytes(1_023), "1023 B");
        assert_eq!(bytes(1_536), "1.5 KiB");
        assert_eq!(bytes(8 << 30), "8.0 GiB");
        assert_eq!(bytes(u64::MAX), "15.9 EiB");
        let now = UNIX_EPOCH + Duration::from_secs(1_709_251_199 + 300);
        assert_eq!(ago("2024-02-29T23:59:59Z", now), "5 min");
        assert_eq!(plain("2024-02-29T23:59:59Z"), "2024-02-29 23:59:59");
    }
}
