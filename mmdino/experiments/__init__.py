"""Many runs as one table: the evaluation suite and the ablations."""
