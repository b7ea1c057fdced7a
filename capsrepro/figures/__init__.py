"""The figures: `data` looks at what the networks are given. `drawing` has what all figures share."""
