//! Which project files a Python module reaches by its imports, followed from file to file. Pure; nothing is run.
//!
//! Too many files cost a version that would not have been needed, too few mix the values of two states of the code.
//! So what can't be told is taken for an import, and code that imports by name at run time reaches every file.

use std::collections::{BTreeMap, BTreeSet};

/// Words with which code finds modules that no import statement names.
const DYNAMIC: [&str; 5] = ["importlib", "__import__", "runpy", "pkgutil", "__path__"];
/// Builtins that run text as code; a method of the same name doesn't.
const RUNS_TEXT: [&str; 2] = ["exec", "eval"];

/// Paths of the files that importing `module` may run: its own, its packages', and those of all that they import.
/// Empty where no file defines the module.
pub(super) fn reached(files: &BTreeMap<String, String>, module: &str) -> BTreeSet<String> {
    let entry: Vec<String> = module.split('.').map(str::to_owned).collect();
    let mut open = files_of(files, &entry);
    if !open.iter().any(|path| defines(path, &entry)) {
        return BTreeSet::new();
    }
    let mut reached = BTreeSet::new();
    while let Some(path) = open.pop() {
        let (path, text) = (path.to_owned(), &files[path]);
        if !reached.insert(path.clone()) {
            continue;
        }
        let tokens = tokens(text);
        if dynamic(&tokens) {
            return files.keys().cloned().collect();
        }
        for wanted in imports(&tokens, &package_of(&path)) {
            open.extend(files_of(files, &wanted));
        }
    }
    reached
}

/// The files that Python runs to import a module: those of its packages, from the outermost, and its own.
fn files_of<'a>(files: &'a BTreeMap<String, String>, module: &[String]) -> Vec<&'a str> {
    let paths = (1..=module.len()).flat_map(|length| {
        let path = module[..length].join("/");
        [format!("{path}/__init__.py"), format!("{path}.py")]
    });
    paths.filter_map(|path| files.get_key_value(&path)).map(|(path, _)| path.as_str()).collect()
}

fn defines(path: &str, module: &[String]) -> bool {
    let module = module.join("/");
    path.strip_prefix(&module).is_some_and(|rest| rest == ".py" || rest == "/__init__.py")
}

/// The package that a file's relative imports start from.
fn package_of(path: &str) -> Vec<String> {
    let mut parts: Vec<String> = path.split('/').map(str::to_owned).collect();
    parts.pop();
    parts
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Sign(char),
    /// Of a statement.
    End,
}

fn dynamic(tokens: &[Token<'_>]) -> bool {
    tokens.iter().enumerate().any(|(place, token)| match token {
        Token::Word(word) if DYNAMIC.contains(word) => true,
        Token::Word(word) if RUNS_TEXT.contains(word) => {
            (place == 0 || tokens[place - 1] != Token::Sign('.'))
                && tokens.get(place + 1) == Some(&Token::Sign('('))
        }
        Token::Word("sys") => tokens[place + 1..].starts_with(&[Token::Sign('.'), Token::Word("path")]),
        _ => false,
    })
}

/// Modules that the import statements may name; of `from a import b` both `a` and `a.b`.
fn imports(tokens: &[Token<'_>], package: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut place = 0;
    while let Some(token) = tokens.get(place) {
        place += 1;
        match token {
            Token::Word("import") => {
                let (names, after) = names(tokens, place);
                found.extend(names);
                place = after;
            }
            Token::Word("from") => {
                let (dots, module, after) = origin(tokens, place);
                // `raise … from error` and `yield from` name no module.
                if tokens.get(after) != Some(&Token::Word("import")) {
                    continue;
                }
                let base = match dots {
                    0 => Vec::new(),
                    // One dot is the package itself, each further one its parent.
                    dots => package[..package.len().saturating_sub(dots - 1)].to_vec(),
                };
                let base: Vec<String> = base.into_iter().chain(module).collect();
                let (names, after) = names(tokens, after + 1);
                found.extend(names.into_iter().map(|name| base.iter().cloned().chain(name).collect()));
                found.push(base);
                place = after;
            }
            _ => {}
        }
    }
    found
}

/// After `from`: how many dots, the dotted module, and the place behind them.
fn origin(tokens: &[Token<'_>], mut place: usize) -> (usize, Vec<String>, usize) {
    let (mut dots, mut module) = (0, Vec::new());
    loop {
        match tokens.get(place) {
            Some(Token::Sign('.')) if module.is_empty() => dots += 1,
            Some(Token::Sign('.')) => {}
            Some(Token::Word(word)) if *word != "import" => module.push((*word).to_owned()),
            _ => return (dots, module, place),
        }
        place += 1;
    }
}

/// After `import`: the dotted names up to the end of the statement, without what they are called `as`.
fn names(tokens: &[Token<'_>], mut place: usize) -> (Vec<Vec<String>>, usize) {
    let mut names: Vec<Vec<String>> = vec![Vec::new()];
    let mut renamed = false;
    while let Some(token) = tokens.get(place) {
        match token {
            Token::Word("as") => renamed = true,
            Token::Word(word) if !renamed => {
                names.last_mut().expect("there is always one").push((*word).to_owned());
            }
            Token::Sign(',') => {
                names.push(Vec::new());
                renamed = false;
            }
            Token::Word(_) | Token::Sign('.' | '(' | '*') => {}
            Token::Sign(_) | Token::End => break,
        }
        place += 1;
    }
    names.retain(|name| !name.is_empty());
    (names, place)
}

/// Words and signs of Python text, without comments and the insides of strings.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut depth = 0_u32;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first == '#' {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if first == '\\' {
            // A line that goes on in the next one.
            rest = rest[1..].trim_start_matches('\r').trim_start_matches('\n');
        } else if matches!(first, '"' | '\'') {
            rest = after_string(rest);
        } else if first.is_alphanumeric() || first == '_' {
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let (word, behind) = rest.split_at(length);
            // A word that touches a string is its prefix: `r"…"`, `rb'…'`.
            if !behind.starts_with(['"', '\'']) {
                tokens.push(Token::Word(word));
            }
            rest = behind;
        } else {
            match first {
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            match first {
                '\n' if depth == 0 => tokens.push(Token::End),
                ';' => tokens.push(Token::End),
                space if space.is_whitespace() => {}
                sign => tokens.push(Token::Sign(sign)),
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    tokens
}

/// What follows the string that `text` begins with. One that doesn't end, ends with its line.
fn after_string(text: &str) -> &str {
    let quote = &text[..1];
    let triple = [quote; 3].concat();
    let (end, mut rest) = match text.strip_prefix(triple.as_str()) {
        Some(rest) => (triple.as_str(), rest),
        None => (quote, &text[1..]),
    };
    while !rest.is_empty() && !rest.starts_with(end) {
        if end.len() == 1 && rest.starts_with('\n') {
            return rest;
        }
        let skipped = usize::from(rest.starts_with('\\')) + 1;
        rest = rest.char_indices().nth(skipped).map_or("", |(place, _)| &rest[place..]);
    }
    rest.strip_prefix(end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `views.entry` reaches, beside its own file, in a project of these files.
    fn reaches(files: &[(&str, &str)]) -> Vec<String> {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        let mut reached: Vec<String> = reached(&files, "views.entry").into_iter().collect();
        reached.retain(|path| path != "views/entry.py");
        reached
    }

    /// Every file of the project but the entry, whose text is given.
    fn project(entry: &str) -> Vec<(&str, &str)> {
        vec![
            ("views/entry.py", entry),
            ("views/__init__.py", ""),
            ("views/beside.py", "from .deep import inner"),
            ("views/deep/__init__.py", ""),
            ("views/deep/inner.py", "from ...shared import scale"),
            ("shared/scale.py", "import helper"),
            ("helper.py", ""),
            ("unused.py", ""),
        ]
    }

    #[test]
    fn imports_are_followed_in_every_form_that_python_has() {
        let deep: &[&str] = &[
            "helper.py",
            "shared/scale.py",
            "views/__init__.py",
            "views/beside.py",
            "views/deep/__init__.py",
            "views/deep/inner.py",
        ];
        let cases: &[(&str, &[&str])] = &[
            ("import math", &["views/__init__.py"]),
            ("import helper", &["helper.py", "views/__init__.py"]),
            ("import os, helper as h", &["helper.py", "views/__init__.py"]),
            ("try:\n    import helper\nexcept ImportError: pass", &["helper.py", "views/__init__.py"]),
            ("def f():\n    x = 1; import helper; return helper", &["helper.py", "views/__init__.py"]),
            ("if True: import helper", &["helper.py", "views/__init__.py"]),
            ("from helper import *", &["helper.py", "views/__init__.py"]),
            ("import shared.scale", &["helper.py", "shared/scale.py", "views/__init__.py"]),
            (
                "from shared import (  # why\n    scale,\n)",
                &["helper.py", "shared/scale.py", "views/__init__.py"],
            ),
            ("from shared \\\n    import scale", &["helper.py", "shared/scale.py", "views/__init__.py"]),
            ("from . import beside", deep),
            ("from .beside import inner as i", deep),
            ("from views.beside import inner", deep),
            ("# import unused\n'import unused'\nr\"\"\"\nimport unused\n\"\"\"", &["views/__init__.py"]),
            ("def f(e):\n    raise ValueError('a\\'b') from e", &["views/__init__.py"]),
        ];
        for (entry, wanted) in cases {
            assert_eq!(reaches(&project(entry)), *wanted, "{entry}");
        }
    }

    #[test]
    fn code_that_imports_by_name_reaches_every_file() {
        for entry in [
            "import importlib\nm = importlib.import_module('unused')",
            "m = __import__('unused')",
            "import sys\nsys.path.insert(0, 'x')\nimport y",
            "exec(open('unused.py').read())",
        ] {
            assert_eq!(reaches(&project(entry)).len(), 7, "{entry}");
        }
        assert_eq!(reaches(&project("def f(model): return model.eval()")), ["views/__init__.py"]);
    }

    #[test]
    fn imports_in_a_circle_end_and_a_module_without_a_file_reaches_nothing() {
        let files = [("views/entry.py", "import other"), ("other.py", "import views.entry")];
        assert_eq!(reaches(&files), ["other.py"]);
        assert_eq!(reaches(&[("views/__init__.py", "")]), Vec::<String>::new());
    }
}
