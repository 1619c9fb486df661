//! Series of figures and their medians.

use std::time::{Duration, Instant};

/// A series of figures of one kind.
#[derive(Debug, Clone, Default)]
pub(crate) struct Series(Vec<f64>);

impl Series {
    /// One more.
    pub(crate) fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    /// One more time, in milliseconds.
    pub(crate) fn push_time(&mut self, time: Duration) {
        self.push(time.as_secs_f64() * 1_000.0);
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The figure below which `share` of the series lies; not a number when there is none.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index"
        )]
        let at = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
        sorted.get(at).copied().unwrap_or(f64::NAN)
    }

    /// The middle one.
    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }
}

/// Does `work`, and notes in milliseconds how long it took if it succeeded.
pub(crate) fn timed<T, E>(
    series: &mut Series,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let start = Instant::now();
    let result = work()?;
    series.push_time(start.elapsed());
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::Series;

    #[test]
    fn quantiles_are_members_of_the_series() {
        let mut series = Series::default();
        assert!(series.median().is_nan());
        [5.0, 1.0, 9.0, 3.0, 7.0]
            .into_iter()
            .for_each(|figure| series.push(figure));
        assert_eq!(
            (series.median(), series.quantile(0.9), series.quantile(0.0)),
            (5.0, 9.0, 1.0)
        );
    }
}
