"""Results beside the paper's numbers: intervals, verdicts, tables. Nothing here loads a framework."""
