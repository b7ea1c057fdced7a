"""One training: the loop, its backups and history, and the provenance of its weights."""
