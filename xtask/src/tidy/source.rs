//! A Rust file split into code, comments and string literals, so that a check means what it says: prose about a
//! forbidden word is not a use of it.

/// One file.
pub struct Source {
    /// From the workspace's root, with `/`.
    pub path: String,
    pub lines: Vec<Line>,
    pub literals: Vec<Literal>,
}

/// One line, taken apart.
#[derive(Debug, Default)]
pub struct Line {
    /// Without comments; string literals are empty.
    pub code: String,
    pub comment: String,
}

/// A string literal's content, as written, and the line it starts on, from 1.
#[derive(Debug, PartialEq, Eq)]
pub struct Literal {
    pub line: usize,
    pub text: String,
}

impl Source {
    pub fn parse(path: &str, text: &str) -> Self {
        let mut scanner = Scanner {
            chars: text.chars().collect(),
            at: 0,
            lines: vec![Line::default()],
            literals: vec![],
        };
        scanner.scan();
        Self {
            path: path.to_owned(),
            lines: scanner.lines,
            literals: scanner.literals,
        }
    }

    /// The crate's folder: `peerwork-core`, or `xtask`.
    pub fn package(&self) -> &str {
        let path = self.path.strip_prefix("crates/").unwrap_or(&self.path);
        path.split('/')
            .next()
            .expect("split yields at least one part")
    }

    /// Lines with their numbers, from 1.
    pub fn numbered(&self) -> impl Iterator<Item = (usize, &Line)> {
        (1..).zip(&self.lines)
    }
}

impl Line {
    /// The identifiers and keywords of the code, in order.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.code
            .split(|c: char| !is_word(c))
            .filter(|word| !word.is_empty())
    }
}

struct Scanner {
    chars: Vec<char>,
    at: usize,
    lines: Vec<Line>,
    literals: Vec<Literal>,
}

impl Scanner {
    fn scan(&mut self) {
        while let Some(c) = self.peek(0) {
            match c {
                '/' if self.peek(1) == Some('/') => self.line_comment(),
                '/' if self.peek(1) == Some('*') => self.block_comment(),
                '"' => self.string(),
                'r' if self.starts_raw_string() => self.raw_string(),
                '\'' => self.char_or_lifetime(),
                _ => self.code(),
            }
        }
        // A final newline ends the last line; it does not begin another.
        if self
            .lines
            .last()
            .is_some_and(|line| line.code.is_empty() && line.comment.is_empty())
        {
            self.lines.pop();
        }
    }

    fn line_comment(&mut self) {
        while self.peek(0).is_some_and(|c| c != '\n') {
            self.comment();
        }
    }

    /// Rust's block comments nest.
    fn block_comment(&mut self) {
        let mut depth = 0;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => depth += 1,
                (Some('*'), Some('/')) => depth -= 1,
                (Some(_), _) => {
                    self.comment();
                    continue;
                }
                (None, _) => return,
            }
            self.comment();
            self.comment();
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        let line = self.lines.len();
        let mut text = String::new();
        self.code();
        while let Some(c) = self.peek(0) {
            match c {
                '"' => break,
                '\\' => {
                    text.push(c);
                    self.skip();
                    text.extend(self.peek(0));
                }
                _ => text.push(c),
            }
            self.skip();
        }
        self.code();
        self.literals.push(Literal { line, text });
    }

    /// At an `r` that begins `r"` or `r#"`, but not within a word such as `for`. `br"` and `cr"` do begin one.
    fn starts_raw_string(&self) -> bool {
        let before = |back: usize| {
            self.at
                .checked_sub(back)
                .and_then(|at| self.chars.get(at))
                .copied()
        };
        let in_word = match before(1) {
            Some('b' | 'c') => before(2).is_some_and(is_word),
            Some(c) => is_word(c),
            None => false,
        };
        let hashes = self.count_hashes(1);
        !in_word && self.peek(1 + hashes) == Some('"')
    }

    fn raw_string(&mut self) {
        let line = self.lines.len();
        let hashes = self.count_hashes(1);
        for _ in 0..hashes + 2 {
            self.code();
        }
        let mut text = String::new();
        while let Some(c) = self.peek(0) {
            if c == '"' && self.count_hashes(1) >= hashes {
                break;
            }
            text.push(c);
            self.skip();
        }
        for _ in 0..=hashes {
            self.code();
        }
        self.literals.push(Literal { line, text });
    }

    /// `'a'` and `'\n'` are characters, which may be a quote; `'a` is a lifetime.
    fn char_or_lifetime(&mut self) {
        let length = match (self.peek(1), self.peek(2)) {
            (Some('\\'), _) => {
                // The character after the backslash may be the quote itself.
                let end = (3..).find(|ahead| matches!(self.peek(*ahead), Some('\'') | None));
                end.expect("an endless range") + 1
            }
            (Some(_), Some('\'')) => 3,
            _ => 1,
        };
        for _ in 0..length {
            self.skip();
        }
    }

    fn count_hashes(&self, from: usize) -> usize {
        (from..)
            .take_while(|ahead| self.peek(*ahead) == Some('#'))
            .count()
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn code(&mut self) {
        let c = self.skip();
        if let (Some(c), Some(line)) = (c.filter(|c| *c != '\n'), self.lines.last_mut()) {
            line.code.push(c);
        }
    }

    fn comment(&mut self) {
        let c = self.skip();
        if let (Some(c), Some(line)) = (c.filter(|c| *c != '\n'), self.lines.last_mut()) {
            line.comment.push(c);
        }
    }

    fn skip(&mut self) -> Option<char> {
        let c = self.peek(0)?;
        self.at += 1;
        if c == '\n' {
            self.lines.push(Line::default());
        }
        Some(c)
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        let source = Source::parse("crates/x/src/lib.rs", text);
        source
            .lines
            .iter()
            .map(|line| line.code.as_str())
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn literals(text: &str) -> Vec<String> {
        Source::parse("crates/x/src/lib.rs", text)
            .literals
            .into_iter()
            .map(|literal| literal.text)
            .collect()
    }

    #[test]
    fn comments_are_not_code() {
        assert_eq!(code("a // async\nb /* x /* y */ z */ c\n"), "a \nb  c");
    }

    #[test]
    fn strings_are_literals_and_not_code() {
        assert_eq!(code(r#"f("async // \" x", 'y')"#), r#"f("", )"#);
        assert_eq!(literals(r#"f("a \" b", b"c")"#), [r#"a \" b"#, "c"]);
    }

    #[test]
    fn raw_strings_end_at_their_own_hashes() {
        assert_eq!(
            literals("let x = r#\"say \"hi\" // there\"#; y"),
            ["say \"hi\" // there"]
        );
        assert_eq!(code("let x = br##\"a\"# b\"##; y"), "let x = br##\"\"##; y");
        assert_eq!(literals("for \"x\" in r"), ["x"]);
    }

    #[test]
    fn quotes_in_characters_and_lifetimes_start_no_string() {
        assert_eq!(
            code("let a: &'a str = x('\"', '\\'', '\\\\'); b"),
            "let a: &a str = x(, , ); b"
        );
        assert!(literals("f('\"') + g('\"')").is_empty());
    }

    #[test]
    fn literals_know_their_line_and_lines_are_counted_as_editors_do() {
        let source = Source::parse("crates/x/src/lib.rs", "a\n\"one\ntwo\"\nb\n");
        assert_eq!(
            source.literals,
            [Literal {
                line: 2,
                text: "one\ntwo".to_owned()
            }]
        );
        assert_eq!(source.lines.len(), 4);
    }

    #[test]
    fn the_package_is_the_folder() {
        assert_eq!(
            Source::parse("crates/peerwork-core/src/lib.rs", "").package(),
            "peerwork-core"
        );
        assert_eq!(Source::parse("xtask/src/main.rs", "").package(), "xtask");
    }
}
