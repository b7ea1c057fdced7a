"""What the released code's commands do beyond the pipeline's: its flags, checkpoints by step, ensembles, summaries."""
