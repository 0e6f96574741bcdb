//! Reading Rust source well enough to hold rules against it: what is code, and what it names.

/// The source with comments and literals blanked out, so that every line keeps its number.
pub(crate) fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let after_name = out.chars().next_back().is_some_and(is_name);
        let blank = match next {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment_len(rest),
            '"' => string_len(rest),
            'r' if !after_name => raw_string_len(rest, 1),
            'b' if !after_name && rest.starts_with("br") => raw_string_len(rest, 2),
            '\'' => char_literal_len(rest),
            _ => 0,
        };
        if blank == 0 {
            out.push(next);
            rest = &rest[next.len_utf8()..];
        } else {
            out.extend(rest[..blank].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[blank..];
        }
    }
    out
}

/// The code without items that are compiled for tests only.
pub(crate) fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        let item = &rest[at + MARK.len()..];
        let end = item.find(['{', ';']).map_or(item.len(), |open| match item.as_bytes()[open] {
            b'{' => open + group_len(&item[open..]),
            _ => open + 1,
        });
        out.push_str(&rest[..at]);
        out.extend(item[..end].chars().filter(|&c| c == '\n'));
        rest = &item[end..];
    }
    out.push_str(rest);
    out
}

/// Every name that directly follows a path prefix, like `crate::`, also out of a group in braces,
/// with its line.
pub(crate) fn names_after(code: &str, prefix: &str) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        if code[..at].chars().next_back().is_some_and(is_name) {
            continue;
        }
        let follow = at + prefix.len();
        let start = follow + (code[follow..].len() - code[follow..].trim_start().len());
        if code[start..].starts_with('{') {
            let group = &code[start..start + group_len(&code[start..])];
            names.extend(group_names(group).map(|(offset, name)| (start + offset, name)));
        } else {
            names.push((start, name_at(&code[start..])));
        }
    }
    names.into_iter().map(|(at, name)| (line_of(code, at), name)).collect()
}

/// Lines on which a word or path stands by itself, not as part of a longer one.
pub(crate) fn lines_with(code: &str, word: &str) -> Vec<usize> {
    let apart = |c: Option<char>| !c.is_some_and(is_name);
    code.match_indices(word)
        .filter(|&(at, _)| apart(code[..at].chars().next_back()))
        .filter(|&(at, _)| word.ends_with('!') || apart(code[at + word.len()..].chars().next()))
        .map(|(at, _)| line_of(code, at))
        .collect()
}

/// The names that start the entries of a group in braces, nested groups left out.
fn group_names(group: &str) -> impl Iterator<Item = (usize, String)> {
    let mut depth = 0;
    let mut starts = Vec::new();
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 1 && matches!(c, '{' | ',') {
            let entry = &group[at + 1..];
            let start = at + 1 + (entry.len() - entry.trim_start().len());
            starts.push((start, name_at(&group[start..])));
        }
    }
    starts.into_iter().filter(|(_, name)| !name.is_empty())
}

fn name_at(text: &str) -> String {
    text.chars().take_while(|&c| is_name(c)).collect()
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The number of the line, from 1, that a byte is on.
fn line_of(text: &str, at: usize) -> usize {
    1 + text[..at].matches('\n').count()
}

/// Bytes from an opening brace to past the one that closes it.
fn group_len(text: &str) -> usize {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + c.len_utf8();
        }
    }
    text.len()
}

/// Bytes of a block comment; they nest.
fn block_comment_len(text: &str) -> usize {
    let (mut at, mut depth) = (0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            (at, depth) = (at + 2, depth + 1);
        } else if rest.starts_with(b"*/") {
            (at, depth) = (at + 2, depth - 1);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// Bytes of a string literal.
fn string_len(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Bytes of a raw string literal whose prefix has this length, or 0 if it is none.
fn raw_string_len(text: &str, prefix_len: usize) -> usize {
    let rest = &text[prefix_len..];
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    if !rest[hashes..].starts_with('"') {
        return 0;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    let body = prefix_len + hashes + 1;
    text[body..].find(&close).map_or(text.len(), |at| body + at + close.len())
}

/// Bytes of a character literal, or 0 if the quote starts a lifetime.
fn char_literal_len(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => text[2..]
            .char_indices()
            .skip(1)
            .find(|&(_, c)| c == '\'')
            .map_or(0, |(at, _)| 2 + at + 1),
        Some(_) => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 0,
        },
        None => 0,
    }
}
