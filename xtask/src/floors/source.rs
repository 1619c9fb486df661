//! What Rust source says once comments, strings and unit tests are taken away.

use std::io;
use std::path::{Path, PathBuf};

/// Every Rust file of a crate; other crates and build output below it are not its own.
pub(crate) fn rust_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            if !path.join("Cargo.toml").exists() && !path.ends_with("target") {
                files.extend(rust_files(&path)?);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Lines with the keyword `unsafe`.
pub(crate) fn unsafe_code(text: &str) -> Vec<(usize, String)> {
    let code = without_comments_and_strings(text);
    words(&code, "unsafe", |_| {
        Some("unsafe code outside fsrvp-sys".to_owned())
    })
}

/// What a sans-IO crate may not call: needle, and why.
const ACTS: &[(&str, &str)] = &[
    ("std::fs", "a file"),
    ("std::process", "a process"),
    ("std::thread", "a thread"),
    ("std::env", "the environment"),
    ("std::os::fd", "a file"),
    ("std::os::linux", "the operating system"),
    ("std::os::unix::fs", "a file"),
    ("std::os::unix::io", "a file"),
    ("std::os::unix::net", "a socket"),
    ("std::os::unix::process", "a process"),
    ("std::io::stdin", "standard input"),
    ("std::io::stdout", "standard output"),
    ("std::io::stderr", "standard error"),
    ("println!", "standard output"),
    ("eprintln!", "standard error"),
    ("Instant::now", "a clock"),
    ("SystemTime::now", "a clock"),
    ("new_v4", "randomness"),
    ("now_v6", "randomness and a clock"),
    ("now_v7", "randomness and a clock"),
    ("getrandom", "randomness"),
    ("RandomState", "randomness"),
    ("tokio::", "a runtime"),
];

/// Types of `std::net` that are values and not sockets.
const ADDRESSES: &[&str] = &[
    "IpAddr",
    "Ipv4Addr",
    "Ipv6Addr",
    "SocketAddr",
    "SocketAddrV4",
    "SocketAddrV6",
    "AddrParseError",
];

/// Lines of a sans-IO crate that touch the world. Unit tests stand last in a file and may.
pub(crate) fn input_output(text: &str) -> Vec<(usize, String)> {
    let code = without_comments_and_strings(text);
    let code = code.split("#[cfg(test)]\nmod ").next().unwrap_or(&code);
    let mut found = Vec::new();
    for (needle, what) in ACTS {
        found.extend(words(code, needle, |_| {
            Some(format!("{what} in a sans-IO crate: {needle}"))
        }));
    }
    found.extend(words(code, "std::net", |after| {
        let list = after.trim_start_matches("::");
        let list = match list.strip_prefix('{') {
            Some(braces) => braces.split('}').next().unwrap_or(braces),
            None => list
                .split(|c: char| !c.is_alphanumeric())
                .next()
                .unwrap_or(list),
        };
        let socket = list
            .split([',', ' ', '\n'])
            .map(str::trim)
            .find(|name| !name.is_empty() && !ADDRESSES.contains(name))?;
        Some(format!("a socket in a sans-IO crate: std::net::{socket}"))
    }));
    found.sort();
    found
}

/// Places where `needle` stands as words of their own; `judge` sees what follows.
fn words(code: &str, needle: &str, judge: impl Fn(&str) -> Option<String>) -> Vec<(usize, String)> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(needle)
        .filter_map(|(at, _)| {
            let (before, after) = (code.get(..at)?, code.get(at + needle.len()..)?);
            let starts = !before.ends_with(word);
            let ends = !needle.ends_with(word) || !after.starts_with(word);
            let what = (starts && ends).then(|| judge(after)).flatten()?;
            Some((before.matches('\n').count() + 1, what))
        })
        .collect()
}

/// The same text with comments and the insides of strings and characters blanked out; line feeds
/// stay where they are.
fn without_comments_and_strings(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = raw_string(rest).filter(|_| !ends_in_word(&out)) {
            length
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' {
            character(rest)
        } else {
            0
        };
        if skip == 0 {
            out.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        } else {
            let (gone, left) = rest.split_at(skip);
            out.extend(gone.chars().map(|c| if c == '\n' { c } else { ' ' }));
            rest = left;
        }
    }
    out
}

fn ends_in_word(text: &str) -> bool {
    text.ends_with(|c: char| c.is_alphanumeric() || c == '_')
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(rest) = text.get(at..) {
        if rest.is_empty() {
            break;
        } else if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Length of `r"…"`, `br#"…"#` and the like, when the text begins with one.
fn raw_string(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r"]
        .iter()
        .find(|prefix| text.starts_with(**prefix))?;
    let after = text.get(prefix.len()..)?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after.get(hashes..)?.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(prefix.len() + hashes + 1 + length)
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// Length of a character literal; 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => quoted(text, '\''),
        (Some(c), Some('\'')) => 2 + c.len_utf8(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [usize; 0] = [];

    fn found(code: &str) -> Vec<usize> {
        input_output(code)
            .into_iter()
            .map(|(line, _)| line)
            .collect()
    }

    #[test]
    fn what_acts_is_found_with_its_line() {
        assert_eq!(found("fn f() {\n    std::fs::read(\"x\");\n}"), [2]);
        assert_eq!(found("let now = Instant::now();"), [1]);
        assert_eq!(found("use std::net::TcpStream;"), [1]);
        assert_eq!(found("use std::net::{IpAddr, UdpSocket};"), [1]);
        assert_eq!(found("let id = Uuid::new_v4();"), [1]);
    }

    #[test]
    fn values_comments_strings_and_tests_are_not() {
        assert_eq!(found("use std::net::{IpAddr, Ipv6Addr};"), NONE);
        assert_eq!(found("fn f(a: std::net::IpAddr) {}"), NONE);
        assert_eq!(
            found("// std::fs\n/* Instant::now /* x */ */ let s = \"std::fs\";"),
            NONE
        );
        assert_eq!(
            found("let s = r#\"a \" std::fs\"#; let c = '\"'; let d = '\\'';"),
            NONE
        );
        assert_eq!(
            found("fn f<'a>(x: &'a str) {}\n#[cfg(test)]\nmod tests { use std::fs; }"),
            NONE
        );
        assert_eq!(found("my_std::fsx(); println(x)"), NONE);
    }

    #[test]
    fn unsafe_is_found_as_a_word() {
        assert_eq!(
            unsafe_code("// unsafe\n#![forbid(unsafe_code)]\nlet unsafely = 1;").len(),
            0
        );
        assert_eq!(unsafe_code("fn f() {\n    unsafe { g() }\n}").len(), 1);
    }
}
