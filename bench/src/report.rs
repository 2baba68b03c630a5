//! How figures are printed: a line each, for people or as JSON.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

/// Prints figures as they come.
pub(crate) struct Report {
    json: bool,
}

/// One measurement, filled in as it is made.
pub(crate) struct Line<'a> {
    report: &'a mut Report,
    name: String,
    figures: Map<String, Value>,
}

impl Report {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) fn line(&mut self, name: impl Into<String>) -> Line<'_> {
        Line {
            report: self,
            name: name.into(),
            figures: Map::new(),
        }
    }
}

impl Line<'_> {
    /// A rate or count, rounded.
    pub(crate) fn number(mut self, name: &str, value: f64) -> Self {
        let rounded = if value >= 100.0 {
            json!(value.round() as i64)
        } else {
            json!((value * 100.0).round() / 100.0)
        };
        self.figures.insert(name.to_owned(), rounded);
        self
    }

    /// Percentiles of latencies that were recorded in microseconds.
    pub(crate) fn latency(self, histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        self.number("p50_ms", at(0.5))
            .number("p95_ms", at(0.95))
            .number("p99_ms", at(0.99))
            .number("p999_ms", at(0.999))
    }

    pub(crate) fn print(self) {
        let Self {
            report,
            name,
            mut figures,
        } = self;
        if report.json {
            figures.insert("measurement".to_owned(), json!(name));
            println!("{}", Value::Object(figures));
            return;
        }
        let figures: Vec<String> = figures
            .iter()
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        println!("{name:<34} {}", figures.join("  "));
    }
}

/// A histogram of microseconds up to a minute, to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are valid")
}

/// Records a latency.
pub(crate) fn record(histogram: &mut Histogram<u64>, latency: Duration) {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
    histogram.saturating_record(micros.max(1));
}
