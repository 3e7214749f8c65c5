//! Compiles pipeline YAML to engine runs; the general steps.
