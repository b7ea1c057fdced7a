"""Settings, errors, paths and atomic file writes, used by all other packages."""
