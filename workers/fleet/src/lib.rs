//! The worker role: the one list of job kinds, and the process that runs them.
