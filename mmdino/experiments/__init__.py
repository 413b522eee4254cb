"""The evaluation suite and the ablations: tables of many runs."""
