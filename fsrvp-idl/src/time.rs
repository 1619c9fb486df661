//! FILETIME.

use serde::{Deserialize, Serialize};
use std::fmt;

/// \[MS-DTYP 2.3.3\] FILETIME: 100-nanosecond intervals since 1601-01-01 UTC.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct FileTime(pub u64);

/// Intervals between 1601-01-01 and 1970-01-01.
const UNIX_EPOCH: u64 = 116_444_736_000_000_000;

impl FileTime {
    /// From a time after the Unix epoch.
    #[must_use]
    pub fn from_unix(since_epoch: std::time::Duration) -> Self {
        let ticks = u64::try_from(since_epoch.as_nanos() / 100).unwrap_or(u64::MAX);
        Self(ticks.saturating_add(UNIX_EPOCH))
    }

    /// Whole seconds since the Unix epoch; zero for earlier times.
    #[must_use]
    pub const fn unix_seconds(self) -> u64 {
        self.0.saturating_sub(UNIX_EPOCH) / 10_000_000
    }
}

/// A moment in the Gregorian calendar, UTC, to the second. As text RFC 3339:
/// `2024-02-29T23:59:59Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DateTime {
    /// Year.
    pub year: u64,
    /// Month, from 1.
    pub month: u64,
    /// Day of the month, from 1.
    pub day: u64,
    /// Hour.
    pub hour: u64,
    /// Minute.
    pub minute: u64,
    /// Second.
    pub second: u64,
}

impl DateTime {
    /// From seconds since the Unix epoch.
    #[must_use]
    pub const fn from_unix_seconds(seconds: u64) -> Self {
        let (year, month, day) = civil(seconds / 86_400);
        Self {
            year,
            month,
            day,
            hour: seconds / 3_600 % 24,
            minute: seconds / 60 % 60,
            second: seconds % 60,
        }
    }
}

impl From<FileTime> for DateTime {
    fn from(time: FileTime) -> Self {
        Self::from_unix_seconds(time.unix_seconds())
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = self;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

/// The proleptic Gregorian date of a number of days after 1970-01-01: counted in years that begin
/// in March, so that the leap day is the last of its year.
const fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    // Days from 0000-03-01 to 1970-01-01.
    let days = days.saturating_add(719_468);
    let era = days / DAYS_OF_400_YEARS;
    let day_of_era = days % DAYS_OF_400_YEARS;
    let leap_days_before = day_of_era / 1_460 + day_of_era / (DAYS_OF_400_YEARS - 1);
    let year_of_era = (day_of_era + day_of_era / 36_524 - leap_days_before) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let january_or_february = if month <= 2 { 1 } else { 0 };
    (era * 400 + year_of_era + january_or_february, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3339() {
        // Expected values from date(1): `date -u -d @N +%Y-%m-%dT%H:%M:%SZ`.
        for (unix, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            let time = FileTime::from_unix(std::time::Duration::from_secs(unix));
            assert_eq!(DateTime::from(time).to_string(), text);
        }
    }
}
