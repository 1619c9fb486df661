//! What was measured, as Markdown, and which goals are met.

use std::fmt::Write;

/// What a ratio has to be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    /// That or less.
    AtMost(f64),
    /// That or more.
    AtLeast(f64),
}

/// A figure with its limit.
#[derive(Debug, Clone)]
pub(crate) struct Goal {
    name: String,
    figure: f64,
    limit: Limit,
}

impl Goal {
    /// A goal and what was reached.
    pub(crate) fn new(name: impl Into<String>, figure: f64, limit: Limit) -> Self {
        Self {
            name: name.into(),
            figure,
            limit,
        }
    }

    /// Whether it was reached; never by a figure that is not a number.
    fn is_met(&self) -> bool {
        match self.limit {
            Limit::AtMost(limit) => self.figure <= limit,
            Limit::AtLeast(limit) => self.figure >= limit,
        }
    }
}

/// Everything that is to be printed.
#[derive(Debug, Default)]
pub(crate) struct Report {
    text: String,
    goals: Vec<Goal>,
}

impl Report {
    /// A heading with a table.
    pub(crate) fn table<const N: usize>(
        &mut self,
        heading: &str,
        columns: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) {
        let _ = write!(
            self.text,
            "\n### {heading}\n\n| {} |\n|",
            columns.join(" | ")
        );
        for column in 0..N {
            self.text
                .push_str(if column == 0 { " --- |" } else { " ---: |" });
        }
        self.text.push('\n');
        for row in rows {
            let _ = writeln!(self.text, "| {} |", row.join(" | "));
        }
    }

    /// A paragraph below a table.
    pub(crate) fn note(&mut self, text: impl AsRef<str>) {
        let _ = writeln!(self.text, "\n{}", text.as_ref());
    }

    /// A goal.
    pub(crate) fn goal(&mut self, goal: Goal) {
        self.goals.push(goal);
    }

    /// The names of the goals that were missed.
    pub(crate) fn missed(&self) -> Vec<&str> {
        self.goals
            .iter()
            .filter(|goal| !goal.is_met())
            .map(|goal| goal.name.as_str())
            .collect()
    }

    /// All of it, the goals first.
    pub(crate) fn markdown(&self, about: &str) -> String {
        let mut text =
            format!("{about}\n\n| goal | limit | measured | |\n| --- | ---: | ---: | --- |\n");
        for goal in &self.goals {
            let limit = match goal.limit {
                Limit::AtMost(limit) => format!("≤ {limit}"),
                Limit::AtLeast(limit) => format!("≥ {limit}"),
            };
            let (name, figure) = (&goal.name, goal.figure);
            let verdict = if goal.is_met() { "met" } else { "**missed**" };
            let _ = writeln!(text, "| {name} | {limit} | {figure:.2} | {verdict} |");
        }
        text.push_str(&self.text);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{Goal, Limit, Report};

    #[test]
    fn a_goal_is_met_or_missed() {
        let mut report = Report::default();
        report.goal(Goal::new("at the limit", 1.25, Limit::AtMost(1.25)));
        report.goal(Goal::new("above", 1.26, Limit::AtMost(1.25)));
        report.goal(Goal::new("below", 1.2, Limit::AtLeast(1.3)));
        report.goal(Goal::new("nothing measured", f64::NAN, Limit::AtLeast(1.3)));
        assert_eq!(report.missed(), ["above", "below", "nothing measured"]);
    }
}
