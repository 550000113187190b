//! Samples to medians, medians to rows, rows to a table and JSON.

use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Nanoseconds.
    Ns,
    /// Bytes.
    Bytes,
}

/// What must hold of a row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// vm-boot's figure is at most this.
    Most(f64),
    /// vm-boot's figure is at most this many times QEMU's.
    TimesQemu(f64),
    /// vm-boot's figure is at most this much above the native one.
    AboveNative(f64),
}

/// One line of the report.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The part of the bench.
    pub group: &'static str,
    /// What was measured.
    pub name: String,
    /// Of the medians.
    pub unit: Unit,
    /// Median by competitor: `vm-boot`, `qemu`, `native`.
    pub medians: BTreeMap<&'static str, f64>,
    /// Number of samples behind a median.
    pub runs: usize,
    /// What is asked for, if anything.
    pub limit: Option<Limit>,
    /// Whether it holds, where it can be told.
    pub holds: Option<bool>,
}

/// Samples by row, in the order in which rows came first.
#[derive(Default)]
pub struct Samples {
    rows: Vec<Sampled>,
}

struct Sampled {
    group: &'static str,
    name: String,
    unit: Unit,
    samples: BTreeMap<&'static str, Vec<f64>>,
}

impl Samples {
    /// Adds a sample.
    pub fn add(&mut self, group: &'static str, name: &str, unit: Unit, competitor: &'static str, value: f64) {
        let found = self.rows.iter().position(|row| row.group == group && row.name == name);
        let at = found.unwrap_or_else(|| {
            self.rows.push(Sampled { group, name: name.to_string(), unit, samples: BTreeMap::new() });
            self.rows.len() - 1
        });
        self.rows[at].samples.entry(competitor).or_default().push(value);
    }

    /// The rows, each with the limit that `limit` gives for its group and name.
    pub fn rows(self, limit: impl Fn(&str, &str) -> Option<Limit>) -> Vec<Row> {
        let row = |Sampled { group, name, unit, samples }| {
            let runs = samples.values().map(Vec::len).max().unwrap_or(0);
            let medians: BTreeMap<&'static str, f64> =
                samples.into_iter().map(|(competitor, values)| (competitor, median(values))).collect();
            let limit = limit(group, &name);
            let holds = limit.and_then(|limit| holds(limit, &medians));
            Row { group, name, unit, medians, runs, limit, holds }
        };
        self.rows.into_iter().map(row).collect()
    }
}

/// The middle one, or the mean of the two in the middle. Zero of nothing.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

fn holds(limit: Limit, medians: &BTreeMap<&'static str, f64>) -> Option<bool> {
    let ours = medians.get("vm-boot")?;
    let most = match limit {
        Limit::Most(most) => most,
        Limit::TimesQemu(times) => times * medians.get("qemu")?,
        Limit::AboveNative(above) => above + medians.get("native")?,
    };
    Some(*ours <= most)
}

/// A figure with three or four digits and its unit.
fn figure(value: f64, unit: Unit) -> String {
    let (value, unit) = match unit {
        Unit::Bytes => (value / f64::from(1 << 20), "MiB"),
        Unit::Ns if value < 1e3 => (value, "ns"),
        Unit::Ns if value < 1e6 => (value / 1e3, "us"),
        Unit::Ns if value < 1e9 => (value / 1e6, "ms"),
        Unit::Ns => (value / 1e9, "s"),
    };
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.digits$} {unit}")
}

fn limit_text(limit: Limit, unit: Unit) -> String {
    match limit {
        Limit::Most(most) => format!("at most {}", figure(most, unit)),
        Limit::TimesQemu(times) => format!("at most {times} x qemu"),
        Limit::AboveNative(above) => format!("at most {} above native", figure(above, unit)),
    }
}

fn ratio(row: &Row, other: &str) -> Option<f64> {
    Some(row.medians.get("vm-boot")? / row.medians.get(other).filter(|v| **v > 0.0)?)
}

fn geometric_mean(values: &[f64]) -> f64 {
    (values.iter().map(|v| v.ln()).sum::<f64>() / values.len() as f64).exp()
}

/// The table that is printed, a block a group.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    let mut groups: Vec<&str> = rows.iter().map(|row| row.group).collect();
    groups.dedup();
    for group in groups {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.group == group).collect();
        write_group(&mut text, group, &rows);
    }
    text
}

fn write_group(text: &mut String, group: &str, rows: &[&Row]) {
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "\n{group:<28} {:>10} {:>10} {:>10} {:>9} {:>9}",
        "vm-boot", "qemu", "native", "/ qemu", "/ native"
    );
    for row in rows {
        let value = |who| row.medians.get(who).map_or_else(String::new, |v| figure(*v, row.unit));
        let times = |who| ratio(row, who).map_or_else(String::new, |r| format!("{r:.2}"));
        let verdict = match (row.limit, row.holds) {
            (Some(limit), Some(true)) => format!("  holds: {}", limit_text(limit, row.unit)),
            (Some(limit), Some(false)) => format!("  MISSED: {}", limit_text(limit, row.unit)),
            _ => String::new(),
        };
        let _ = writeln!(
            text,
            "  {:<26} {:>10} {:>10} {:>10} {:>9} {:>9}{verdict}",
            row.name,
            value("vm-boot"),
            value("qemu"),
            value("native"),
            times("qemu"),
            times("native")
        );
    }
    let mean = |who| {
        let ratios: Vec<f64> = rows.iter().filter_map(|row| ratio(row, who)).collect();
        if ratios.len() > 4 { format!("{:.2}", geometric_mean(&ratios)) } else { String::new() }
    };
    if !mean("qemu").is_empty() {
        let _ = writeln!(text, "  {:<59} {:>9} {:>9}", "geometric mean", mean("qemu"), mean("native"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Samples {
        let mut samples = Samples::default();
        for value in [5.0, 1.0, 3.0] {
            samples.add("g", "r", Unit::Ns, "vm-boot", value);
        }
        samples.add("g", "r", Unit::Ns, "qemu", 2.0);
        samples.add("g", "r", Unit::Ns, "qemu", 4.0);
        samples
    }

    #[test]
    fn medians_are_taken_by_competitor() {
        let rows = samples().rows(|_, _| None);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].medians, BTreeMap::from([("vm-boot", 3.0), ("qemu", 3.0)]));
        assert_eq!(rows[0].holds, None);
    }

    #[test]
    fn limits_are_held_against_what_they_name() {
        let verdict = |limit| samples().rows(|_, _| Some(limit))[0].holds;
        assert_eq!(verdict(Limit::Most(3.0)), Some(true));
        assert_eq!(verdict(Limit::Most(2.9)), Some(false));
        assert_eq!(verdict(Limit::TimesQemu(1.0)), Some(true));
        assert_eq!(verdict(Limit::TimesQemu(0.9)), Some(false));
        assert_eq!(verdict(Limit::AboveNative(10.0)), None, "there is no native figure");
    }

    #[test]
    fn figures_have_a_fitting_unit() {
        assert_eq!(figure(35.26, Unit::Ns), "35.3 ns");
        assert_eq!(figure(1_234.0, Unit::Ns), "1.23 us");
        assert_eq!(figure(3.21e9, Unit::Ns), "3.21 s");
        assert_eq!(figure(12.0 * 1048576.0, Unit::Bytes), "12.0 MiB");
    }

    #[test]
    fn a_missed_limit_is_seen_in_the_table() {
        let rows = samples().rows(|_, _| Some(Limit::Most(1.0)));
        assert!(table(&rows).contains("MISSED: at most 1.00 ns"), "{}", table(&rows));
    }
}
