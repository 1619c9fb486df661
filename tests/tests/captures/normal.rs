//! The same text every time: ids are numbered in the order in which they are seen; times, durations, sizes and
//! numbers of processes are none.

use uuid::Uuid;

/// Units behind a number that differs from run to run.
const UNITS: [&str; 10] = ["ms", "s", "min", "h", "d", "B", "KiB", "MiB", "GiB", "TiB"];
/// Words before one.
const BEFORE: [&str; 4] = ["process", "uid", "(uid", "fsrvpctl:"];
/// Length of an id.
const ID: usize = 36;

pub(crate) fn normal(transcript: &str) -> String {
    let mut text = with_numbered_ids(&without_broken_words(transcript));
    text = text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    let lines: Vec<_> = text.lines().map(line).collect();
    lines.join("\n") + "\n"
}

/// A word that is longer than its line goes on in the next one; where it is broken depends on what stands before it.
/// JSON is broken by the terminal.
fn without_broken_words(transcript: &str) -> String {
    let mut text = String::new();
    let mut goes_on = None;
    for line in transcript.lines() {
        let is_json = line.starts_with('{') || goes_on == Some(true);
        text.push_str(if goes_on == Some(false) {
            line.trim_start()
        } else {
            line
        });
        let word = line.rsplit(' ').next().unwrap_or_default();
        let is_full = line.chars().count() == 80;
        goes_on = (is_full && (is_json || word.len() > ID)).then_some(is_json);
        if goes_on.is_none() {
            text.push('\n');
        }
    }
    text
}

fn with_numbered_ids(transcript: &str) -> String {
    let mut ids: Vec<String> = Vec::new();
    for (at, _) in transcript.char_indices() {
        let id = transcript
            .get(at..at + ID)
            .filter(|id| Uuid::parse_str(id).is_ok());
        if let Some(id) = id.filter(|id| !ids.iter().any(|known| known == id))
            // Those that a test makes up stay as they are.
            && !id.starts_with("00000000-")
        {
            ids.push(id.to_owned());
        }
    }
    let mut text = transcript.to_owned();
    for (number, id) in ids.iter().enumerate() {
        let number = number + 1;
        text = text.replace(id, &format!("{number:08}-0000-0000-0000-000000000000"));
    }
    for (number, id) in ids.iter().enumerate() {
        // Its beginning, where that is enough.
        for (length, rest) in [(13, "-0000"), (8, "")] {
            let short = id.get(..length).unwrap_or(id);
            text = text.replace(short, &format!("{:08}{rest}", number + 1));
        }
    }
    text
}

/// A line as words, each with the blanks behind it.
fn line(line: &str) -> String {
    let indent = line.len() - line.trim_start().len();
    let mut words: Vec<(String, usize)> = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (word, after) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
        rest = after.trim_start();
        words.push((word.to_owned(), after.len() - rest.len()));
    }
    let mut before = String::new();
    for at in 0..words.len() {
        let word = words[at].0.clone();
        let next = words
            .get(at + 1)
            .map(|(next, _)| next.clone())
            .unwrap_or_default();
        let unit = next.trim_matches([',', ';', ')', '.', ':']);
        let number = word
            .trim_start_matches(['+', '('])
            .trim_end_matches([',', ';', ')', ':']);
        let is_number = number.parse::<f64>().is_ok();
        if is_number && UNITS.contains(&unit) {
            let own = if unit.ends_with('B') { "GiB" } else { "s" };
            words[at].0 = word.replace(number, "N");
            words[at + 1].0 = next.replace(unit, own);
            // What stands in the next column does so by the longest number.
            words[at + 1].1 = words[at + 1].1.min(2);
        } else if is_number && BEFORE.contains(&before.as_str()) {
            words[at].0 = word.replace(number, "N");
        } else if ["AFTER", "TOOK", "FOR", "OWN", "SHOWN"].contains(&word.as_str()) {
            words[at].1 = words[at].1.min(2);
        } else if is_date(&word) {
            words[at].0 = "2026-01-01".to_owned();
        } else if is_time(&word) {
            words[at].0 = "00:00:00".to_owned();
        } else if word.chars().all(|c| c == '#') {
            // A bar as long as a time.
            words[at].0.clear();
        }
        before = word;
    }
    let mut text = " ".repeat(indent);
    for (word, gap) in words {
        text.push_str(&word);
        text.push_str(&" ".repeat(gap));
    }
    text.trim_end().to_owned()
}

fn shaped(word: &str, shape: &str) -> bool {
    word.len() == shape.len()
        && word
            .chars()
            .zip(shape.chars())
            .all(|(c, shape)| match shape {
                '0' => c.is_ascii_digit(),
                other => c == other,
            })
}

fn is_date(word: &str) -> bool {
    shaped(word, "0000-00-00")
}

fn is_time(word: &str) -> bool {
    shaped(word.trim_end_matches([',', ';', ')', '.']), "00:00:00")
}
