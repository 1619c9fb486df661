//! Command blocks of the guide, taken from its text.

/// The shell block after `<!-- replay: NAME -->`, as its commands: one a line, with the lines that a
/// backslash continues.
///
/// # Errors
/// What is missing.
pub fn block(guide: &str, name: &str) -> Result<Vec<String>, String> {
    let marker = format!("<!-- replay: {name} -->\n```sh\n");
    let (_, rest) = guide
        .split_once(&marker)
        .ok_or_else(|| format!("no block is marked {name}"))?;
    let (text, _) = rest
        .split_once("\n```")
        .ok_or_else(|| format!("the block {name} has no end"))?;
    let mut commands = vec![String::new()];
    for line in text.lines() {
        let continued = match commands.last_mut() {
            Some(last) => {
                last.push_str(line);
                last.push('\n');
                line.ends_with('\\')
            }
            None => false,
        };
        if !continued {
            commands.push(String::new());
        }
    }
    commands.retain(|command| !command.trim().is_empty());
    Ok(commands)
}

/// Names of all marked blocks.
#[must_use]
pub fn blocks(guide: &str) -> Vec<&str> {
    let marks = guide.lines().filter_map(|line| {
        let line = line.strip_prefix("<!-- replay: ")?;
        line.strip_suffix(" -->")
    });
    marks.collect()
}

#[cfg(test)]
mod tests {
    use super::{block, blocks};

    const GUIDE: &str =
        "text\n<!-- replay: one -->\n```sh\na b\nc \\\n  d\n```\n<!-- replay: two -->\n";

    #[test]
    fn a_block_is_its_commands() {
        assert_eq!(block(GUIDE, "one").unwrap(), ["a b\n", "c \\\n  d\n"]);
        assert_eq!(blocks(GUIDE), ["one", "two"]);
        assert!(block(GUIDE, "two").is_err());
        assert!(block(GUIDE, "three").is_err());
    }
}
