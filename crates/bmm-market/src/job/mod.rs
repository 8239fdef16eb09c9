//! Jobs: from a file or from options to a description, and from the description to tasks.
