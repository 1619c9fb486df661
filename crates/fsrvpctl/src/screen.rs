//! What is shown: tables and fields that fit the terminal, colours only where there is one.

use anstyle::{AnsiColor, Style};
use std::io::Write as _;

/// Columns where nobody says how many there are.
const COLUMNS: usize = 80;
/// Fewest columns that are made use of.
const FEWEST: usize = 40;
/// Between two columns of a table.
const GAP: usize = 2;

/// Emphasis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Heading,
    Good,
    Warning,
    Bad,
    Faint,
}

impl Tone {
    const fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Heading => Style::new().bold(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Warning => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Faint => Style::new().dimmed(),
        }
    }

    /// Of the status of a set.
    pub(crate) fn of_status(status: &str) -> Self {
        match status {
            "recovered" => Self::Good,
            "exposed" | "committed" => Self::Plain,
            _ => Self::Warning,
        }
    }
}

/// Collects what is shown.
#[derive(Debug)]
pub(crate) struct Screen {
    json: bool,
    width: usize,
    text: String,
}

/// A cell of a table.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self {
            text: text.into(),
            tone: Tone::Plain,
        }
    }
}

impl Cell {
    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self {
            text: text.into(),
            tone,
        }
    }
}

impl Screen {
    /// Of the standard output.
    pub(crate) fn of_stdout(json: bool) -> Self {
        Self::new(json, columns(std::io::stdout()))
    }

    /// Of the standard error output.
    pub(crate) fn of_stderr() -> Self {
        Self::new(false, columns(std::io::stderr()))
    }

    pub(crate) fn new(json: bool, width: usize) -> Self {
        Self {
            json,
            width: width.max(FEWEST),
            text: String::new(),
        }
    }

    pub(crate) const fn width(&self) -> usize {
        self.width
    }

    /// Whether programs read it.
    pub(crate) const fn is_json(&self) -> bool {
        self.json
    }

    /// One JSON document.
    pub(crate) fn json(&mut self, value: &serde_json::Value) {
        self.text.push_str(&value.to_string());
        self.text.push('\n');
    }

    /// Text that is wrapped.
    pub(crate) fn line(&mut self, text: impl AsRef<str>) {
        self.toned(text, Tone::Plain);
    }

    pub(crate) fn toned(&mut self, text: impl AsRef<str>, tone: Tone) {
        for line in wrap(text.as_ref(), self.width) {
            self.put(&line, tone);
            self.text.push('\n');
        }
    }

    pub(crate) fn blank(&mut self) {
        self.text.push('\n');
    }

    pub(crate) fn heading(&mut self, text: impl AsRef<str>) {
        self.toned(text, Tone::Heading);
    }

    /// A text with a head before it, and its further lines below its first.
    pub(crate) fn hanging(&mut self, head: &str, cell: Cell) {
        let widths = [
            length(head).saturating_sub(GAP),
            self.width.saturating_sub(length(head)),
        ];
        self.row(&widths, &[Cell::from(head.trim_end()), cell]);
    }

    /// Names and values, the values below each other.
    pub(crate) fn fields<C: Into<Cell>>(
        &mut self,
        indent: usize,
        fields: impl IntoIterator<Item = (&'static str, C)>,
    ) {
        let fields: Vec<(&str, Cell)> = fields
            .into_iter()
            .map(|(name, value)| (name, value.into()))
            .collect();
        let names = fields.iter().map(|(name, _)| length(name)).max();
        let at = indent + names.unwrap_or_default() + GAP;
        let room = self.width.saturating_sub(at).max(FEWEST / 2);
        for (name, value) in fields {
            let lines = wrap(&value.text, room);
            for (number, line) in lines.iter().enumerate() {
                let name = if number == 0 { name } else { "" };
                self.text.push_str(&" ".repeat(indent));
                self.put(name, Tone::Faint);
                if !line.is_empty() {
                    let pad = at.saturating_sub(indent + length(name));
                    self.text.push_str(&" ".repeat(pad));
                    self.put(line, value.tone);
                }
                self.text.push('\n');
            }
        }
    }

    /// A table whose last column takes the room that is left, and wraps.
    pub(crate) fn table(&mut self, headings: &[&str], rows: Vec<Vec<Cell>>) {
        let columns = headings.len();
        let mut widths: Vec<usize> = headings.iter().map(|heading| length(heading)).collect();
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(length(&cell.text));
            }
        }
        let before: usize = widths
            .iter()
            .take(columns.saturating_sub(1))
            .map(|width| width + GAP)
            .sum();
        let room = self.width.saturating_sub(before);
        if room < FEWEST / 4 {
            return self.records(headings, rows);
        }
        if let Some(last) = widths.last_mut() {
            *last = room;
        }
        let heading = headings
            .iter()
            .map(|heading| Cell::toned(*heading, Tone::Heading));
        self.row(&widths, &heading.collect::<Vec<_>>());
        for row in rows {
            self.row(&widths, &row);
        }
    }

    fn row(&mut self, widths: &[usize], row: &[Cell]) {
        let Some((last, first)) = row.split_last() else {
            return;
        };
        let room = widths.last().copied().unwrap_or(self.width);
        let mut indent = 0;
        for (cell, width) in first.iter().zip(widths) {
            self.put(&cell.text, cell.tone);
            let pad = width.saturating_sub(length(&cell.text)) + GAP;
            self.text.push_str(&" ".repeat(pad));
            indent += width + GAP;
        }
        for (number, line) in wrap(&last.text, room).iter().enumerate() {
            if number > 0 {
                self.text.push_str(&" ".repeat(indent));
            }
            self.put(line, last.tone);
            self.text.push('\n');
        }
    }

    /// The table of a terminal that is too narrow for it: one record below the other.
    fn records(&mut self, headings: &[&str], rows: Vec<Vec<Cell>>) {
        for row in rows {
            for (heading, cell) in headings.iter().zip(row) {
                let text = format!("{heading}: {}", cell.text);
                self.toned(text, cell.tone);
            }
        }
    }

    fn put(&mut self, text: &str, tone: Tone) {
        use std::fmt::Write as _;
        let style = tone.style();
        // Never more than the terminal has been told to show: names come from clients.
        let clean: String = text
            .chars()
            .map(|c| if c.is_control() { '\u{fffd}' } else { c })
            .collect();
        let _ = write!(self.text, "{style}{clean}{style:#}");
    }

    /// What has been collected; colours go where there is no terminal, and with `NO_COLOR`.
    pub(crate) fn finish(&mut self) -> std::io::Result<()> {
        let text = std::mem::take(&mut self.text);
        let mut out = anstream::stdout();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    #[cfg(test)]
    pub(crate) fn plain(&self) -> String {
        anstream::adapter::strip_str(&self.text).to_string()
    }
}

fn columns(stream: impl std::os::fd::AsFd + std::io::IsTerminal) -> usize {
    if !stream.is_terminal() {
        return COLUMNS;
    }
    match rustix::termios::tcgetwinsize(stream.as_fd()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        _ => COLUMNS,
    }
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// Lines of at most `width` characters: between words where there are any, else anywhere.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        // What fits stands as it is: a mark below a word has to stay there.
        if length(paragraph) <= width {
            lines.push(paragraph.to_owned());
            continue;
        }
        let mut line = String::new();
        let indent: String = paragraph.chars().take_while(|c| *c == ' ').collect();
        line.push_str(&indent);
        let mut is_empty = true;
        for word in paragraph.split_whitespace() {
            let mut word: Vec<char> = word.chars().collect();
            if !is_empty && length(&line) + 1 + word.len() > width {
                lines.push(std::mem::take(&mut line));
                line.push_str(&indent);
                is_empty = true;
            }
            if !is_empty {
                line.push(' ');
            }
            loop {
                let room = width.saturating_sub(length(&line)).max(1);
                if word.len() <= room {
                    break;
                }
                line.extend(word.drain(..room));
                lines.push(std::mem::take(&mut line));
            }
            line.extend(word);
            is_empty = false;
        }
        lines.push(line);
    }
    lines
}

/// Coloured text of others, whose lines mostly fit and stand as they are; one that is too long loses its colours and
/// goes on below its beginning.
pub(crate) fn fitted(text: &str, width: usize) -> String {
    let mut fitted = String::new();
    for line in text.lines() {
        let plain = anstream::adapter::strip_str(line).to_string();
        if length(&plain) <= width {
            fitted.push_str(line);
        } else {
            fitted.push_str(&wrap(&plain, width).join("\n"));
        }
        fitted.push('\n');
    }
    fitted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_stands_as_it_is_and_colours_take_no_room() {
        let fits = format!(
            "  \u{1b}[1m{}\u{1b}[0m   {}\n",
            "a".repeat(20),
            "b".repeat(15)
        );
        assert_eq!(fitted(&fits, 40), fits);
        let long = format!(
            "  \u{1b}[1m{}\u{1b}[0m   {}\n",
            "a".repeat(20),
            "b".repeat(30)
        );
        let below = format!("  {}\n  {}\n", "a".repeat(20), "b".repeat(30));
        assert_eq!(fitted(&long, 40), below);
    }

    #[test]
    fn no_line_is_longer_than_the_terminal() {
        let long = "x".repeat(200);
        for width in [40, 80, 132] {
            for text in [
                "a b c",
                &long,
                &format!("word {long} word"),
                "",
                "  indented text",
            ] {
                let lines = wrap(text, width);
                assert!(lines.iter().all(|line| line.chars().count() <= width));
                let squeeze = |text: &str| text.replace([' ', '\n'], "");
                assert_eq!(squeeze(&lines.concat()), squeeze(text));
            }
            let mut screen = Screen::new(false, width);
            let row = vec![
                Cell::from("id"),
                Cell::from("b".repeat(30)),
                Cell::from(long.clone()),
            ];
            screen.table(&["ID", "NAME", "PATH"], vec![row.clone(), row]);
            screen.fields(2, [("name", long.clone()), ("other", "short".to_owned())]);
            screen.line(&long);
            let shown = screen.plain();
            let longest = shown.lines().map(|line| line.chars().count()).max();
            assert!(longest <= Some(width), "{width}: {shown}");
        }
    }

    #[test]
    fn columns_stand_below_each_other() {
        let mut screen = Screen::new(false, 40);
        let rows = vec![
            vec!["a".into(), "first line and second".into()],
            vec!["longer".into(), "x".into()],
        ];
        screen.table(&["ID", "TEXT"], rows);
        assert_eq!(
            screen.plain(),
            "ID      TEXT\na       first line and second\nlonger  x\n"
        );
    }

    #[test]
    fn a_name_cannot_direct_the_terminal() {
        let mut screen = Screen::new(false, 80);
        screen.line("a\u{1b}[2Jb");
        assert_eq!(screen.plain(), "a\u{fffd}[2Jb\n");
    }
}
