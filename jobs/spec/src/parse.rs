//! From a document to an object: which fields each kind has, and what each may hold.
//!
//! Nothing here looks at another object; that is [`crate::check`]'s part. An object with a mistake is built as
//! far as it goes, so that its references can be checked in the same go.

mod csv;
mod label;
mod model;
mod monitor;
mod output;
pub(crate) mod pipeline;
mod source;
mod stream;
pub(crate) mod view;

use crate::{
    Meta, ObjectKind, ObjectRef, Objects,
    diagnostic::Place,
    yaml::{
        Node,
        fields::{At, Fields},
    },
};

/// The only version there is.
const API_VERSION: &str = "tidemill/v1";

const KINDS: [(&str, ObjectKind); 9] = [
    ("Project", ObjectKind::Project),
    ("Entity", ObjectKind::Entity),
    ("Source", ObjectKind::Source),
    ("FeatureView", ObjectKind::View),
    ("Label", ObjectKind::Label),
    ("Model", ObjectKind::Model),
    ("Monitor", ObjectKind::Monitor),
    ("Notifier", ObjectKind::Notifier),
    ("Pipeline", ObjectKind::Pipeline),
];

/// One document of a file, kept for the places of what is found later.
#[derive(Debug)]
pub(crate) struct Document {
    pub file: String,
    pub root: Node,
    pub kind: ObjectKind,
    pub name: String,
    /// Whether anything in it was wrong: then what it lacks is no mistake of others.
    pub broken: bool,
}

impl Document {
    pub(crate) fn object(&self) -> ObjectRef {
        ObjectRef::new(self.kind, &self.name)
    }

    /// Where its name stands.
    pub(crate) fn place(&self, said: &str) -> Place {
        let span = self.root.get("name").map_or(self.root.span, |entry| entry.value.span);
        Place::new(&self.file, span, said)
    }
}

/// Reads one document into `objects`. `None` where not even kind and name can be told.
pub(crate) fn document(at: &At<'_>, objects: &mut Objects) -> Option<(ObjectKind, String)> {
    let mut fields = at.fields("the object")?;
    version(&mut fields);
    let kind = kind(&mut fields)?;
    let name = fields.need("name")?.name();
    fields = fields.of(format!("{kind} `{}`", name.as_deref().unwrap_or("?")));
    let name = name?;
    let meta = meta(&mut fields);
    let key = name.clone();
    match kind {
        ObjectKind::Project => objects.project = source::project(&mut fields, name, meta),
        ObjectKind::Entity => {
            keep(&mut objects.entities, source::entity(&mut fields, name, meta), key.clone());
        }
        ObjectKind::Source => {
            keep(&mut objects.sources, Some(source::source(&mut fields, name, meta)), key.clone());
        }
        ObjectKind::View => keep(&mut objects.views, Some(view::view(&mut fields, name, meta)), key.clone()),
        ObjectKind::Label => {
            keep(&mut objects.labels, label::label(&mut fields, name, meta), key.clone());
        }
        ObjectKind::Model => {
            keep(&mut objects.models, Some(model::model(&mut fields, name, meta)), key.clone());
        }
        ObjectKind::Monitor => {
            keep(&mut objects.monitors, monitor::monitor(&mut fields, name, meta), key.clone());
        }
        ObjectKind::Notifier => {
            keep(&mut objects.notifiers, monitor::notifier(&mut fields, name, meta), key.clone());
        }
        ObjectKind::Pipeline => {
            keep(&mut objects.pipelines, pipeline::pipeline(&mut fields, name, meta), key.clone());
        }
    }
    fields.finish();
    Some((kind, key))
}

/// The first of a name stays; the second was reported as a double.
fn keep<T>(objects: &mut indexmap::IndexMap<String, T>, object: Option<T>, name: String) {
    if let Some(object) = object {
        objects.entry(name).or_insert(object);
    }
}

fn version(fields: &mut Fields<'_>) {
    let Some(at) = fields.need("apiVersion") else { return };
    if let Some(text) = at.text().filter(|text| text != API_VERSION) {
        at.error(207, format!("`{text}` is not a version of the format"))
            .help(format!("write `{API_VERSION}`"));
    }
}

fn kind(fields: &mut Fields<'_>) -> Option<ObjectKind> {
    let at = fields.need("kind")?;
    let text = at.text()?;
    let found = KINDS.iter().find(|(word, _)| *word == text);
    if found.is_none() {
        at.unknown(206, format!("unknown kind `{text}`"), &text, KINDS.iter().map(|(word, _)| *word));
    }
    found.map(|(_, kind)| *kind)
}

fn meta(fields: &mut Fields<'_>) -> Meta {
    Meta {
        description: fields.get("description").and_then(|at| at.text()).unwrap_or_default(),
        owner: fields.get("owner").and_then(|at| at.text()).unwrap_or_default(),
        tags: fields
            .get("tags")
            .and_then(|at| at.list())
            .unwrap_or_default()
            .iter()
            .filter_map(At::text)
            .collect(),
    }
}
