"""Components for the sister toolboxes, one module for each."""
