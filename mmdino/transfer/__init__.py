"""Parts for the sister toolboxes, a package each: its imports need it."""
