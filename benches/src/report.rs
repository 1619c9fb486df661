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

/// What a part has measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    part: String,
    text: String,
    goals: Vec<Goal>,
}

impl Report {
    /// Nothing yet, of this part.
    pub(crate) fn of(part: impl Into<String>) -> Self {
        Self {
            part: part.into(),
            ..Self::default()
        }
    }

    /// A heading with a table.
    pub(crate) fn table<const N: usize>(
        &mut self,
        heading: &str,
        columns: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) {
        let text = &mut self.text;
        let _ = write!(text, "\n### {heading}\n\n| {} |\n|", columns.join(" | "));
        for column in 0..N {
            text.push_str(if column == 0 { " --- |" } else { " ---: |" });
        }
        text.push('\n');
        for row in rows {
            let _ = writeln!(text, "| {} |", row.join(" | "));
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
    pub(crate) fn missed(&self) -> impl Iterator<Item = &str> {
        let missed = self.goals.iter().filter(|goal| !goal.is_met());
        missed.map(|goal| goal.name.as_str())
    }

    /// All of it, the goals first; `about` says on what it was measured.
    pub(crate) fn markdown(&self, about: &str) -> String {
        let mut text = format!("\n## {}\n\n{about}\n", self.part);
        if !self.goals.is_empty() {
            text.push_str("\n| goal | limit | measured | |\n| --- | ---: | ---: | --- |\n");
        }
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

/// A file with a region for every part, between marks that a reader does not see. A run that measures
/// some parts replaces theirs and leaves the others as they are.
#[derive(Debug)]
pub(crate) struct Page(String);

impl Page {
    /// The file's text. Says before anything is measured whether every one of `parts` has a region.
    ///
    /// # Errors
    /// Which mark is missing.
    pub(crate) fn new<'a>(
        text: String,
        parts: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, String> {
        let page = Self(text);
        for part in parts {
            page.region(part)?;
        }
        Ok(page)
    }

    /// What stands before, in and after a part's region.
    fn region(&self, part: &str) -> Result<[&str; 3], String> {
        let [begin, end] = marks(part);
        let missing = |mark: &str| format!("the file has no line {}", mark.trim_end());
        let (before, rest) = (self.0.split_once(&begin)).ok_or_else(|| missing(&begin))?;
        let (inside, after) = rest.split_once(&end).ok_or_else(|| missing(&end))?;
        Ok([before, inside, after])
    }

    /// Puts a part's text into its region.
    ///
    /// # Errors
    /// Which mark is missing.
    pub(crate) fn put(&mut self, part: &str, text: &str) -> Result<(), String> {
        let [begin, end] = marks(part);
        let [before, _, after] = self.region(part)?;
        self.0 = format!("{before}{begin}{text}{end}{after}");
        Ok(())
    }

    /// The text as it is now.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

/// What stands around the region of a part.
fn marks(part: &str) -> [String; 2] {
    ["", "/"].map(|slash| format!("<!-- {slash}measured: {part} -->\n"))
}

#[cfg(test)]
mod tests {
    use super::{Goal, Limit, Page, Report};

    #[test]
    fn a_goal_is_met_or_missed() {
        let mut report = Report::default();
        report.goal(Goal::new("at the limit", 1.25, Limit::AtMost(1.25)));
        report.goal(Goal::new("above", 1.26, Limit::AtMost(1.25)));
        report.goal(Goal::new("below", 1.2, Limit::AtLeast(1.3)));
        report.goal(Goal::new("nothing measured", f64::NAN, Limit::AtLeast(1.3)));
        let missed: Vec<_> = report.missed().collect();
        assert_eq!(missed, ["above", "below", "nothing measured"]);
    }

    /// Two parts, of which one has been measured.
    #[test]
    fn only_the_region_of_what_was_measured_changes() {
        let old = "# Speed\n<!-- measured: one -->\nold one\n<!-- /measured: one -->\nbetween\n\
            <!-- measured: two -->\nold two\n<!-- /measured: two -->\nend\n";
        let mut report = Report::of("two");
        report.goal(Goal::new("a goal", 1.0, Limit::AtMost(2.0)));
        report.table("Table", ["a", "b"], [["1".to_owned(), "2".to_owned()]]);
        let mut page = Page::new(old.to_owned(), ["two"]).unwrap();
        for _ in 0..2 {
            page.put("two", &report.markdown("A machine.")).unwrap();
        }
        let new = old.replace(
            "old two\n",
            "\n## two\n\nA machine.\n\n| goal | limit | measured | |\n| --- | ---: | ---: | --- |\n\
             | a goal | ≤ 2 | 1.00 | met |\n\n### Table\n\n| a | b |\n| --- | ---: |\n| 1 | 2 |\n",
        );
        assert_eq!(page.text(), new);
    }

    #[test]
    fn a_part_without_a_region_is_found_before_it_is_measured() {
        let text = "<!-- measured: one -->\n<!-- /measured: one -->\n<!-- measured: two -->\n";
        assert!(Page::new(text.to_owned(), ["one"]).is_ok());
        let missing = |part| Page::new(text.to_owned(), [part]).unwrap_err();
        assert_eq!(
            missing("two"),
            "the file has no line <!-- /measured: two -->"
        );
        assert_eq!(
            missing("three"),
            "the file has no line <!-- measured: three -->"
        );
    }
}
