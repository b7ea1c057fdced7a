"""Comparison of results with the paper: intervals, verdicts, tables. No module here imports TensorFlow or Keras."""
