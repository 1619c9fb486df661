//! Command blocks of the guide, taken from its text.
//!
//! Every block of code in the guide stands in a fence below a comment that says what it is:
//!
//! | comment | meaning |
//! | --- | --- |
//! | `replay: NAME` | typed by a test, word for word |
//! | `verbs` | lines of `cargo xtask`, whose verbs and options a test asks for |
//! | `synopsis` | what a command accepts; a test compares it with the command's own help |
//! | `text` | no commands |
//! | `windows: not run here` | typed on Windows |
//! | `engine: not run here` | typed where there is a container engine |

use fsrvp_testkit::{Error, programs};

/// A page of the guide, by its path in the workspace.
///
/// # Errors
/// [`Error::File`].
pub fn text(page: &str) -> Result<String, Error> {
    let path = programs::workspace().join(page);
    std::fs::read_to_string(&path).map_err(Error::file(&path))
}

/// A block of code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block<'a> {
    /// Number of the line with its fence, or of its first line where it has none.
    pub line: usize,
    /// The comment right above the fence, without its signs.
    pub mark: Option<&'a str>,
    /// Its lines.
    pub lines: Vec<&'a str>,
}

/// Every block of a page: those in fences, and those that are only indented.
#[must_use]
pub fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut open: Option<Block<'_>> = None;
    let mut fenced = false;
    let mut before = "";
    // Of the fence, in a list.
    let mut indent = "";
    for (number, line) in page.lines().enumerate() {
        let fence = line.trim_start().starts_with("```");
        let indented = line.starts_with("    ") && !line.trim().is_empty();
        if fence && !fenced {
            indent = line.split('`').next().unwrap_or_default();
        }
        match &mut open {
            Some(block) if fenced && !fence => {
                block.lines.push(line.strip_prefix(indent).unwrap_or(line));
            }
            Some(block) if !fenced && indented => block.lines.push(line.trim_start()),
            Some(_) => {
                blocks.extend(open.take());
                if !fenced && fence {
                    open = Some(started(number, before));
                }
                fenced = !fenced && fence;
            }
            None if fence => {
                open = Some(started(number, before));
                fenced = true;
            }
            // An indented line after one of a list or a paragraph continues that.
            None if indented && before.trim().is_empty() => {
                let mut block = started(number, "");
                block.lines.push(line.trim_start());
                open = Some(block);
            }
            None => {}
        }
        before = line;
    }
    blocks.extend(open);
    blocks
}

fn started(number: usize, before: &str) -> Block<'_> {
    let mark = before.trim().strip_prefix("<!-- ");
    Block {
        line: number + 1,
        mark: mark.and_then(|mark| mark.strip_suffix(" -->")),
        lines: Vec::new(),
    }
}

/// The commands of the block that is marked `replay: NAME`: one a line, with the lines that a backslash
/// continues.
///
/// # Errors
/// What is missing.
pub fn block(page: &str, name: &str) -> Result<Vec<String>, String> {
    let blocks = blocks(page);
    let wanted = |block: &&Block<'_>| {
        block.mark.and_then(|mark| mark.strip_prefix("replay: ")) == Some(name)
    };
    let block = blocks.iter().find(wanted);
    let block = block.ok_or_else(|| format!("no block is marked {name}"))?;
    Ok(commands(&block.lines))
}

/// A page and the name of a block in it.
///
/// # Errors
/// As [`text`] and [`block`].
pub fn commands_of(page: &str, name: &str) -> Result<Vec<String>, Error> {
    block(&text(page)?, name).map_err(|error| Error::Unfit(format!("{page}: {error}")))
}

/// Lines as commands.
#[must_use]
pub fn commands(lines: &[&str]) -> Vec<String> {
    let mut commands = vec![String::new()];
    for line in lines {
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
    commands
}

#[cfg(test)]
mod tests {
    use super::{block, blocks};

    const GUIDE: &str = "text\n<!-- replay: one -->\n```sh\na b\nc \\\n  d\n```\n\n    bare\n    more\n\n\
                         - item\n    continued\n\n```toml\nx = 1\n```\n";

    #[test]
    fn a_block_is_its_commands() {
        assert_eq!(block(GUIDE, "one").unwrap(), ["a b\n", "c \\\n  d\n"]);
        assert!(block(GUIDE, "two").is_err());
    }

    #[test]
    fn no_block_is_overlooked() {
        let found: Vec<_> = blocks(GUIDE);
        let marks: Vec<_> = found.iter().map(|block| (block.line, block.mark)).collect();
        assert_eq!(marks, [(3, Some("replay: one")), (9, None), (15, None)]);
        assert_eq!(found.get(1).unwrap().lines, ["bare", "more"]);
    }
}
