//! Days of the calendar, for keys that are good for a time.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use toml::value::Datetime;

/// A day, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day {
    /// Year.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
}

impl Day {
    /// The host's date.
    pub fn today() -> Day {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Day::after_epoch(since.as_secs() / 86_400)
    }

    /// The day that a trust file names.
    pub(super) fn of(found: Datetime) -> Result<Day, String> {
        match found {
            Datetime { date: Some(date), time: None, offset: None } => {
                Ok(Day { year: date.year, month: date.month, day: date.day })
            }
            other => Err(format!("not-after: expected a day as in 2027-06-30, found {other}")),
        }
    }

    /// So many days after 1970-01-01.
    fn after_epoch(mut days: u64) -> Day {
        let leap =
            |year: u16| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let mut year = 1970;
        while days >= 365 + u64::from(leap(year)) && year < u16::MAX {
            days -= 365 + u64::from(leap(year));
            year += 1;
        }
        let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30];
        let mut month = 1;
        for length in lengths {
            if days < length {
                break;
            }
            days -= length;
            month += 1;
        }
        // In the last year that a number holds, the last day stands for all that follow.
        Day { year, month, day: days.min(30) as u8 + 1 }
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (days, text) in [
            (0, "1970-01-01"),
            (58, "1970-02-28"),
            (59, "1970-03-01"),
            (789, "1972-02-29"),
            (11_016, "2000-02-29"),
            (20_778, "2026-11-21"),
            (20_818, "2026-12-31"),
            (20_819, "2027-01-01"),
            (47_540, "2100-02-28"),
            (47_541, "2100-03-01"),
        ] {
            assert_eq!(Day::after_epoch(days).to_string(), text, "{days}");
        }
        assert_eq!(Day::after_epoch(u64::MAX).year, u16::MAX);
    }
}
