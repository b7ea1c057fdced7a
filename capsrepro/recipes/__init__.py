"""What difference it makes where paper and released code disagree: each disagreement as two settings of one run.

`disagreements` lists them, `trainings` says what has to be trained for them and where its counts are kept,
`every_shift` has the one training set that no setting describes, and `comparison` sets both sides of each side by side.
"""
