"""The released code's commands and formats: flags, record files, checkpoints, ensembles, summaries."""
