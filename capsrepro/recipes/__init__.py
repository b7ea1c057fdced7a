"""What difference it makes where paper and released code disagree: each disagreement as two settings of one run.

`disagreements` lists them, `trainings` says what has to be trained for them and where its counts are kept, and
`comparison` sets the two sides of each side by side.
"""
