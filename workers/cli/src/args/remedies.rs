//! Every command that a message, an error's page or a document tells people to run is one that this program has.

use std::{collections::BTreeSet, fs, path::Path};

use clap::{CommandFactory as _, error::ErrorKind};

use super::Cli;

/// A command as it stands somewhere.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    place: String,
    text: String,
    /// Named in a sentence rather than told to be run: its arguments may be left out.
    named: bool,
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn walk(folder: &Path, ending: &str, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !matches!(name.as_str(), "tests" | "testkit" | "target" | "snapshots")
                && !name.starts_with('.')
            {
                walk(&path, ending, found);
            }
        } else if name.ends_with(ending) && name != "remedies.rs" {
            found.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
}

/// Where a command ends that stands in a sentence or a line of a shell.
fn end(text: &str) -> usize {
    const ENDS: [&str; 19] = [
        "\n", "\\n", "\"", "`", ";", ", ", "  ", " or ", " and ", " then", " says ", " (", ")", " #", " |",
        " &", " ·", ". ", " … ",
    ];
    ENDS.iter().filter_map(|end| text.find(end)).min().unwrap_or(text.len())
}

/// The commands of a text; `within`: whether what stands around makes it a name in a sentence.
fn commands(place: &str, text: &str, named: impl Fn(&str) -> bool, found: &mut BTreeSet<Told>) {
    for (at, _) in text.match_indices("tidemill ") {
        let before = &text[..at];
        let word = text[at + "tidemill ".len()..].chars().next().unwrap_or(' ');
        if before.ends_with(|c: char| c.is_alphanumeric() || "/_.-".contains(c))
            || before.ends_with("from ")
            || !(word.is_ascii_lowercase() || word == '-')
        {
            continue;
        }
        let command = text[at..at + end(&text[at..])].trim_end_matches(['.', ':', ',', '\\', '…', ' ', '\'']);
        found.insert(Told { place: place.to_owned(), text: command.to_owned(), named: named(before) });
    }
}

fn of_documents(found: &mut BTreeSet<Told>) {
    let mut pages = Vec::new();
    walk(&root().join("docs"), ".md", &mut pages);
    walk(&root().join("workers/cli/src"), ".md", &mut pages);
    walk(&root().join("pipelines"), ".md", &mut pages);
    pages.push(("README.md".to_owned(), fs::read_to_string(root().join("README.md")).unwrap()));
    for (place, page) in pages {
        for (index, part) in page.split("```").enumerate() {
            // Between fences stands what is typed; elsewhere a command is named in a sentence.
            let typed = index % 2 == 1;
            let lines =
                part.lines().filter(|line| !typed || !line.starts_with(|c: char| "┌│=✓✗▶~+".contains(c)));
            let part = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
            let quoted = |before: &str| !before.ends_with('`');
            if typed {
                commands(&place, &part, |_| false, found);
            } else {
                // Only what is marked as code: the rest is the product's name.
                let mut spans = BTreeSet::new();
                commands(&place, &part, quoted, &mut spans);
                found.extend(
                    spans.into_iter().filter(|told| !told.named).map(|told| Told { named: true, ..told }),
                );
            }
        }
    }
}

fn of_messages(found: &mut BTreeSet<Told>) {
    let mut sources = Vec::new();
    ["engine", "jobs", "workers"].iter().for_each(|folder| walk(&root().join(folder), ".rs", &mut sources));
    for (place, text) in sources {
        let product = text.split("#[cfg(test)]").next().unwrap_or_default();
        let code = product.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>();
        // A literal that goes on in the next line is one text.
        let code = code.join("\n").replace("\\\n", "");
        commands(&place, &code, |before| before.ends_with('`'), found);
    }
}

/// The words of a command, with something in the place of what people put in.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut quote, mut within_braces) = (None, false);
    for c in command.chars() {
        match (c, quote) {
            ('{', None) => {
                within_braces = true;
                words.last_mut().unwrap().push('1');
            }
            ('}', None) => within_braces = false,
            _ if within_braces => {}
            (q, Some(open)) if q == open => quote = None,
            ('"' | '\'', None) => quote = Some(c),
            (' ', None) => words.push(String::new()),
            _ => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    for word in &mut words {
        if word == "VERSION" {
            "1".clone_into(word);
        }
    }
    words
}

fn is_one(told: &Told) -> Result<(), String> {
    match Cli::command().try_get_matches_from(words(&told.text)) {
        Ok(_) => Ok(()),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(()),
            ErrorKind::MissingRequiredArgument
            | ErrorKind::MissingSubcommand
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                if told.named =>
            {
                Ok(())
            }
            _ => Err(error.to_string().lines().next().unwrap_or_default().to_owned()),
        },
    }
}

#[test]
fn every_command_that_people_are_told_to_run_is_one() {
    let mut found = BTreeSet::new();
    of_documents(&mut found);
    of_messages(&mut found);
    assert!(found.len() > 150, "commands are found at all: {}", found.len());
    let wrong: Vec<String> = found
        .iter()
        .filter_map(|told| is_one(told).err().map(|why| format!("{}: `{}`: {why}", told.place, told.text)))
        .collect();
    assert!(wrong.is_empty(), "{} of {} are not:\n{}", wrong.len(), found.len(), wrong.join("\n"));
}

#[test]
fn a_command_that_there_is_not_would_be_noticed() {
    for (text, named, right) in [
        ("tidemill features freshness view", false, false),
        ("tidemill sources show", false, false),
        ("tidemill sources show", true, true),
        ("tidemill models promote MODEL VERSION --alias NAME", false, true),
        ("tidemill retry {run}", false, true),
        ("tidemill retry --failed --sinse 24h", true, false),
    ] {
        let told = Told { place: String::new(), text: text.to_owned(), named };
        assert_eq!(is_one(&told).is_ok(), right, "{text}");
    }
}
