"""The data sets, a module each, and what they have in common: `batches`."""
