"""Settings, paths and files that are whole or absent: what all other rooms use."""
