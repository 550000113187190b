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
    /// A ratio.
    Times,
    /// Events.
    Count,
}

/// What must hold of a row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// vm-boot's figure is at most this.
    Most(f64),
    /// vm-boot's figure is at least this.
    Least(f64),
    /// vm-boot's figure is at most this many times QEMU's.
    TimesQemu(f64),
    /// vm-boot is at least this many times as fast as QEMU.
    Speed(f64),
    /// vm-boot's figure is at most this much above the native one.
    AboveNative(f64),
}

/// One line of the report.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The part of the bench.
    pub group: String,
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
    group: String,
    name: String,
    unit: Unit,
    samples: BTreeMap<&'static str, Vec<f64>>,
}

impl Samples {
    /// Adds a sample.
    pub fn add(&mut self, group: &str, name: &str, unit: Unit, competitor: &'static str, value: f64) {
        let found = self.rows.iter().position(|row| row.group == group && row.name == name);
        let at = found.unwrap_or_else(|| {
            let (group, name) = (group.to_string(), name.to_string());
            self.rows.push(Sampled { group, name, unit, samples: BTreeMap::new() });
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
            let limit = limit(&group, &name);
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
        Limit::Least(least) => return Some(*ours >= least),
        Limit::TimesQemu(times) => times * medians.get("qemu")?,
        Limit::Speed(times) => medians.get("qemu")? / times,
        Limit::AboveNative(above) => above + medians.get("native")?,
    };
    Some(*ours <= most)
}

/// A figure with three or four digits and its unit.
fn figure(value: f64, unit: Unit) -> String {
    let (value, unit) = match unit {
        Unit::Bytes => (value / f64::from(1 << 20), "MiB"),
        Unit::Times => (value, "x"),
        Unit::Count => return format!("{value:.0}"),
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
        Limit::Least(least) => format!("at least {}", figure(least, unit)),
        Limit::TimesQemu(times) => format!("at most {times} of qemu's"),
        Limit::Speed(times) => format!("at least {times} x qemu"),
        Limit::AboveNative(above) => format!("at most {} above native", figure(above, unit)),
    }
}

/// How many times as fast vm-boot is.
fn speed(row: &Row, other: &str) -> Option<f64> {
    Some(row.medians.get(other)? / row.medians.get("vm-boot").filter(|v| **v > 0.0)?)
}

/// The geometric mean of some ratios; 0 of none.
pub fn geometric_mean(values: &[f64]) -> f64 {
    if values.is_empty() {
        0.0
    } else {
        (values.iter().map(|v| v.ln()).sum::<f64>() / values.len() as f64).exp()
    }
}

/// The mean of a group of programs.
#[derive(Clone, Debug, Serialize)]
pub struct Mean {
    /// The part of the bench.
    pub group: String,
    /// Geometric mean of vm-boot's speeds, in those of QEMU.
    pub of_qemu: f64,
    /// The same in those of the host.
    pub of_native: f64,
    /// What the first must be at least, if anything is asked for.
    pub limit: Option<f64>,
    /// Whether it holds.
    pub holds: Option<bool>,
}

/// The means of those groups all of whose rows have figures of vm-boot, QEMU and the host, and of all these rows.
pub fn means(rows: &[Row], limit: impl Fn(&str) -> Option<f64>) -> Vec<Mean> {
    let full = |row: &&Row| ["vm-boot", "qemu", "native"].iter().all(|who| row.medians.contains_key(who));
    let rows: Vec<&Row> = rows.iter().filter(full).collect();
    let mean = |group: &str, rows: &[&Row]| {
        let mean_of =
            |who| geometric_mean(&rows.iter().filter_map(|row| speed(row, who)).collect::<Vec<_>>());
        let (of_qemu, of_native, limit) = (mean_of("qemu"), mean_of("native"), limit(group));
        Mean {
            group: group.to_string(),
            of_qemu,
            of_native,
            limit,
            holds: limit.map(|limit| of_qemu >= limit),
        }
    };
    let of_group = |group: &str| {
        let rows: Vec<&Row> = rows.iter().copied().filter(|row| row.group == group).collect();
        mean(group, &rows)
    };
    let mut means: Vec<Mean> = groups(rows.iter().copied()).into_iter().map(of_group).collect();
    if means.len() > 1 {
        means.push(mean("all programs", &rows));
    }
    means
}

/// The groups, in the order in which they came first.
fn groups<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<&'a str> {
    let mut groups: Vec<&str> = Vec::new();
    for row in rows {
        if !groups.contains(&row.group.as_str()) {
            groups.push(&row.group);
        }
    }
    groups
}

/// The table that is printed, a block a group, and the means below.
pub fn table(rows: &[Row], means: &[Mean]) -> String {
    let mut text = String::new();
    for group in groups(rows.iter()) {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.group == group).collect();
        write_group(&mut text, group, &rows);
    }
    if !means.is_empty() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\ngeometric means of speeds{:>38} {:>9}", "x qemu", "x native");
    }
    for Mean { group, of_qemu, of_native, limit, holds } in means {
        let limit = limit.map_or_else(String::new, |limit| format!("at least {limit} x qemu"));
        let _ = writeln!(text, "  {group:<59} {of_qemu:>9.2} {of_native:>9.2}{}", verdict(*holds, &limit));
    }
    text
}

fn verdict(holds: Option<bool>, limit: &str) -> String {
    match holds {
        Some(true) => format!("  holds: {limit}"),
        Some(false) => format!("  MISSED: {limit}"),
        None => String::new(),
    }
}

fn write_group(text: &mut String, group: &str, rows: &[&Row]) {
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "\n{group:<28} {:>10} {:>10} {:>10} {:>9} {:>9}",
        "vm-boot", "qemu", "native", "x qemu", "x native"
    );
    for row in rows {
        let value = |who| row.medians.get(who).map_or_else(String::new, |v| figure(*v, row.unit));
        let times = |who| speed(row, who).map_or_else(String::new, |r| format!("{r:.2}"));
        let limit = row.limit.map_or_else(String::new, |limit| limit_text(limit, row.unit));
        let _ = writeln!(
            text,
            "  {:<26} {:>10} {:>10} {:>10} {:>9} {:>9}{}",
            row.name,
            value("vm-boot"),
            value("qemu"),
            value("native"),
            times("qemu"),
            times("native"),
            verdict(row.holds, &limit)
        );
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
        assert_eq!(verdict(Limit::Speed(1.0)), Some(true));
        assert_eq!(verdict(Limit::Speed(1.1)), Some(false));
        assert_eq!(verdict(Limit::Least(3.1)), Some(false));
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
        assert!(table(&rows, &[]).contains("MISSED: at most 1.00 ns"), "{}", table(&rows, &[]));
    }

    #[test]
    fn means_are_of_speeds_and_by_group() {
        let mut samples = Samples::default();
        for (name, group, ours, qemu) in
            [("a", "int", 1.0, 2.0), ("b", "int", 1.0, 8.0), ("c", "float", 2.0, 6.0)]
        {
            for (who, value) in [("vm-boot", ours), ("qemu", qemu), ("native", 0.5)] {
                samples.add(group, name, Unit::Ns, who, value);
            }
        }
        samples.add("boot", "cpu", Unit::Ns, "vm-boot", 1.0);
        let means = means(&samples.rows(|_, _| None), |group| (group == "int").then_some(4.5));
        let found: Vec<_> = means.iter().map(|m| (m.group.as_str(), m.of_qemu.round(), m.holds)).collect();
        assert_eq!(found, [("int", 4.0, Some(false)), ("float", 3.0, None), ("all programs", 4.0, None)]);
    }
}
